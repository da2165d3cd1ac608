"""The delivering worker's life, and what it tells a mail server of itself."""

import asyncio
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult

from notifications.parts import MailServer, Service, eventually, message_of
from notifications.samples import order_placed
from tradewind.notifications.actions.smtp import SmtpConnection
from tradewind.notifications.model.delivery import Mail, Outcome
from tradewind.notifications.service import Mailer

pytestmark = pytest.mark.asyncio

Make = Callable[..., Awaitable[Service]]
MakeServer = Callable[..., MailServer]


async def states(service: Service) -> list[tuple[str, int]]:
    """Status and attempts of all mails, oldest first."""
    return [(mail["status"], mail["attempts"]) for mail in await service.mails()]


async def test_a_stop_finishes_the_mail_under_way(
    make: Make, mail_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is stopped finishes the mail under way, takes no other, gives the rest back."""
    server = mail_server()
    service = await make(smtp_url=server.url, smtp_connections=1)
    await service.take([message_of(order_placed()) for _ in range(10)])
    mailer = Mailer(service.delivery)
    send, begun = SmtpConnection.send, asyncio.Event()

    async def slowly(self: SmtpConnection, mail: Mail) -> Outcome:
        begun.set()
        while not service.delivery.is_ending:
            await asyncio.sleep(0)
        return await send(self, mail)

    monkeypatch.setattr(SmtpConnection, "send", slowly)
    mailer.start()
    await begun.wait()
    await mailer.stop(patience_seconds=30)
    assert sorted(await states(service)) == [("queued", 0)] * 9 + [("sent", 1)]
    assert await service.rows("SELECT id FROM messages WHERE leased_until IS NOT NULL") == []


async def test_the_worker_is_woken(make: Make, mail_server: MakeServer) -> None:
    """A new mail wakes the worker: nobody waits for its next look."""
    server = mail_server()
    service = await make(smtp_url=server.url)
    mailer = Mailer(service.delivery)
    service.context.mail_bell.wake = mailer.wake
    mailer._every_seconds = 3600
    mailer.start()
    await eventually(lambda: mailer.steps == 1)
    await service.handle(order_placed())
    await eventually(lambda: server.mailbox.taken)
    await mailer.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key and a certificate for 127.0.0.1 that signs itself."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
    ]
    names = "subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [*command, names, "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return key, certificate


async def test_a_password_needs_tls(
    make: Make, mail_server: MakeServer, certificate: tuple[Path, Path]
) -> None:
    """The password goes to a server that encrypts and is who it says, and to no other."""
    key, trusted = certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(trusted, key)
    seen: list[Any] = []

    def check(
        _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any
    ) -> AuthResult:
        seen.append((data.login, data.password))
        return AuthResult(success=True)

    server = mail_server(
        tls_context=context, require_starttls=True, authenticator=check, auth_required=True
    )
    url = f"smtp://ann:s3cret@127.0.0.1:{server.port}"
    untrusting = await make(smtp_url=url)
    await untrusting.handle(order_placed())
    await untrusting.deliver()
    [mail] = await untrusting.mails()
    assert mail["status"] == "queued" and "certificate" in mail["error"].lower() and seen == []
    trusting = await make(smtp_url=url, smtp_ca_file=str(trusted))
    await trusting.hasten()
    await trusting.deliver()
    assert await states(trusting) == [("sent", 2)] and seen == [(b"ann", b"s3cret")]


async def test_no_password_in_the_clear(make: Make, mail_server: MakeServer) -> None:
    """To a server that cannot encrypt, the password is not sent."""
    seen: list[Any] = []

    def check(*given: Any) -> AuthResult:
        seen.append(given)
        return AuthResult(success=True)

    server = mail_server(authenticator=check, auth_require_tls=False)
    service = await make(smtp_url=f"smtp://ann:s3cret@127.0.0.1:{server.port}")
    await service.handle(order_placed())
    await service.deliver()
    assert await states(service) == [("queued", 1)] and seen == []

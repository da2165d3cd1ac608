"""Mails on their way out, against real SMTP servers that behave and that do not."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest

from notifications.parts import MailServer, Service, message_of
from notifications.samples import order_placed, password_reset_requested, user_erased
from tradewind.notifications.actions.messages import resend_message
from tradewind.notifications.store import deliveries as store
from tradewind.platform.database import DatabaseDown
from tradewind.platform.idempotency import Once

pytestmark = pytest.mark.asyncio

Make = Callable[..., Awaitable[Service]]
MakeServer = Callable[..., MailServer]


def ids(server: MailServer) -> list[str]:
    """The Message-IDs that a server took, in order."""
    return [message_from_bytes(one, policy=default)["Message-ID"] for one in server.mailbox.taken]


async def states(service: Service) -> list[tuple[str, int]]:
    """Status and attempts of all mails, oldest first."""
    return [(mail["status"], mail["attempts"]) for mail in await service.mails()]


async def test_a_mail_goes_out(make: Make, mail_server: MakeServer) -> None:
    """A queued mail is handed to the server with its recipient, and noted as sent."""
    server = mail_server()
    service = await make(smtp_url=server.url)
    event = password_reset_requested()
    await service.handle(event)
    assert await states(service) == [("queued", 0)]
    await service.deliver()
    assert await states(service) == [("sent", 1)]
    [content] = server.mailbox.taken
    assert server.mailbox.recipients == [event.email]
    message = message_from_bytes(content, policy=default)
    assert message["Subject"] == "Reset your password"
    text = message.get_body(("plain",))
    assert text is not None
    assert f"https://shop.example/reset-password?token={event.reset_token}" in text.get_content()


async def test_many_mails_share_connections(make: Make, mail_server: MakeServer) -> None:
    """A backlog goes over a few connections, each mail once."""
    server = mail_server()
    service = await make(smtp_url=server.url, smtp_connections=2)
    await service.take([message_of(order_placed()) for _ in range(60)])
    await service.deliver()
    assert await states(service) == [("sent", 1)] * 60
    assert len(set(ids(server))) == len(ids(server)) == 60
    assert server.mailbox.connections <= 6


async def test_processes_at_once(make: Make, mail_server: MakeServer) -> None:
    """Several processes that deliver at the same time send each mail once."""
    server = mail_server()
    services = [await make(smtp_url=server.url) for _ in range(3)]
    await services[0].take([message_of(order_placed()) for _ in range(90)])
    await asyncio.gather(*(service.deliver() for service in services))
    assert Counter(ids(server)).most_common(1)[0][1] == 1 and len(ids(server)) == 90
    assert {status for status, _ in await states(services[0])} == {"sent"}


async def test_without_a_mail_server(make: Make) -> None:
    """Without a mail server a mail is sent by being kept; sent again, it is kept again."""
    service = await make()
    await service.handle(order_placed())
    [mail] = await service.mails()
    assert (mail["status"], mail["attempts"]) == ("sent", 1)
    await resend_message(service.context, mail["id"], Once(None, 202))
    assert await states(service) == [("queued", 1)]
    await service.deliver()
    assert await states(service) == [("sent", 2)]


async def test_a_refused_recipient(make: Make, mail_server: MakeServer) -> None:
    """A recipient that the server refuses for good is given up at once; the others go out."""
    server = mail_server()
    server.mailbox.answers["RCPT"] = ["550 5.1.1 no such user"]
    service = await make(smtp_url=server.url, smtp_connections=1)
    await service.take([message_of(order_placed()) for _ in range(3)])
    await service.deliver()
    assert sorted(await states(service)) == [("failed", 1), ("sent", 1), ("sent", 1)]
    [refused] = [mail for mail in await service.mails() if mail["status"] == "failed"]
    assert "no such user" in refused["error"]


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("RCPT", "450 4.2.1 try later"),
        ("DATA", "451 4.3.0 local problem"),
        ("MAIL", "451 4.3.2 busy"),
        ("MAIL", "530 5.7.0 sign in first"),
        ("RCPT", "421 4.3.2 going down"),
    ],
)
async def test_not_now(make: Make, mail_server: MakeServer, command: str, answer: str) -> None:
    """What may pass, or is the server's own trouble, is tried again later and goes out once."""
    server = mail_server()
    server.mailbox.answers[command] = [answer]
    service = await make(smtp_url=server.url)
    await service.handle(order_placed())
    await service.deliver()
    [mail] = await service.mails()
    assert (mail["status"], mail["attempts"]) == ("queued", 1) and answer[:3] in mail["error"]
    assert mail["due_at"] > mail["queued_at"] and server.mailbox.taken == []
    await service.hasten()
    await service.deliver()
    assert await states(service) == [("sent", 2)] and len(ids(server)) == 1


async def test_refused_content(make: Make, mail_server: MakeServer) -> None:
    """Content that the server refuses for good is given up at once."""
    server = mail_server()
    server.mailbox.answers["DATA"] = ["554 5.6.0 looks like spam"]
    service = await make(smtp_url=server.url)
    await service.handle(order_placed())
    await service.deliver()
    assert await states(service) == [("failed", 1)]


async def test_nobody_listens(make: Make, mail_server: MakeServer) -> None:
    """While the server is down one mail at a time finds out; when it is back all go out."""
    server = mail_server(start=False)
    service = await make(smtp_url=server.url, smtp_connections=1)
    await service.take([message_of(order_placed()) for _ in range(30)])
    for _ in range(4):
        await service.deliver()
    assert sum(attempts for _, attempts in await states(service)) <= 8
    assert {status for status, _ in await states(service)} == {"queued"}
    server.start()
    await service.hasten()
    await service.deliver()
    assert {status for status, _ in await states(service)} == {"sent"} and len(ids(server)) == 30


async def test_a_dead_server_is_left_alone(
    make: Make, mail_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failure nothing is claimed until the pause is over, and then something is."""
    service = await make(smtp_url=mail_server(start=False).url)
    await service.take([message_of(order_placed()) for _ in range(3)])
    # Its time stands still: the pause is half a second at most, and a machine may be slower.
    now = [service.delivery._now()]
    monkeypatch.setattr(service.delivery, "_now", lambda: now[0])
    await service.delivery.deliver_once()
    before = await states(service)
    assert await service.delivery.deliver_once() is False
    assert await states(service) == before
    leased = await service.rows("SELECT id FROM messages WHERE leased_until IS NOT NULL")
    assert leased == []
    now[0] = service.delivery._quiet_until
    await service.hasten()
    await service.delivery.deliver_once()
    assert await states(service) != before


async def test_a_server_that_never_answers(make: Make) -> None:
    """A server that takes the connection and says nothing holds a mail no longer than allowed."""
    ended = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    service = await make(
        smtp_url=f"smtp://127.0.0.1:{port}?starttls=never",
        smtp_connect_seconds=0.1,
        smtp_send_seconds=0.2,
    )
    await service.handle(order_placed())
    await asyncio.wait_for(service.deliver(), 20)
    [mail] = await service.mails()
    assert (mail["status"], mail["attempts"]) == ("queued", 1) and mail["error"]
    ended.set()
    server.close()
    await server.wait_closed()


async def test_a_server_that_hangs_in_the_middle(make: Make, mail_server: MakeServer) -> None:
    """A server that takes the mail and never says so holds it no longer than allowed."""
    server = mail_server()
    released = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def hang(*_arguments: Any) -> str:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(released.wait(), loop))
        return "250 OK"

    server.mailbox.handle_DATA = hang  # pyright: ignore[reportAttributeAccessIssue]  this server only
    service = await make(smtp_url=server.url, smtp_connect_seconds=3600, smtp_send_seconds=0.3)
    await service.handle(order_placed())
    await asyncio.wait_for(service.deliver(), 20)
    assert await states(service) == [("queued", 1)]
    released.set()


async def test_a_connection_that_breaks(make: Make, mail_server: MakeServer) -> None:
    """A mail whose connection broke before the answer goes out again, with the same Message-ID."""
    server = mail_server()
    server.mailbox.drops = 1
    service = await make(smtp_url=server.url, smtp_connections=1)
    await service.take([message_of(order_placed()) for _ in range(3)])
    await service.deliver()
    assert [status for status, _ in await states(service)].count("queued") >= 1
    await service.hasten()
    await service.deliver()
    assert {status for status, _ in await states(service)} == {"sent"}
    assert len(set(ids(server))) == len(ids(server)) == 3


async def test_killed_before_the_note(
    make: Make, mail_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies between the server's yes and its note sends a double that can be told."""
    server = mail_server()
    dying, heir = await make(smtp_url=server.url), await make(smtp_url=server.url)
    await dying.handle(order_placed())

    async def die(*_arguments: Any) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(dying.delivery, "_note", die)
        with pytest.raises(asyncio.CancelledError):
            await dying.deliver()
    await heir.deliver()
    assert len(ids(server)) == 1  # the claim still holds
    await heir.hasten()
    await heir.deliver()
    assert len(ids(server)) == 2 and len(set(ids(server))) == 1
    assert await states(heir) == [("sent", 2)]


async def test_no_database_for_the_note(
    make: Make, mail_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent while the database was away is remembered and noted, not sent again."""
    server = mail_server()
    service = await make(smtp_url=server.url)
    await service.handle(order_placed())
    note_sent = service.delivery._note_sent
    failures = iter([None, DatabaseDown("gone")])

    async def failing() -> None:
        fault = next(failures, None)
        if fault is not None:
            raise fault
        await note_sent()

    monkeypatch.setattr(service.delivery, "_note_sent", failing)
    with pytest.raises(DatabaseDown):
        await service.delivery.deliver_once()
    await service.hasten()
    await service.deliver()
    assert await states(service) == [("sent", 1)] and len(ids(server)) == 1


async def test_a_day_without_success(make: Make, mail_server: MakeServer) -> None:
    """A mail is given up a day after it was queued; one that staff send again starts anew."""
    server = mail_server()
    server.mailbox.answers["RCPT"] = ["450 4.2.1 try later"] * 3
    service = await make(smtp_url=server.url)
    await service.handle(order_placed())
    await service.deliver()
    assert await states(service) == [("queued", 1)]
    await service.do("UPDATE messages SET queued_at = queued_at - interval '25 hours'")
    await service.hasten()
    await service.deliver()
    assert await states(service) == [("failed", 2)]
    [mail] = await service.mails()
    await resend_message(service.context, mail["id"], Once(None, 202))
    await service.deliver()
    assert await states(service) == [("queued", 3)]


async def test_a_server_away_for_days(make: Make, mail_server: MakeServer) -> None:
    """What is too old is given up even where the server was never reached to try it."""
    service = await make(smtp_url=mail_server(start=False).url)
    await service.take([message_of(order_placed()) for _ in range(5)])
    await service.do("UPDATE messages SET queued_at = queued_at - interval '25 hours'")
    service.delivery._failures = 30
    await service.deliver()
    assert {status for status, _ in await states(service)} == {"failed"}


async def test_sent_again_by_staff(make: Make, mail_server: MakeServer) -> None:
    """A mail that staff send again goes out once more, as another mail; a queued one stays one."""
    server = mail_server()
    service = await make(smtp_url=server.url)
    await service.handle(order_placed())
    [mail] = await service.mails()
    await resend_message(service.context, mail["id"], Once(None, 202))
    await service.deliver()
    assert len(ids(server)) == 1
    await resend_message(service.context, mail["id"], Once(None, 202))
    await service.deliver()
    assert len(set(ids(server))) == 2 and await states(service) == [("sent", 2)]


async def test_a_late_answer(make: Make, mail_server: MakeServer) -> None:
    """What came of a first sending, noted late, settles neither a later try nor a later sending."""
    service = await make(smtp_url=mail_server().url)
    await service.handle(order_placed())
    async with service.database.transaction() as tx:
        [late] = await store.lock_due(tx, 1, 60)
    await service.hasten()
    async with service.database.transaction() as tx:
        await store.lock_due(tx, 1, 60)
        await store.update_refused(tx, late, "late")
        await store.update_deferred(tx, late, 3600, 24, "late")
    [mail] = await service.mails()
    assert (mail["status"], mail["error"]) == ("queued", None) and mail["leased_until"] is not None
    await service.hasten()
    await service.deliver()
    await resend_message(service.context, late.id, Once(None, 202))
    async with service.database.transaction() as tx:
        await store.update_sent(tx, [late])
    assert await states(service) == [("queued", 3)]


async def test_the_erased_are_not_written_to(make: Make, mail_server: MakeServer) -> None:
    """A mail that was queued when its recipient was erased is not sent."""
    server = mail_server()
    service = await make(smtp_url=server.url)
    event = order_placed()
    await service.handle(event)
    await service.handle(user_erased(email=event.email.upper()))
    await service.deliver()
    assert server.mailbox.taken == [] and await states(service) == [("failed", 0)]


@pytest.mark.parametrize(
    "address", ["ann@example.com\r\nBcc: thief@example.com", "ann@example.com,thief@example.com"]
)
async def test_what_is_no_address(make: Make, mail_server: MakeServer, address: str) -> None:
    """What is no address is given up at once and adds no recipient."""
    server = mail_server()
    service = await make(smtp_url=server.url)
    await service.handle(order_placed(email=address))
    await service.deliver()
    assert await states(service) == [("failed", 1)] and server.mailbox.recipients == []


async def test_a_mail_that_cannot_be_written(make: Make, mail_server: MakeServer) -> None:
    """A mail whose facts make no sense fails alone."""
    server = mail_server()
    service = await make(smtp_url=server.url)
    await service.handle(order_placed())
    await service.do("UPDATE messages SET data = '{}'")
    await service.handle(order_placed())
    await service.deliver()
    assert sorted(await states(service)) == [("failed", 1), ("sent", 1)]

"""What the tests of notifications work with: a service without its workers, mail servers."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import httpx
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tradewind.notifications.actions.context import NotificationsContext
from tradewind.notifications.actions.delivery import Delivery
from tradewind.notifications.contract import Notifications
from tradewind.platform.database import Address, Database
from tradewind.platform.events import Event, Message, encode
from tradewind.platform.ids import new_id
from tradewind.platform.lifecycle import Health
from tradewind.platform.principals import Principal, Role
from tradewind.platform.service import Running

PATIENCE_SECONDS = 30.0


class KnownSessions:
    """An authenticator for tests: the tokens that live, and whose they are."""

    def __init__(self) -> None:
        self.live: dict[str, Principal] = {}
        self.fails = False

    def open(self, user_id: uuid.UUID, role: Role = "customer") -> str:
        """A new session; gives its token."""
        token = uuid.uuid4().hex
        self.live[token] = Principal(user_id, role, new_id())
        return token

    async def authenticate(self, token: str) -> Principal | None:
        """As the protocol says."""
        if self.fails:
            raise RuntimeError("the users service is away")
        return self.live.get(token)


class Service:
    """One process's notifications service, without its workers: tests take the steps."""

    def __init__(self, running: Running[Notifications], sessions: KnownSessions) -> None:
        self.running = running
        self.sessions = sessions
        self.context: NotificationsContext = running.context
        self.database = running.database
        self.delivery = Delivery(self.context)
        self.health = Health()
        self.base = ""
        self._clients: list[httpx.AsyncClient] = []

    async def handle(self, *events: Event) -> None:
        """Takes events as they come from the bus; each call is a delivery of its own."""
        await self.take([message_of(event) for event in events])

    async def take(self, messages: Sequence[Message]) -> None:
        """Takes messages as they come from the bus."""
        await self.running.inbox.handle(messages)

    async def rows(self, query: str, *arguments: Any) -> list[dict[str, Any]]:
        """What a query finds."""
        async with self.database.reading() as reading:
            found = await reading.fetch(query, *arguments)  # pyright: ignore[reportArgumentType]  tests ask freely
        return [dict(row) for row in found]

    async def mails(self) -> list[dict[str, Any]]:
        """All mails, oldest first."""
        return await self.rows("SELECT * FROM messages ORDER BY id")

    async def do(self, query: str, *arguments: Any) -> None:
        """Changes something behind the service's back."""
        async with self.database.transaction() as tx:
            await tx.execute(query, *arguments)  # pyright: ignore[reportArgumentType]  tests ask freely

    async def deliver(self) -> None:
        """Sends all that is due, until there is no more or the server fails; waits for no pause."""
        self.delivery._quiet_until = 0.0
        while await self.delivery.deliver_once():
            if self.delivery._quiet_until:
                return

    def stop_time(self) -> None:
        """Its clock stands still: what counts by the hour shall not see one end in the middle."""
        now = self.database.clock.now()
        self.database.clock.now = lambda: now

    async def hasten(self) -> None:
        """Lets the time pass until every queued mail is due and no claim holds."""
        await self.do(
            "UPDATE messages SET due_at = now(), leased_until = NULL WHERE status = 'queued'"
        )

    def client(self, token: str | None = None, **headers: str) -> httpx.AsyncClient:
        """A client of the served API, signed in where it has a token."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        client = httpx.AsyncClient(base_url=self.base, headers=headers, timeout=PATIENCE_SECONDS)
        self._clients.append(client)
        return client

    def customer(self, user_id: uuid.UUID) -> httpx.AsyncClient:
        """A client of a signed-in customer."""
        return self.client(self.sessions.open(user_id))

    def staff(self) -> httpx.AsyncClient:
        """A client of a member of staff."""
        return self.client(self.sessions.open(new_id(), "staff"))

    async def close_clients(self) -> None:
        """Closes them."""
        for client in self._clients:
            await client.aclose()


def message_of(event: Event) -> Message:
    """An event as it travels, with an id of its own."""
    now = Database(Address("", 0, "", "", "")).clock.now()
    return Message(new_id(), event.TYPE, event.key, encode(event), now)


async def broken_invariants(database: Database) -> list[str]:
    """The names of those invariants that some row breaks."""
    text = files("tradewind.notifications").joinpath("invariants.sql").read_text()
    broken: list[str] = []
    for part in text.split("-- name: ")[1:]:
        name, _, query = part.partition("\n")
        async with database.reading() as reading:
            if await reading.fetch(query):  # pyright: ignore[reportArgumentType]  read from a file of ours
                broken.append(name)
    return broken


async def eventually(question: Callable[[], Any], patience: float = PATIENCE_SECONDS) -> Any:
    """Asks until the answer is true, and gives it."""
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        answer = question()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return answer
        assert asyncio.get_running_loop().time() < deadline, f"never came true: {answer!r}"
        await asyncio.sleep(0.01)


class Mailbox:
    """What a mail server took, and how it is to behave."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.recipients: list[str] = []
        self.connections = 0
        self.answers: dict[str, list[str]] = {"RCPT": [], "DATA": [], "MAIL": []}
        """Answers to give first, one each time, before it behaves."""
        self.drops = 0
        """How many mails are dropped with their connection, after all was received."""

    async def handle_MAIL(  # noqa: N802  aiosmtpd's name
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        mail_options: list[str],
    ) -> str:
        """MAIL FROM."""
        if self.answers["MAIL"]:
            return self.answers["MAIL"].pop(0)
        envelope.mail_from = address
        envelope.mail_options.extend(mail_options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802  aiosmtpd's name
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _rcpt_options: list[str],
    ) -> str:
        """RCPT TO."""
        if self.answers["RCPT"]:
            return self.answers["RCPT"].pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802  aiosmtpd's name
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """The mail itself."""
        if self.drops:
            self.drops -= 1
            assert server.transport is not None
            server.transport.close()
            return "250 OK"
        if self.answers["DATA"]:
            return self.answers["DATA"].pop(0)
        content = envelope.content
        assert isinstance(content, bytes)
        self.taken.append(content)
        self.recipients.extend(envelope.rcpt_tos)
        return "250 OK"


class MailServer(Controller):
    """A real SMTP server on a free loopback port."""

    def __init__(self, mailbox: Mailbox, port: int, **options: Any) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType]  its options are untyped
            mailbox,
            hostname="127.0.0.1",
            port=port,
            ready_timeout=PATIENCE_SECONDS,
            **options,
        )
        self.mailbox = mailbox
        self.url = f"smtp://127.0.0.1:{port}?starttls=never"

    def factory(self) -> SMTP:
        """A server for one connection."""
        self.mailbox.connections += 1
        return super().factory()

    def end(self) -> None:
        """Stops it, whether it ever started or not."""
        if self._thread is None:
            self.loop.close()
        else:
            self.stop()

"""The users service alone, any number of instances on one database, without a server between."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest_asyncio
from litestar.di import Provide

from shop import SECRET, new_database
from tradewind.notifications.contract import HeldMessages
from tradewind.orders.contract import CartAdoption, HeldOrders
from tradewind.platform.config import PlatformSettings, load
from tradewind.platform.database import Address, Database, Row
from tradewind.platform.events import Event, decode
from tradewind.platform.idempotency import Replay
from tradewind.platform.lifecycle import Worker
from tradewind.platform.migrate import address_of, migrate
from tradewind.platform.service import Running
from tradewind.platform.sessions import Sessions
from tradewind.platform.web.application import build_application
from tradewind.platform.web.front import Front
from tradewind.platform.web.keys import answer_replay, once
from tradewind.platform.web.settings import WebSettings
from tradewind.users.contract import Users
from tradewind.users.service import UsersSettings, add_staff, local

PATIENCE_SECONDS = 30.0
PASSWORD = "correct horse battery staple"
QUICK = {"TRADEWIND_USERS_FAILURE_SECONDS": "0"}
"""Failures are answered at once."""


_addresses = itertools.count()
_FIRST_ADDRESS = int(IPv4Address("10.0.0.1"))


def mark() -> str:
    """Something that no other test uses."""
    return uuid4().hex[:8]


class HeldElsewhere:
    """Orders and notifications, as far as users asks them; `fails` makes them unable to answer."""

    def __init__(self) -> None:
        self.adopted: list[CartAdoption] = []
        self.fails: Exception | None = None

    async def adopt_carts(self, adoptions: Sequence[CartAdoption]) -> list[bool]:
        """Notes them."""
        if self.fails is not None:
            raise self.fails
        self.adopted += adoptions
        return [True] * len(adoptions)

    async def standing(self, reservation_ids: Sequence[UUID]) -> list[bool]:
        """Users never asks."""
        return [False] * len(reservation_ids)


class HeldByOrders(HeldElsewhere):
    """What orders hold."""

    async def export(self, user_id: UUID) -> HeldOrders:
        """One order."""
        return HeldOrders(msgspec.Raw(b'[{"number":"A-1"}]'), msgspec.Raw(b"[]"))


class HeldByNotifications:
    """What notifications hold."""

    async def export(self, user_id: UUID) -> HeldMessages:
        """One notification."""
        return HeldMessages(
            msgspec.Raw(b'[{"kind":"welcome"}]'), msgspec.Raw(b"{}"), msgspec.Raw(b"[]")
        )


class Instance:
    """One process's worth of users."""

    def __init__(self, running: Running[Users], app: Front, orders: HeldByOrders) -> None:
        self.running = running
        self.context = running.context
        self.database = running.database
        self.app = app
        self.orders = orders
        self._clients: list[httpx.AsyncClient] = []
        self._workers: list[Worker] = []

    def client(self, address: str | None = None, **headers: str) -> httpx.AsyncClient:
        """A client at this address, or one of its own."""
        address = address or str(IPv4Address(_FIRST_ADDRESS + next(_addresses)))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        transport = httpx.ASGITransport(app=self.app, client=(address, 4711))
        client = httpx.AsyncClient(
            transport=transport, base_url="http://shop.test", headers=named, timeout=60
        )
        self._clients.append(client)
        return client

    async def register(self, **more: Any) -> dict[str, str]:
        """A new account; its e-mail address, password and id."""
        email = f"{uuid4().hex[:12]}@example.com"
        body = {"email": email, "password": PASSWORD, **more}
        answer = await self.client().post("/v1/register", json=body)
        assert answer.status_code == 201, answer.text
        return {**body, "id": answer.json()["userId"]}

    async def sign_in(
        self, username: str, password: str = PASSWORD, address: str | None = None
    ) -> httpx.AsyncClient:
        """A client with a session, shown as a bearer token."""
        client = self.client(address)
        body = {"username": username, "password": password}
        answer = await client.post("/v1/login", json=body)
        assert answer.status_code == 200, answer.text
        client.cookies.clear()
        client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        return client

    async def customer(self, **more: Any) -> httpx.AsyncClient:
        """A new customer, signed in."""
        return await self.sign_in((await self.register(**more))["email"])

    async def staff(self, role: Any = "admin") -> httpx.AsyncClient:
        """A new staff member, signed in."""
        email = f"{uuid4().hex[:12]}@example.com"
        await add_staff(self.context, email, PASSWORD, role)
        return await self.sign_in(email)

    async def rows(self, query: Any, *arguments: Any) -> list[Row]:
        """What stands in the database."""
        async with self.database.reading() as reading:
            return await reading.fetch(query, *arguments)

    async def events(self, kind: type[Event]) -> list[Any]:
        """The events of one kind that nobody has taken away yet, oldest first."""
        rows = await self.rows(
            "SELECT payload FROM outbox WHERE type = $1 ORDER BY position", kind.TYPE
        )
        return [decode(kind, row["payload"]) for row in rows]

    @asynccontextmanager
    async def held(self, query: Any, *arguments: Any, waiting: int) -> AsyncGenerator[None]:
        """Holds the rows that the query locks until so many others wait for them."""
        # A claim, so that requests made meanwhile do not count as inside a transaction.
        async with self.database.claim() as tx:
            await tx.fetch(query, *arguments)
            yield
            async with asyncio.timeout(PATIENCE_SECONDS):
                while waiting > await tx.fetch_value(
                    """
                    SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND (
                        pg_backend_pid() = ANY (pg_blocking_pids(pid)) OR database =
                            (SELECT oid FROM pg_database WHERE datname = current_database()))
                    """
                ):
                    await asyncio.sleep(0.01)

    async def event(self, kind: type[Event], user_id: str) -> Any:
        """The newest event of one kind about this user, waited for."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                for event in reversed(await self.events(kind)):
                    if str(getattr(event, "user_id", "")) == user_id:
                        return event
                await asyncio.sleep(0.01)

    async def work(self) -> None:
        """Starts the workers, the listening one among them."""

        async def listen() -> bool:
            await self.database.keep_listening()
            return False

        for channel, callback in self.running.channels.items():
            await self.database.listen(channel, callback)
        await self.database.keep_listening()
        self._workers = [*self.running.workers, Worker("listen", listen, every_seconds=1.0)]
        for worker in self._workers:
            worker.start()

    async def broken_invariants(self) -> list[str]:
        """What `invariants.sql` finds wrong; nothing, after any test."""
        text = files("tradewind.users").joinpath("invariants.sql").read_text()
        broken: list[str] = []
        for named in text.split("-- name: ")[1:]:
            name, _, query = named.partition("\n")
            broken += [f"{name}: {dict(row)}" for row in await self.rows(query)]
        return broken

    async def end(self) -> None:
        """Ends what it started."""
        for client in self._clients:
            await client.aclose()
        for worker in self._workers:
            await worker.stop()
        await self.database.close()


async def open_instance(
    owner: Address, changes: Mapping[str, str], *, real_hashes: bool = False
) -> Instance:
    """An instance on a migrated database; its hashes are cheap ones if real ones are not wanted."""
    structs = {"": PlatformSettings, "users": UsersSettings}
    settings = load(structs, {**QUICK, **changes})
    if not real_hashes:
        settings["users"] = msgspec.structs.replace(settings["users"], hash_memory_kib=256)
    database = Database(address_of(owner, SECRET, "users"))
    await database.open()
    orders = HeldByOrders()
    platform: PlatformSettings = settings[""]
    running = local(
        database,
        settings["users"],
        platform,
        SECRET,
        orders=orders,
        notifications=HeldByNotifications(),
    )
    web = WebSettings(trusted_proxies=platform.trusted_proxies)
    application = build_application(
        [running.router],
        settings=web,
        title="Users",
        version="1",
        sessions=Sessions(running.contract, web),
        dependencies={"once": Provide(once)},
        exception_handlers={Replay: answer_replay},
    )
    return Instance(running, Front(application, web), orders)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def users_owner(postgres: Address) -> Address:
    """A database with the schema of users, for all tests here."""
    owner = await new_database(postgres)
    await migrate(owner, SECRET, {"users": "tradewind.users"})
    return owner


NewInstance = Callable[..., Awaitable[Instance]]


@pytest_asyncio.fixture(loop_scope="session")
async def new_instance(users_owner: Address) -> AsyncGenerator[NewInstance]:
    """Makes instances over the shared database, with settings of their own."""
    made: list[Instance] = []

    async def make(changes: Mapping[str, str] | None = None, **wiring: bool) -> Instance:
        made.append(await open_instance(users_owner, changes or {}, **wiring))
        return made[-1]

    yield make
    broken = [fault for instance in made[-1:] for fault in await instance.broken_invariants()]
    for instance in made:
        await instance.end()
    assert not broken


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_instance(users_owner: Address) -> AsyncGenerator[Instance]:
    """One instance with the default settings."""
    instance = await open_instance(users_owner, {})
    yield instance
    await instance.end()


@pytest_asyncio.fixture(loop_scope="session")
async def users(shared_instance: Instance) -> AsyncGenerator[Instance]:
    """The shared instance; after the test the invariants hold."""
    yield shared_instance
    assert not await shared_instance.broken_invariants()


@pytest_asyncio.fixture(loop_scope="session")
async def fresh_owner(postgres: Address) -> Address:
    """A database of the test's own."""
    owner = await new_database(postgres)
    await migrate(owner, SECRET, {"users": "tradewind.users"})
    return owner

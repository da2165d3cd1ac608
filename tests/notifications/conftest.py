"""A notifications service on a database of its own, served alone, and mail servers to send to."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from litestar.di import Provide

from notifications.parts import (
    KnownSessions,
    Mailbox,
    MailServer,
    Service,
    broken_invariants,
    eventually,
)
from shop import free_port
from tradewind.notifications.service import NotificationsSettings, local
from tradewind.platform.config import PlatformSettings
from tradewind.platform.database import Address, Database
from tradewind.platform.idempotency import Replay
from tradewind.platform.migrate import address_of, migrate
from tradewind.platform.service import given
from tradewind.platform.sessions import Sessions
from tradewind.platform.web.application import build_application
from tradewind.platform.web.front import Front
from tradewind.platform.web.keys import answer_replay, once
from tradewind.platform.web.serving import ServingSettings, serve
from tradewind.platform.web.settings import WebSettings

SECRET = b"a secret of the test run, not of any store"
PUBLIC_URL = "https://shop.example"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def owner(postgres: Address) -> Address:
    """A migrated database for all tests of notifications, one after another."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(**postgres.arguments())
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    address = msgspec.structs.replace(postgres, database=name)
    await migrate(address, SECRET, {"notifications": "tradewind.notifications"})
    return address


@pytest_asyncio.fixture(loop_scope="session")
async def make(owner: Address) -> AsyncGenerator[Callable[..., Any]]:
    """Services by their settings: `make` again for another process on the same database.

    The database is empty when the test begins; when it is over, no invariant may be broken.
    """
    await _empty(owner)
    made: list[Service] = []

    async def make_service(**settings: Any) -> Service:
        database = Database(address_of(owner, SECRET, "notifications"))
        await database.open()
        running = local(
            database,
            NotificationsSettings(**settings),
            PlatformSettings(public_url=PUBLIC_URL),
            SECRET,
        )
        made.append(Service(running, KnownSessions()))
        return made[-1]

    yield make_service
    if made:
        assert await broken_invariants(made[0].database) == []
    for service in made:
        await service.database.close()


async def _empty(owner: Address) -> None:
    connection = await asyncpg.connect(**owner.arguments())
    try:
        await connection.execute(
            """
            DO $$ DECLARE one text; BEGIN
                FOR one IN SELECT tablename FROM pg_tables
                    WHERE schemaname = 'notifications' AND tablename <> 'schema_migrations'
                LOOP EXECUTE format('DELETE FROM notifications.%I', one); END LOOP;
            END $$
            """
        )
    finally:
        await connection.close()


@pytest_asyncio.fixture(loop_scope="session")
async def service(make: Callable[..., Any]) -> Service:
    """A service that keeps mails in the store."""
    return await make()


@pytest_asyncio.fixture(loop_scope="session")
async def serving() -> AsyncGenerator[Callable[[Service], Any]]:
    """Puts the routes of services behind real servers."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(service: Service) -> Service:
            await stack.enter_async_context(_served(service))
            return service

        yield start


@contextlib.asynccontextmanager
async def _served(service: Service) -> AsyncGenerator[None]:
    web = WebSettings()
    application: Any = build_application(
        [service.running.router],
        settings=web,
        title="Notifications",
        version="0",
        sessions=Sessions(service.sessions, web),
        dependencies={"once": Provide(once), "health": given(service.health)},
        exception_handlers={Replay: answer_replay},
    )
    port, listening, stop = free_port(), asyncio.Event(), asyncio.Event()
    service.base = f"http://127.0.0.1:{port}"
    task = asyncio.create_task(
        serve(
            Front(application, web),
            "127.0.0.1",
            port,
            settings=ServingSettings(),
            ready=listening.set,
            stop=stop,
        )
    )
    await eventually(lambda: listening.is_set() or task.done())
    try:
        yield
    finally:
        service.context.streams.end_all()
        await service.close_clients()
        stop.set()
        await task


@pytest.fixture
def mail_server() -> Iterator[Callable[..., MailServer]]:
    """Mail servers that run, or, where told so, do not yet."""
    made: list[MailServer] = []

    def make_server(*, start: bool = True, **options: Any) -> MailServer:
        server = MailServer(Mailbox(), free_port(), **options)
        made.append(server)
        if start:
            server.start()
        return server

    yield make_server
    for server in made:
        server.end()

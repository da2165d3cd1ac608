"""A scrape while what it asks is down: it has its answer, in time, and says what is unknown."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from faults.scrapes import at, scrape, scrape_known
from pairs import address, send
from shop import SECRET, lived, settings_of
from tradewind.compose import PACKAGES, Store, open_store
from tradewind.platform.embedded.server import EmbeddedPostgres
from tradewind.platform.migrate import migrate

pytestmark = pytest.mark.asyncio(loop_scope="session")
ANSWERED_SECONDS = 4.0
"""About one second for what hangs, one for what was given up before, and a slow machine."""


@asynccontextmanager
async def silent() -> AsyncGenerator[int]:
    """A port where connections are taken and nothing is ever said."""
    open_ones: list[asyncio.StreamWriter] = []

    async def take(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.append(writer)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in open_ones:
            writer.close()


@asynccontextmanager
async def lonely(postgres: EmbeddedPostgres, broker: int) -> AsyncGenerator[Store]:
    """A store of a database of its own, whose broker and Redis do not answer."""
    owner = address(await postgres.start())
    await migrate(owner, SECRET, PACKAGES)
    settings = settings_of(
        {
            "TRADEWIND_BROKER_URL": f"amqp://somebody:nothing@127.0.0.1:{broker}/",
            "TRADEWIND_SESSIONS_URL": f"redis://127.0.0.1:{broker}",
            "TRADEWIND_CACHE_URL": "redis://127.0.0.1:9",
        }
    )
    # Nothing works beside: what is asked is asked by the scrape alone.
    store = await open_store(settings, owner, SECRET, working=False)
    try:
        yield store
    finally:
        await store.close()


async def test_whatever_is_down(tmp_path: Path, served: Any) -> None:
    """With a stopped database, a silent broker and no Redis a scrape is answered in a moment."""
    postgres = EmbeddedPostgres(tmp_path / "home")
    try:
        async with silent() as port, lonely(postgres, port) as store:
            inside = await served(store.internal)
            before = await scrape_known(inside.client, "events of orders", "events of users")
            assert at(before, "tradewind_outbox_events", service="users") == 0
            failures = partial(
                at, name="tradewind_sample_failures_total", sample="events of orders"
            )
            send(postgres, signal.SIGSTOP, leader_last=False)
            try:
                for turn in range(1, 4):
                    async with lived(ANSWERED_SECONDS):
                        scraped = await scrape(inside.client)
                    for sample in ("events of orders", "queue of orders"):
                        assert at(scraped, "tradewind_sample_known", sample=sample) == 0
                    assert failures(scraped) - failures(before) == turn
                    # An old value would look like a new one.
                    assert not any(name == "tradewind_outbox_events" for name, _ in scraped)
                    assert at(scraped, "tradewind_ready") == 0
                    assert at(scraped, "process_cpu_seconds_total") > 0
            finally:
                send(postgres, signal.SIGCONT)
            await scrape_known(inside.client, "events of orders")
    finally:
        await postgres.stop()


async def test_a_busy_pool(new_store: Any, served: Any) -> None:
    """Where every connection is taken a scrape waits no longer than for anything else."""
    shop = await new_store({"TRADEWIND_POOL_SIZE": "1"}, working=False)
    inside = await served(shop.store.internal)
    async with shop.database("orders").transaction():
        async with lived(ANSWERED_SECONDS):
            await scrape(inside.client)
        scraped = await scrape_known(inside.client, "events of users")
    assert at(scraped, "tradewind_sample_known", sample="events of orders") == 0
    assert at(scraped, "tradewind_database_connections_idle", service="orders") == 0

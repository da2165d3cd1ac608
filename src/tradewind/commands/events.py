"""`tradewind events`: what could not be delivered; one rule: a replay applies nothing twice."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.table import Table

from tradewind.commands.place import home_of, running_database, secret_of
from tradewind.compose import ROUTES, open_databases
from tradewind.platform.broker.link import BrokerDown
from tradewind.platform.broker.watching import wait_passed
from tradewind.platform.config import PlatformSettings
from tradewind.platform.database import Database
from tradewind.platform.inbox import count_waiting, delete_parked, list_parked, update_replayed
from tradewind.platform.outbox import find_newest_position

_QUIET_LOOKS = 3
_PAUSE_SECONDS = 0.05
_BROKER_PAUSE_SECONDS = 1.0


@asynccontextmanager
async def _opened(settings: Mapping[str, Any]) -> AsyncGenerator[dict[str, Database]]:
    platform: PlatformSettings = settings[""]
    home = home_of(platform)
    owner = await running_database(platform, home)
    databases = await open_databases(platform, owner, secret_of(platform, home))
    try:
        yield databases
    finally:
        for database in databases.values():
            await database.close()


async def show_parked(settings: Mapping[str, Any], console: Console) -> None:
    """Every parked delivery, by service."""
    table = Table(
        "service", "event", "reaction", "type", "attempts", "parked at", "request", "error"
    )
    async with _opened(settings) as databases:
        for name, database in databases.items():
            async with database.transaction() as tx:
                rows = await list_parked(tx)
            for event_id, reaction, kind, _, attempts, error, parked_at, request_id in rows:
                when = f"{parked_at:%Y-%m-%d %H:%M:%S}"
                table.add_row(
                    name, str(event_id), reaction, kind, str(attempts), when, request_id, error[:80]
                )
    if table.row_count:
        console.print(table)
    else:
        console.print("Nothing is parked.")


async def replay_parked(
    settings: Mapping[str, Any],
    console: Console,
    events: Sequence[UUID] = (),
    service: str | None = None,
) -> None:
    """Makes parked deliveries due again: all, or those of some events, or of one service."""
    total = 0
    async with _opened(settings) as databases:
        for database in _chosen(databases, service):
            async with database.transaction() as tx:
                total += await update_replayed(tx, events or None)
    console.print(f"{total} parked deliveries are due again.")


async def drop_parked(
    settings: Mapping[str, Any],
    console: Console,
    events: Sequence[UUID],
    service: str | None = None,
) -> None:
    """Gives parked deliveries up for good: those of some events, or all where none is named."""
    total = 0
    async with _opened(settings) as databases:
        for database in _chosen(databases, service):
            async with database.transaction() as tx:
                total += await delete_parked(tx, events or None)
    console.print(f"{total} parked deliveries were dropped.")


async def wait_drained(settings: Mapping[str, Any], console: Console) -> None:
    """Returns when every saved event was told and every failed delivery settled or parked.

    A reaction at work may just be saving an event when we look. So it takes looks that find
    nothing, and no event newer than the look before; in between, where a broker carries the
    events, all that is in its queues has been handled.
    """
    started = time.monotonic()
    broker_url: str | None = settings[""].broker_url
    quiet, newest = 0, list[int]()
    async with _opened(settings) as databases:
        while quiet < _QUIET_LOOKS:
            waiting, before = 0, newest
            newest = list[int]()
            for database in databases.values():
                async with database.reading() as reading:
                    waiting += await count_waiting(reading)
                    newest.append(await find_newest_position(reading))
            quiet = 0 if waiting else (quiet + 1 if newest == before else 1)
            if waiting:
                await asyncio.sleep(_PAUSE_SECONDS)
            elif broker_url is not None and quiet < _QUIET_LOOKS:
                quiet = quiet if await _has_passed(broker_url) else 0
    console.print(f"Nothing waits, after {time.monotonic() - started:.1f} s.")


async def _has_passed(broker_url: str) -> bool:
    """A broker that is away is waited for like the rest."""
    try:
        await wait_passed(broker_url, [route.queue for route in ROUTES.values()])
    except BrokerDown:
        await asyncio.sleep(_BROKER_PAUSE_SECONDS)
        return False
    return True


def _chosen(databases: Mapping[str, Database], service: str | None) -> list[Database]:
    return [one for name, one in databases.items() if service in (None, name)]

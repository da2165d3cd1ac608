"""`tradewind events`: what could not be delivered; one rule: a replay applies nothing twice."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from tradewind.commands.place import home_of, running_database, secret_of
from tradewind.compose import open_databases
from tradewind.platform.config import PlatformSettings
from tradewind.platform.database import Database
from tradewind.platform.inbox import count_waiting, list_parked, update_replayed


async def _databases(settings: Mapping[str, Any]) -> dict[str, Database]:
    platform: PlatformSettings = settings[""]
    home = home_of(platform)
    owner = await running_database(platform, home)
    return await open_databases(platform, owner, secret_of(platform, home))


async def show_parked(settings: Mapping[str, Any], console: Console) -> None:
    """Every parked delivery, by service."""
    table = Table("service", "event", "reaction", "type", "attempts", "parked at", "error")
    databases = await _databases(settings)
    for name, database in databases.items():
        async with database.transaction() as tx:
            for event_id, reaction, kind, _, attempts, error, parked_at in await list_parked(tx):
                table.add_row(
                    name, str(event_id), reaction, kind, str(attempts), str(parked_at), error[:80]
                )
        await database.close()
    if table.row_count:
        console.print(table)
    else:
        console.print("Nothing is parked.")


async def replay_parked(settings: Mapping[str, Any], console: Console) -> None:
    """Makes every parked delivery due again."""
    databases = await _databases(settings)
    total = 0
    for database in databases.values():
        async with database.transaction() as tx:
            total += await update_replayed(tx)
        await database.close()
    console.print(f"{total} parked deliveries are due again.")


async def wait_drained(settings: Mapping[str, Any], console: Console) -> None:
    """Returns when every saved event was told and every failed delivery settled or parked."""
    databases = await _databases(settings)
    started = time.monotonic()
    waiting = 1
    while waiting:
        waiting = 0
        for database in databases.values():
            async with database.reading() as reading:
                waiting += await count_waiting(reading)
        await asyncio.sleep(0.05 if waiting else 0)
    for database in databases.values():
        await database.close()
    console.print(f"Nothing waits, after {time.monotonic() - started:.1f} s.")

"""`tradewind events`: what could not be delivered; one rule: a replay applies nothing twice."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from tradewind.commands.place import home_of, running_database, secret_of
from tradewind.compose import open_databases
from tradewind.platform.config import PlatformSettings
from tradewind.platform.database import Database
from tradewind.platform.inbox import list_parked, update_replayed


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

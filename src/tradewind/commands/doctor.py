"""`tradewind doctor`: what is configured, what answers; one rule: it changes nothing."""

import platform as machine
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from rich.console import Console
from rich.table import Table

from tradewind.commands.place import running_database
from tradewind.platform.config import PlatformSettings
from tradewind.platform.embedded.errors import EmbeddedError
from tradewind.platform.migrate import OLDEST_POSTGRESQL

_SECRETS = frozenset({"secret", "database_url", "smtp_url"})


async def diagnose(settings: Mapping[str, Any], console: Console) -> bool:
    """Prints what it finds; False where the database does not answer or is too old."""
    platform: PlatformSettings = settings[""]
    console.print(f"Python {sys.version.split()[0]} on {machine.platform()}", highlight=False)
    console.print(f"Home {Path(platform.home).absolute()}", highlight=False)
    table = Table("setting", "value", title="Settings that are not the default")
    for section, values in settings.items():
        defaults = type(values)()
        for field in msgspec.structs.fields(values):
            value = getattr(values, field.name)
            if value != getattr(defaults, field.name):
                shown = "(set)" if field.name in _SECRETS else str(value)
                table.add_row(f"{section}.{field.name}".lstrip("."), shown)
    if table.row_count:
        console.print(table)
    return await _ask_database(platform, console)


async def _ask_database(platform: PlatformSettings, console: Console) -> bool:
    try:
        address = await running_database(platform, Path(platform.home).absolute())
        connection = await asyncpg.connect(**address.arguments(), timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError, EmbeddedError) as error:
        console.print(f"[red]The database does not answer:[/red] {error}", highlight=False)
        return False
    try:
        version = await connection.fetchval("SHOW server_version")
        number = int(await connection.fetchval("SHOW server_version_num"))
    finally:
        await connection.close()
    console.print(f"PostgreSQL {version} answers.", highlight=False)
    if number < OLDEST_POSTGRESQL:
        console.print("[red]It is too old:[/red] install PostgreSQL 15 or newer.")
        return False
    return True

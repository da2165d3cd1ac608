"""`tradewind doctor`: what is configured, what answers; one rule: it changes nothing."""

import platform as machine
import sys
from collections.abc import Awaitable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import msgspec
from rich.console import Console
from rich.table import Table

from tradewind.commands.place import home_of, running_database, secret_of
from tradewind.platform.broker.link import open_link
from tradewind.platform.config import PlatformSettings
from tradewind.platform.embedded.errors import EmbeddedError
from tradewind.platform.errors import StoreError
from tradewind.platform.migrate import OLDEST_POSTGRESQL, address_of
from tradewind.platform.redis.connection import RedisAddress, RedisLimits, RedisLink
from tradewind.topology.services import SERVICES

_SECRETS = frozenset(
    {
        "secret",
        "database_url",
        "pooler_url",
        "replica_url",
        "broker_url",
        "sessions_url",
        "cache_url",
        "smtp_url",
    }
)
_ANSWER_SECONDS = 5.0


async def diagnose(settings: Mapping[str, Any], console: Console) -> bool:
    """Prints what it finds; False where a server that is set does not answer or is too old."""
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
    sound = [await _ask_database(platform, console)]
    for what, asking in _parts(platform):
        sound += [await _ask(what, asking, console)]
    return all(sound)


def _parts(platform: PlatformSettings) -> Iterator[tuple[str, Awaitable[None]]]:
    """Every other server that is set, and how it is asked."""
    for name in ("sessions", "cache"):
        if (url := getattr(platform, f"{name}_url")) is not None:
            yield f"The Redis of {name}", _ping(name, url)
    if platform.broker_url is not None:
        yield "RabbitMQ", _greet(platform.broker_url)
    for service in SERVICES:
        for url in getattr(platform, f"{service}_url"):
            yield f"{service} at {url}", _is_ready(url)


async def _ask(what: str, asking: Awaitable[None], console: Console) -> bool:
    try:
        await asking
    except (StoreError, OSError, TimeoutError, aiohttp.ClientError) as error:
        console.print(f"[red]{what} does not answer:[/red] {error}", highlight=False)
        return False
    console.print(f"{what} answers.", highlight=False)
    return True


async def _ping(name: str, url: str) -> None:
    link = RedisLink(name, RedisAddress.from_url(url), RedisLimits(call_seconds=_ANSWER_SECONDS))
    try:
        await link.ask([("PING",)])
    finally:
        await link.close()


async def _greet(url: str) -> None:
    link = await open_link(url, "doctor", (), confirms=False)
    await link.close()


async def _is_ready(url: str) -> None:
    limit = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=limit, raise_for_status=True) as session,
        session.get(f"{url.rstrip('/')}/readyz"),
    ):
        return


async def _ask_database(platform: PlatformSettings, console: Console) -> bool:
    try:
        address = await running_database(platform, Path(platform.home).absolute())
        if platform.database_url and not urlsplit(platform.database_url).username:
            # A single service's: it knows no owner, only its roles.
            address = address_of(address, secret_of(platform, home_of(platform)), "users")
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

"""What must always hold, as SQL; one rule: each query names what is broken, and finds nothing.

A service's `invariants.sql` holds queries, each under a line `-- name: what holds`. They run in one
snapshot, so that they may be asked of a store at work (P18).
"""

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import asyncpg
import msgspec

from tradewind.platform.database import Address

_NAME = re.compile(r"^-- name: (.+)$", re.MULTILINE)
SPINE = "tradewind.platform"
_SHOWN_MOST = 5


class Broken(msgspec.Struct, frozen=True):
    """An invariant that does not hold, with some of the rows that say so."""

    service: str
    name: str
    rows: list[dict[str, Any]]


def read_invariants(package: str) -> dict[str, str]:
    """The package's queries by name."""
    parts = _NAME.split(files(package).joinpath("invariants.sql").read_text())
    return {name.strip(): sql.strip() for name, sql in zip(parts[1::2], parts[2::2], strict=True)}


async def check_service(address: Address, service: str, package: str) -> tuple[int, list[Broken]]:
    """Asks every query of one service; answers how many, and those that found something."""
    queries = {**read_invariants(SPINE), **read_invariants(package)}
    broken: list[Broken] = []
    connection = await asyncpg.connect(**address.arguments(), timeout=10)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            for name, sql in queries.items():
                some = f"SELECT * FROM ({sql.rstrip(';')}) AS found LIMIT $1"  # noqa: S608  our file
                rows = await connection.fetch(some, _SHOWN_MOST)
                if rows:
                    broken.append(Broken(service, name, [dict(row) for row in rows]))
    finally:
        await connection.close()
    return len(queries), broken


async def check_services(
    addresses: Mapping[str, Address], packages: Mapping[str, str]
) -> tuple[int, list[Broken]]:
    """All services, one after the other."""
    asked, broken = 0, list[Broken]()
    for service, package in packages.items():
        count, found = await check_service(addresses[service], service, package)
        asked += count
        broken += found
    return asked, broken

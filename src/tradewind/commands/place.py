"""Where a store lives: home, secret, database; one rule: found the same by every command."""

import os
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from tradewind.compose import SETTINGS, open_store
from tradewind.platform.config import ConfigError, PlatformSettings, load
from tradewind.platform.connections import Address, address_of_url
from tradewind.platform.embedded.endpoint import Endpoint, find_endpoint
from tradewind.platform.embedded.server import EmbeddedPostgres
from tradewind.split.standing import told_settings

DATABASE = "tradewind"
OTHERS = frozenset({"TRADEWIND_HOME", "TRADEWIND_REAL_YEAR"})


def load_settings() -> dict[str, Any]:
    """Every setting, from environment and `tradewind.toml`; raises ConfigError with all faults.

    Where a split store runs in the home, its servers are those that it started.
    """
    settings = load(SETTINGS, os.environ, Path("tradewind.toml"), OTHERS)
    told = told_settings(Path(settings[""].home).expanduser().absolute())
    if told:
        settings = load(SETTINGS, {**told, **os.environ}, Path("tradewind.toml"), OTHERS)
    return settings


def home_of(platform: PlatformSettings) -> Path:
    """The store's folder, made if it is not there; only its owner may enter."""
    home = Path(platform.home).expanduser().absolute()
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError([f"TRADEWIND_HOME {home}: {error.strerror}; choose another"]) from error
    return home


def secret_of(platform: PlatformSettings, home: Path) -> bytes:
    """The one secret that keys are derived from: the setting, or a random one kept in the home."""
    if platform.secret is not None:
        return platform.secret.encode()
    path = home / "secret.key"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes().strip()
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_hex(32).encode())
        file.flush()
        os.fsync(file.fileno())
    return path.read_bytes()


async def _embedded_address(endpoint: Endpoint) -> Address:
    arguments = endpoint.connect_arguments()
    connection = await asyncpg.connect(**arguments, timeout=10)
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()
    return Address(
        endpoint.socket_directory, endpoint.port, endpoint.superuser, endpoint.password, DATABASE
    )


@asynccontextmanager
async def started_database(
    platform: PlatformSettings, home: Path, log: Callable[[str], None]
) -> AsyncGenerator[tuple[Address, EmbeddedPostgres | None]]:
    """The database to use: the one that is set, or the embedded one, ended on leaving."""
    if platform.database_url is not None:
        yield address_of_url(platform.database_url), None
        return
    server = EmbeddedPostgres(home, log=log)
    endpoint = await server.start()
    try:
        yield await _embedded_address(endpoint), server
    finally:
        await server.stop()


async def running_database(platform: PlatformSettings, home: Path) -> Address:
    """The database of a store that runs, for a command in another terminal."""
    if platform.database_url is not None:
        return address_of_url(platform.database_url)
    return await _embedded_address(find_endpoint(home))


@asynccontextmanager
async def opened_context(settings: Mapping[str, Any], service: str) -> AsyncGenerator[Any]:
    """What a service's actions work with, on the database of a running store."""
    platform: PlatformSettings = settings[""]
    home = home_of(platform)
    owner = await running_database(platform, home)
    store = await open_store(settings, owner, secret_of(platform, home), working=False)
    try:
        yield store.context(service)
    finally:
        await store.close()

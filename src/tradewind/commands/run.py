"""`tradewind run`: a store, or some services of one; one rule: what it starts, it ends."""

import asyncio
import secrets
import signal
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console

from tradewind.commands.place import (
    home_of,
    running_database,
    secret_of,
    started_database,
)
from tradewind.compose import PACKAGES, Store, open_store
from tradewind.platform.config import ConfigError, PlatformSettings
from tradewind.platform.connections import address_of_url
from tradewind.platform.embedded.errors import EmbeddedError
from tradewind.platform.embedded.server import EmbeddedPostgres
from tradewind.platform.lifecycle import Worker
from tradewind.platform.migrate import migrate
from tradewind.platform.web.serving import ServingSettings, check_free, serve
from tradewind.products.service import load_demo_into_empty
from tradewind.topology.services import SERVICES
from tradewind.users.service import add_first_staff

STAFF_EMAIL = "staff@tradewind.example"
_INTERNAL_IDLE_SECONDS = 3600.0
"""Callers close what they do not need: no call shall meet a connection that just ends."""


async def run_store(settings: Mapping[str, Any], console: Console) -> None:
    """Starts everything, serves, and ends everything on SIGINT or SIGTERM."""
    platform: PlatformSettings = settings[""]
    check_production(settings)
    home = home_of(platform)
    secret = secret_of(platform, home)
    stop, started = stop_on_signals(), time.monotonic()
    async with started_database(platform, home, console.print) as (owner, server):
        check_free(platform.host, platform.port)  # before a password is shown that nobody can use
        await migrate(owner, secret, PACKAGES)
        store = await open_store(settings, owner, secret)
        try:
            await welcome(store, console)
            await _serve(store, platform, server, stop, console, started)
        finally:
            await store.close()


async def run_services(settings: Mapping[str, Any], names: Sequence[str], console: Console) -> None:
    """Runs these services, on a database that is there and migrated, until SIGINT or SIGTERM."""
    platform: PlatformSettings = settings[""]
    check_production(settings)
    check_placement(platform, names)
    home = home_of(platform)
    secret = secret_of(platform, home)
    stop, started = stop_on_signals(), time.monotonic()
    owner = await running_database(platform, home)
    check_free(platform.host, platform.port)
    replica = address_of_url(platform.replica_url) if platform.replica_url else None
    store = await open_store(settings, owner, secret, here=names, replica=replica)
    try:
        await _serve(store, platform, None, stop, console, started)
    finally:
        await store.close()


def check_placement(platform: PlatformSettings, names: Sequence[str]) -> None:
    """Services on their own need the others, and a way to hear of events; raises ConfigError."""
    needed = {
        f"{callee}_url": f"{name} calls {callee}"
        for name in names
        for callee in SERVICES[name].calls
        if callee not in names
    }
    needed["broker_url"] = "events go between services"
    needed["internal_port"] = "the other services call"
    needed["service_keys"] = "services prove who they are"
    missing = {name: why for name, why in needed.items() if not getattr(platform, name)}
    if missing:
        raise ConfigError(
            [f"TRADEWIND_{name.upper()}: needed, for {why}" for name, why in missing.items()]
        )


def stop_on_signals() -> asyncio.Event:
    """Set once this process is told to end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def check_production(settings: Mapping[str, Any]) -> None:
    """Production starts with nothing that is meant for trying out; raises ConfigError.

    A provider that does not exist is refused everywhere: naming one must not open production to
    the test provider, which is there for whoever asks for it.
    """
    platform: PlatformSettings = settings[""]
    in_production = platform.environment == "production"
    faults: list[str] = []
    if settings["orders"].payment_provider != "test":
        faults.append("TRADEWIND_ORDERS_PAYMENT_PROVIDER: there is only `test` so far")
    elif in_production:
        faults.append("TRADEWIND_ORDERS_PAYMENT_PROVIDER: the test provider is not for production")
    if in_production and platform.secret is None:
        faults.append("TRADEWIND_SECRET: set one of 32 characters or more in production")
    if in_production and platform.public_url is None:
        faults.append("TRADEWIND_PUBLIC_URL: needed in production, for links in mails")
    if faults:
        raise ConfigError(faults)


async def welcome(store: Store, console: Console) -> None:
    """On the first run: something to sell, and somebody who may change it."""
    count = await load_demo_into_empty(store.context("products"))
    if count:
        console.print(f"A demo catalogue of {count} products is in the store.")
    password = secrets.token_urlsafe(15)
    if await add_first_staff(store.context("users"), STAFF_EMAIL, password):
        console.print(
            f"A staff account was made: {STAFF_EMAIL}\n"
            f"Its password, shown only this once: {password}"
        )


async def _serve(
    store: Store,
    platform: PlatformSettings,
    server: EmbeddedPostgres | None,
    stop: asyncio.Event,
    console: Console,
    started: float,
) -> None:
    def ready() -> None:
        store.health.ready = True
        host = f"[{platform.host}]" if ":" in platform.host else platform.host
        console.print(f"Ready: http://{host}:{platform.port}", highlight=False, soft_wrap=True)
        console.print(f"[dim]after {time.monotonic() - started:.1f} s; Ctrl-C ends it[/dim]")

    draining = asyncio.create_task(_drain(store, stop))
    watching = _watching(server, stop, console) if server is not None else None
    if watching is not None:
        watching.start()
    try:
        async with _internal(store, platform):
            await serve(
                store.app,
                platform.host,
                platform.port,
                settings=ServingSettings(
                    header_read_seconds=platform.header_seconds,
                    linger_seconds=platform.linger_seconds,
                ),
                ready=ready,
                stop=stop,
            )
    finally:
        store.health.draining = True
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)
        if watching is not None:
            await watching.stop(patience_seconds=0)


@asynccontextmanager
async def _internal(store: Store, platform: PlatformSettings) -> AsyncGenerator[None]:
    """The internal listener, where there is one: open before the public one, closed after it."""
    if platform.internal_port is None:
        yield
        return
    stop, listening = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(
        serve(
            store.internal,
            platform.internal_host,
            platform.internal_port,
            settings=ServingSettings(header_read_seconds=_INTERNAL_IDLE_SECONDS),
            ready=listening.set,
            stop=stop,
        )
    )
    waiting = asyncio.create_task(listening.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if serving.done():
        serving.result()
    try:
        yield
    finally:
        stop.set()
        await serving


async def _drain(store: Store, stop: asyncio.Event) -> None:
    """Tells open streams at once that they are to end, or they would hold the end up."""
    await stop.wait()
    store.health.draining = True


def _watching(server: EmbeddedPostgres, stop: asyncio.Event, console: Console) -> Worker:
    """Starts the embedded database again when it ends, and again where that fails.

    The store waits for it meanwhile: what it is asked is answered 503.
    """

    async def step() -> bool:
        if server.pid is not None:
            code = await server.wait()
            if stop.is_set():
                return False
            console.print(f"PostgreSQL ended with code {code}; starting it again.")
        await server.stop()
        await server.start()
        return True

    return Worker("embedded database", step, every_seconds=1.0)


async def migrate_store(settings: Mapping[str, Any], console: Console) -> None:
    """Brings the schemas up to date, of a running store or of one that stands still."""
    platform: PlatformSettings = settings[""]
    home = home_of(platform)
    try:
        owner = await running_database(platform, home)
    except EmbeddedError:
        async with started_database(platform, home, console.print) as (started, _):
            ran = await migrate(started, secret_of(platform, home), PACKAGES)
    else:
        ran = await migrate(owner, secret_of(platform, home), PACKAGES)
    console.print("\n".join(ran) if ran else "Nothing to migrate.")

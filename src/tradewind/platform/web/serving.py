"""Listening and stopping; one rule: a request that was taken in is answered before we go.

Granian's embedded server runs in this process's own event loop. On stop it closes the listener,
lets requests under way finish, and closes idle connections; we bound how long that may take.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import structlog
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from tradewind.platform.web.asgi import Application
from tradewind.platform.web.front import Front

_log = structlog.stdlib.get_logger(__name__)
_SILENT: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"_granian": {"handlers": [], "level": "CRITICAL", "propagate": False}},
}


class ListenFailed(Exception):
    """The address cannot be listened on; the message is one clear line for people."""


class ServingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How one listener takes connections; times in seconds, sizes in bytes."""

    backlog: int = 2_048
    """Connections that the kernel holds for us, and how many requests the server passes on."""
    header_read_seconds: float = 10.0
    """A client that has not sent its headers by then is cut off."""
    header_buffer_bytes: int = 32 * 1024
    """The server's own, approximate limit; the exact one is `WebSettings.header_limit_bytes`."""
    linger_seconds: float = 0.0
    """After stop: how long to go on serving, so that load balancers notice in time."""
    drain_seconds: float = 20.0
    """After that: how long requests under way may take."""


async def serve(
    app: Application,
    host: str,
    port: int,
    *,
    settings: ServingSettings,
    ready: Callable[[], None],
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until `stop` is set or the task is cancelled; `ready` is called once we listen.

    Stopping: answers ask to close connections for `linger_seconds`, then the listener closes and
    requests under way have `drain_seconds`. Raises `ListenFailed` where the address is taken.
    """
    check_free(host, port)
    stop = stop or asyncio.Event()
    server = _server(app, host, port, settings)
    serving = asyncio.create_task(server.serve(), name=f"listen {host}:{port}")
    waiting = asyncio.create_task(stop.wait())
    try:
        await _listening(serving, host, port)
        ready()
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if isinstance(app, Front):
            app.drain()
        if not serving.done() and settings.linger_seconds:
            await asyncio.wait({serving}, timeout=settings.linger_seconds)
    finally:
        waiting.cancel()
        await _end(server, serving, app, settings.drain_seconds)


def check_free(host: str, port: int) -> None:
    """Raise `ListenFailed` if the address is taken.

    The server shares ports between processes (SO_REUSEPORT), so it would not notice by itself
    that another store already listens there, and the two would answer by turns.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"port {port} on {host} is taken: stop what listens there or choose another"
        else:
            message = f"cannot listen on {host}:{port}: {error.strerror or error}"
        raise ListenFailed(message) from error


def _server(app: Application, host: str, port: int, settings: ServingSettings) -> Server:
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=int(settings.header_read_seconds * 1000),
            max_buffer_size=settings.header_buffer_bytes,
        ),
        websockets=False,
        backlog=settings.backlog,
        log_enabled=False,
        log_dictconfig=_SILENT,
    )
    # Its banner and its warning of being experimental are on this logger; failures come as
    # exceptions, and answers that broke off are logged by the front layer.
    logging.getLogger("_granian").setLevel(logging.CRITICAL + 1)
    return server


async def _listening(serving: asyncio.Task[None], host: str, port: int) -> None:
    """Return once a connection can be made; raise what kept the server from it."""
    target = "127.0.0.1" if host in ("0.0.0.0", "") else ("::1" if host == "::" else host)  # noqa: S104  only compared
    while True:
        if serving.done():
            serving.result()
            message = f"the server on {host}:{port} ended before it listened"
            raise ListenFailed(message)
        with suppress(OSError):
            _, writer = await asyncio.open_connection(target, port)
            writer.close()
            await writer.wait_closed()
            return
        await asyncio.sleep(0.005)


async def _end(
    server: Server, serving: asyncio.Task[None], app: Application, seconds: float
) -> None:
    if serving.done():
        serving.result()
        return
    server.stop()
    _, late = await asyncio.wait({serving}, timeout=seconds)
    if late:
        in_flight = app.in_flight if isinstance(app, Front) else None
        _log.warning("drain_timed_out", seconds=seconds, in_flight=in_flight)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    else:
        serving.result()

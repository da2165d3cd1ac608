"""HAProxy as a program of ours; one rule: it is ready once a request went through it.

It runs in the foreground as master and worker: the master stays the same process while a changed
configuration gets a worker of its own, which takes the listeners over, and the old one finishes
what it has.
"""

import asyncio
import contextlib
import os
import signal
import ssl
from pathlib import Path

from tradewind.split.programs import Program, ProgramServer
from tradewind.topology.balancing import Balancing
from tradewind.topology.haproxy import read_script, render_haproxy

CONFIGURATION = "haproxy.cfg"
MASTER = "master"
_ANSWER_SECONDS = 1.0


def balancer(values: Balancing, folder: Path, *, executable: str = "haproxy") -> Program:
    """HAProxy in front of the topology; its configuration lies in `folder`, for its owner only."""
    path = folder / CONFIGURATION
    scheme = "http" if values.certificate is None else "https"

    async def answers() -> bool:
        # The worker answers before the master has come so far that it heeds signals.
        return await _answers(values) and await _is_attended(folder / MASTER)

    return Program(
        name="haproxy",
        # Named from its folder, where it runs: the path of a socket has at most 107 bytes.
        arguments=(executable, "-W", "-S", f"unix@{MASTER},mode,600", "-f", CONFIGURATION),
        folder=folder,
        answers=answers,
        prepare=lambda: write_configuration(values, path),
        # What is under way may end; the listeners close at once.
        ends_by=signal.SIGUSR1,
        end_seconds=5.0,
        where=f"{scheme}://{values.host}:{values.port}",
    )


def write_configuration(values: Balancing, path: Path) -> None:
    """Writes it whole or not at all, readable by nobody else; its script lies beside it."""
    _write(path.with_name(values.script), read_script())
    _write(path, render_haproxy(values))


def _write(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def reload_balancer(server: ProgramServer, values: Balancing) -> None:
    """Changes what a running HAProxy does without refusing anybody; harmless if it does not run.

    A configuration that it cannot read leaves it as it was; the log says why.
    """
    write_configuration(values, server.program.folder / CONFIGURATION)
    if (pid := server.pid) is not None:
        os.kill(pid, signal.SIGUSR2)


async def _is_attended(socket: Path) -> bool:
    """Whether the master is at its socket, which it is from then on."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(b"show proc\n")
                return bool(await reader.readline())
            finally:
                writer.close()
    return False


async def _answers(values: Balancing) -> bool:
    """Whether it answers what it answers alone: an address that is nobody's."""
    context = None
    if values.certificate is not None:
        context = ssl.create_default_context(cafile=values.certificate)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(values.host, values.port, ssl=context)
            try:
                writer.write(b"GET /internal HTTP/1.1\r\nHost: health\r\nConnection: close\r\n\r\n")
                return (await reader.readline()).startswith(b"HTTP/1.1 ")
            finally:
                writer.close()
    return False

"""A service's process as a program; one rule: it is up when it says that it may have traffic."""

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tradewind.platform.config import PREFIX
from tradewind.split.programs import Program
from tradewind.topology.balancing import Instance

_ANSWER_SECONDS = 2.0
_END_SECONDS = 30.0
_READY = b" 200 "


def service_program(
    name: str, number: int, instance: Instance, environment: Mapping[str, str], folder: Path
) -> Program:
    """One instance of a service, told by variables where it listens and where all others are."""
    own = {
        "HOST": instance.host,
        "PORT": str(instance.port),
        "INTERNAL_HOST": instance.host,
        "INTERNAL_PORT": str(instance.internal_port),
    }
    return Program(
        name=f"{name} {number}",
        arguments=(sys.executable, "-m", "tradewind", "run", name),
        folder=folder / f"{name}-{number}",
        answers=lambda: is_ready(instance.host, instance.internal_port),
        environment={**environment, **{PREFIX + key: value for key, value in own.items()}},
        end_seconds=_END_SECONDS,
        where=f"{instance.host}:{instance.port}, internal {instance.internal_port}",
    )


async def is_ready(host: str, internal_port: int) -> bool:
    """Whether the process behind this internal listener may have traffic."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, internal_port)
            try:
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: internal\r\nConnection: close\r\n\r\n")
                return _READY in await reader.readline()
            finally:
                writer.close()
    return False

"""A Redis of our own; one rule: it keeps nothing, and nobody reaches it but who has the password.

It listens on loopback alone and writes nothing to disk. The password stands in its configuration,
which only its owner may read, and never on a command line.
"""

import os
from functools import partial
from pathlib import Path
from typing import Literal

from tradewind.platform.redis.connection import RedisAddress, RedisAway, RedisLimits, RedisLink
from tradewind.split.programs import Program

Eviction = Literal["noeviction", "volatile-ttl", "allkeys-lru"]
"""What a full Redis does: refuse, forget what ends soonest, or what was not asked for longest."""
SESSIONS_EVICTION: Eviction = "volatile-ttl"
CACHE_EVICTION: Eviction = "allkeys-lru"
_PROBING = RedisLimits(connections=1)


def redis_program(
    name: str,
    folder: Path,
    port: int,
    password: str,
    *,
    eviction: Eviction,
    max_bytes: int = 64 * 1024 * 1024,
    executable: str = "redis-server",
) -> Program:
    """How a private Redis is started, in its own folder, on a port of loopback."""
    configuration = folder.absolute() / "redis.conf"
    lines = [
        "bind 127.0.0.1",
        "protected-mode yes",
        f"port {port}",
        f"requirepass {_quoted(password)}",
        f"dir {_quoted(str(folder.absolute()))}",
        "daemonize no",
        'save ""',
        "appendonly no",
        f"maxmemory {max_bytes}",
        f"maxmemory-policy {eviction}",
        "maxclients 512",
        "tcp-keepalive 60",
        "databases 1",
        "enable-debug-command no",
        "enable-module-command no",
    ]
    return Program(
        name=name,
        arguments=[executable, str(configuration)],
        folder=folder,
        answers=partial(_answers, name, RedisAddress("127.0.0.1", port, password)),
        prepare=partial(_write, configuration, "\n".join(lines) + "\n"),
        end_seconds=5.0,
        ready_seconds=20.0,
        where=f"127.0.0.1:{port}",
    )


def _quoted(value: str) -> str:
    """As one word of the configuration, whatever is in it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _write(path: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "w") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)


async def _answers(name: str, address: RedisAddress) -> bool:
    link = RedisLink(name, address, _PROBING)
    try:
        return await link.ask([("PING",)]) == [b"PONG"]
    except RedisAway:
        return False
    finally:
        await link.close()

"""The way to one Redis; one rule: nobody waits long for it, and nobody fails because of it.

Every round trip is bounded, connecting too, and so is the number of connections. After a few
failures in a row nobody is sent to Redis any more until it has answered a probe, which runs beside
those who ask: a Redis that is stopped or slow costs nothing but what it would have saved. Whoever
asks is told `RedisAway` and goes to the record instead.
"""

import asyncio
import contextvars
import random
from collections.abc import Sequence
from typing import cast
from urllib.parse import unquote, urlsplit

import msgspec
import structlog
from redis.asyncio import Connection, SSLConnection
from redis.exceptions import ResponseError

from tradewind.platform.errors import Unavailable

Argument = bytes | str | int
Command = Sequence[Argument]
Reply = object
"""What Redis answered: bytes, int, None, a list of these, or an error as a value. As it may be
anything, whoever reads it looks at what it is."""

_PAUSE_FIRST_SECONDS = 0.05
_PAUSE_MOST_SECONDS = 1.0
_DEFAULT_PORT = 6379

_log = structlog.stdlib.get_logger(__name__)


class RedisAway(Unavailable):
    """Redis does not answer, or not in time; the record is to be asked instead."""

    code = "redis_unavailable"


class RedisAddress(msgspec.Struct, frozen=True):
    """Where a Redis listens, and who we are there."""

    host: str
    port: int
    password: str | None = None
    username: str | None = None
    database: int = 0
    tls: bool = False

    @classmethod
    def from_url(cls, url: str) -> "RedisAddress":
        """From `redis://[user][:password@]host[:port][/number]`; `rediss` is TLS.

        Raises ValueError, in which the password is not repeated.
        """
        try:
            parts = urlsplit(url)
            port, number = parts.port, int(parts.path.strip("/") or "0")
        except ValueError:
            parts, port, number = None, None, 0
        if parts is None or parts.scheme not in ("redis", "rediss") or not parts.hostname:
            raise ValueError("write redis://:password@host:6379/0")
        return cls(
            host=parts.hostname,
            port=port or _DEFAULT_PORT,
            password=unquote(parts.password) if parts.password else None,
            username=unquote(parts.username) if parts.username else None,
            database=number,
            tls=parts.scheme == "rediss",
        )


class RedisLimits(msgspec.Struct, frozen=True):
    """How far one Redis is trusted."""

    call_seconds: float = 0.1
    """A round trip, however many commands it carries."""
    connect_seconds: float = 0.25
    """Connecting and signing in."""
    connections: int = 8
    """Round trips at once."""
    failures_most: int = 3
    """Failures in a row after which nobody is sent there any more."""


class RedisCounts(msgspec.Struct):
    """What happened so far."""

    round_trips: int = 0
    """Tried, whatever came of them; probes are not among them."""
    failures: int = 0
    """Of these, without an answer."""
    refusals: int = 0
    """Commands that Redis refused: it was full, a replica, still loading."""
    unasked: int = 0
    """Round trips that were spared while Redis was away."""
    outages: int = 0
    """How often it was given up."""


class RedisLink:
    """Round trips to one Redis. One event loop only; connects when first asked."""

    def __init__(self, name: str, address: RedisAddress, limits: RedisLimits | None = None) -> None:
        self.name = name
        self.address = address
        self.limits = limits or RedisLimits()
        self.counts = RedisCounts()
        self._turns = asyncio.Semaphore(self.limits.connections)
        self._idle: list[Connection] = []
        self._failures_in_a_row = 0
        self._refuses = False
        self._probing: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def away(self) -> bool:
        """Whether it is given up just now."""
        return self._probing is not None or self._closed

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """One round trip: the replies to these commands, in order, a refused one's as an error.

        Raises RedisAway, after `connect_seconds` and `call_seconds` at the latest.
        """
        self._raise_if_away()
        try:
            async with asyncio.timeout(self.limits.call_seconds):
                await self._turns.acquire()
            try:
                self._raise_if_away()  # perhaps it was given up meanwhile
                replies = await self._round_trip(commands)
            finally:
                self._turns.release()
        except RedisAway:
            raise
        except Exception as error:
            # Whatever a broken Redis makes of the driver: uvloop raises RuntimeError, for one.
            self._note_failure(error)
            raise RedisAway(f"{self.name} does not answer") from error
        self._failures_in_a_row = 0
        self._note_refusals(replies)
        return replies

    async def close(self) -> None:
        """Ends its connections, and the probe; from then on it is away. Harmless when repeated."""
        self._closed = True
        probing, self._probing = self._probing, None
        if probing is not None:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        await self._close_idle()

    def _raise_if_away(self) -> None:
        if self._probing is not None or self._closed:
            self.counts.unasked += 1
            raise RedisAway(f"{self.name} is away")

    async def _round_trip(self, commands: Sequence[Command]) -> list[Reply]:
        self.counts.round_trips += 1
        try:
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                async with asyncio.timeout(self.limits.call_seconds):
                    packed = connection.pack_commands(commands)
                    await connection.send_packed_command(packed, check_health=False)
                    replies = [await _read(connection) for _ in commands]
            except BaseException:
                # Its answer may still come, and must not be taken for the next one's.
                await connection.disconnect(nowait=True)
                raise
        except BaseException:
            # What happened to one has most likely happened to all.
            await self._close_idle()
            raise
        self._idle.append(connection)
        if self._closed:
            await self._close_idle()
        return replies

    async def _connect(self) -> Connection:
        address = self.address
        kind = SSLConnection if address.tls else Connection
        connection = kind(
            host=address.host,
            port=address.port,
            username=address.username,
            password=address.password,
            db=address.database,
            # Times are bounded here, around whole round trips: two levels of them cost too much.
            socket_timeout=None,
            socket_connect_timeout=None,
            protocol=2,
            driver_info=None,
        )
        try:
            async with asyncio.timeout(self.limits.connect_seconds):
                await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def _close_idle(self) -> None:
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)

    def _note_failure(self, error: Exception) -> None:
        self.counts.failures += 1
        self._failures_in_a_row += 1
        if self._failures_in_a_row < self.limits.failures_most or self.away:
            return
        self.counts.outages += 1
        _log.warning("redis is away", redis=self.name, error=repr(error))
        self._probing = asyncio.create_task(
            self._probe(), name=f"probe {self.name}", context=contextvars.Context()
        )

    def _note_refusals(self, replies: Sequence[Reply]) -> None:
        refused = [reply for reply in replies if isinstance(reply, Exception)]
        self.counts.refusals += len(refused)
        if bool(refused) != self._refuses:
            self._refuses = bool(refused)
            if refused:
                _log.warning("redis refuses", redis=self.name, error=str(refused[0]))
            else:
                _log.info("redis refuses no more", redis=self.name)

    async def _probe(self) -> None:
        """Asks, with growing pauses, until there is an answer; then it is used again."""
        pause_seconds = _PAUSE_FIRST_SECONDS
        while True:
            await asyncio.sleep(random.uniform(pause_seconds / 2, pause_seconds))  # noqa: S311  jitter
            pause_seconds = min(_PAUSE_MOST_SECONDS, pause_seconds * 2)
            if await self._answers():
                break
        self._failures_in_a_row = 0
        self._probing = None
        _log.info("redis answers again", redis=self.name)

    async def _answers(self) -> bool:
        try:
            connection = await self._connect()
            try:
                async with asyncio.timeout(self.limits.call_seconds):
                    await connection.send_command("PING", check_health=False)
                    return await _read(connection) == b"PONG"
            finally:
                await connection.disconnect(nowait=True)
        except Exception:  # noqa: BLE001  why it is away was told when it was given up
            return False


async def _read(connection: Connection) -> Reply:
    try:
        return cast("Reply", await connection.read_response())
    except ResponseError as refused:
        return refused


def listed(reply: Reply, length: int) -> list[Reply]:
    """A reply that should be a list of so many, or as many times None where it is not."""
    if not isinstance(reply, list):
        return [None] * length
    members = cast("list[Reply]", reply)
    return members if len(members) == length else [None] * length

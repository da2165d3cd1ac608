"""Reads that a replica may answer; one rule: only one that has replayed what the read must show.

That is whatever was acknowledged to anybody before the read began: the primary's flushed position,
asked then, once for all who read at that moment. So nobody sees time go back or misses a write
(P10), with a token or without. A replica that is behind is waited for 50 ms; one that fails, hangs
or stays behind is left alone, reads go to the primary (after the commits that a replica may have
shown already, `commits`), and a worker beside takes it back when it has caught up. Only where the
primary does not answer at all may catalogue reads be stale, and even then not older than the
client's own token.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Generic, TypeVar

import asyncpg
import msgspec
import structlog

from tradewind.platform.commits import Commits
from tradewind.platform.connections import GONE, Address, Contended, DatabaseDown
from tradewind.platform.consistency import needed_position
from tradewind.platform.errors import StoreError, Unavailable
from tradewind.platform.lifecycle import Worker
from tradewind.platform.positions import REPLAYED, WAL_PAGE_BYTES, Identity, Position, ask_identity

T = TypeVar("T")
Here = Callable[[Any], Awaitable[T]]
"""A read on a connection of asyncpg."""
There = Callable[[], Awaitable[T]]
"""The same read on the primary."""

CATCH_UP_SECONDS = 0.05
READ_SECONDS = 0.5
_FIRST_POLL_SECONDS = 0.001
_PROBE_SECONDS = 0.25
_LAGS_MOST = 4096
_SETTINGS = {"statement_timeout": "1s"}
_FAILED = (*GONE, asyncpg.PostgresError, Unavailable)

_log = structlog.get_logger(__name__)


class Figures(msgspec.Struct):
    """What metrics tell of a replica."""

    replica_reads: int = 0
    primary_reads: int = 0
    stale_reads: int = 0
    """Of the replica's, those without the primary's word."""
    fallbacks: Counter[str] = msgspec.field(default_factory=Counter[str])
    """Reads that went to the primary, by why: resting, behind, failed, contended, busy, restarted
    (since it was asked), token (ahead of the primary), unknown (what the primary has)."""
    rests: int = 0
    """How often it was left alone."""
    lag_bytes: int = 0
    lag_seconds: float = 0.0
    """How long ago the primary was where the replica is now; 0 where it has all."""


class _NotHere(Exception):
    """The replica cannot answer this read; says why in one word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Found(msgspec.Struct, Generic[T]):
    """An answer, which may be None."""

    answer: T


class _Line(msgspec.Struct):
    """A connection for reads; `proven` once the replica's position was asked after it was made."""

    connection: Any
    identity: Identity
    proven: bool = False


class Replica:
    """One replica of one primary, for one role. Its address is a server's own, never a pooler's.

    `most`: connections for reads; `primary` is the primary's position, `commits` are those under
    way there, and asking `settled` makes it flush all it has.
    """

    def __init__(
        self,
        address: Address,
        primary: Position,
        settled: Position,
        commits: Commits,
        *,
        most: int,
    ) -> None:
        self.figures = Figures()
        self.resting = False
        """Whether it is left alone for now."""
        self.primary_silent = False
        """Whether the primary did not answer when it was last asked."""
        self.position = Position(address, REPLAYED, within_seconds=READ_SECONDS)
        self._address = address
        self._primary = primary
        self._settled = settled
        self._commits = commits
        self._seats = asyncio.Semaphore(most)
        self._free: list[_Line] = []
        self._closed = False
        self._seen: deque[tuple[int, float]] = deque(maxlen=_LAGS_MOST)
        self._probe = Worker(f"replica of {address.user}", self._look, every_seconds=_PROBE_SECONDS)

    def start(self) -> None:
        """Looks after the replica from now on."""
        self._probe.start()

    async def close(self) -> None:
        """Ends the probe and the connections."""
        self._closed = True
        await self._probe.stop(patience_seconds=1.0)
        await self.position.close()
        self._drop_lines()

    async def read(self, here: Here[T], there: There[T], *, stale_ok: bool) -> T:
        """The read's answer, from wherever it may come; raises what the primary raises."""
        if stale_ok and self.primary_silent and (found := await self._stale(here)) is not None:
            return found.answer
        try:
            return await self._here(here, await self._needed())
        except _NotHere as why:
            self.figures.fallbacks[why.reason] += 1
            silent = why.reason == "unknown"
        if stale_ok and silent and (found := await self._stale(here)) is not None:
            return found.answer
        self.figures.primary_reads += 1
        try:
            await self._commits.settled()
            return await there()
        except DatabaseDown:
            if stale_ok and not silent and (found := await self._stale(here)) is not None:
                return found.answer
            raise

    async def _needed(self) -> int:
        """The position that a read which begins now must show; raises _NotHere."""
        if self.resting:
            raise _NotHere("resting")
        if self.primary_silent:
            raise _NotHere("unknown")  # the probe goes on asking
        try:
            position = await self._primary.ask()
        except Unavailable:
            self.primary_silent = True
            raise _NotHere("unknown") from None
        if needed_position() > position:
            # Of another world, or made up: only the primary may say what there is.
            raise _NotHere("token")
        return position

    async def _stale(self, here: Here[T]) -> "_Found[T] | None":
        """An answer without the primary's word; never older than the client's own token.

        Nor than what anybody was shown here before, where the replica has that or gets it soon.
        """
        token = needed_position()
        for needed in sorted({token, max(token, self._primary.newest)}, reverse=True):
            if needed > token and self.resting:
                continue
            with suppress(_NotHere):
                answer = await self._here(here, needed)
                self.figures.stale_reads += 1
                return _Found(answer)
        return None

    async def _here(self, here: Here[T], needed: int) -> T:
        """The answer of the replica, once that is at `needed`; raises _NotHere."""
        try:
            await self._reach(needed)
            async with self._seat(), asyncio.timeout(READ_SECONDS):
                answer = await self._on_line(here, needed)
        except Contended:
            # Replaying had to take rows away from under it: no fault of the replica.
            raise _NotHere("contended") from None
        except _FAILED as error:
            self._rest(repr(error))
            raise _NotHere("failed") from None
        self.figures.replica_reads += 1
        return answer

    async def _reach(self, needed: int) -> None:
        """Waits a little until the replica has replayed so much; raises _NotHere."""
        half_a_record = needed % WAL_PAGE_BYTES == 0
        pause_seconds = _FIRST_POLL_SECONDS
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS):
                while self.position.known < needed and await self.position.ask() < needed:
                    if half_a_record:
                        half_a_record = False
                        await _asked(self._settled)
                    await asyncio.sleep(pause_seconds)
                    pause_seconds *= 1.5
        except TimeoutError:
            self._rest(f"{needed - self.position.known} bytes behind")
            raise _NotHere("behind") from None

    @asynccontextmanager
    async def _seat(self) -> AsyncGenerator[None]:
        """One of so many reads at once; raises _NotHere where all are taken for long."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                await self._seats.acquire()
        except TimeoutError:
            raise _NotHere("busy") from None
        try:
            yield
        finally:
            self._seats.release()

    async def _on_line(self, here: Here[T], needed: int) -> T:
        line = await self._take_line()
        try:
            await self._prove(line)
            if line.identity != self.position.identity or self.position.known < needed:
                raise _NotHere("restarted")
            answer = await here(line.connection)
        except StoreError:
            self._give_back(line)  # an answer too, such as that there is no such product
            raise
        except BaseException:
            line.connection.terminate()
            raise
        self._give_back(line)
        return answer

    async def _prove(self, line: _Line) -> None:
        """Makes sure that what is known of the replica is known of the one at the line's end.

        The position was answered after the line was made, by the same server, on a connection that
        lives: had that server crashed in between, its connection would have died before.
        """
        if not line.proven or self.position.identity is None:
            await self.position.ask()
            line.proven = True

    async def _take_line(self) -> _Line:
        while self._free:
            line = self._free.pop()
            if not line.connection.is_closed():
                return line
        return await self._make_line()

    async def _make_line(self) -> _Line:
        connection = await asyncpg.connect(
            **self._address.arguments(),
            timeout=READ_SECONDS,
            server_settings={**_SETTINGS, "application_name": self._address.user},
        )
        try:
            return _Line(connection, await ask_identity(connection))
        except BaseException:
            connection.terminate()
            raise

    def _give_back(self, line: _Line) -> None:
        if self._closed or self.resting or line.connection.is_in_transaction():
            line.connection.terminate()
        else:
            self._free.append(line)

    def _rest(self, reason: str) -> None:
        """From now on reads go to the primary at once, until the probe finds it well."""
        if self.resting:
            return
        self.resting = True
        self.figures.rests += 1
        _log.info("replica left alone", role=self._address.user, reason=reason)
        self._drop_lines()
        self._probe.wake()

    def _drop_lines(self) -> None:
        while self._free:
            self._free.pop().connection.terminate()

    async def _look(self) -> bool:
        """One step of the probe: how both are, and whether the replica may answer again."""
        flushed = await _asked(self._primary)
        self.primary_silent = flushed is None
        replayed = await _asked(self.position)
        if replayed is None:
            self._rest("it does not say where it is")
        elif flushed is not None:
            self._measure(flushed, replayed)
            with suppress(_NotHere, *_FAILED):
                await self._reach(flushed)
                if self.resting:
                    await self._take_back()
        return False

    async def _take_back(self) -> None:
        """It has caught up; where a new connection can be had as well, it answers again."""
        async with asyncio.timeout(READ_SECONDS):
            line = await self._make_line()
        self.resting = False
        self._give_back(line)
        _log.info("replica taken back", role=self._address.user)

    def _measure(self, flushed: int, replayed: int) -> None:
        now = time.monotonic()
        self._seen.append((flushed, now))
        while self._seen and self._seen[0][0] <= replayed:
            self._seen.popleft()
        self.figures.lag_bytes = max(0, flushed - replayed)
        self.figures.lag_seconds = now - self._seen[0][1] if self._seen else 0.0


async def _asked(position: Position) -> int | None:
    try:
        return await position.ask()
    except Unavailable:
        return None

"""One role's connections; one rule: nobody waits for one longer than five seconds.

Where the server hangs (`silence`) nobody waits at all: whoever has a connection loses it, and
whoever hopes for one hears so.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tradewind.platform.connections import GONE, Address, DatabaseDown, statements_kept
from tradewind.platform.silence import ANSWER_SECONDS, POOLED_ANSWER_SECONDS, Silence

_CONNECT_SECONDS = 5.0
_STATEMENT_SECONDS = 20.0
_CLOSE_SECONDS = 5.0


class Pool:
    """At most so many connections, each given to `init` once.

    `pooled`: the address is a PgBouncer's in transaction mode.
    """

    def __init__(
        self,
        address: Address,
        *,
        most: int,
        pooled: bool,
        init: Callable[[Any], Awaitable[None]],
    ) -> None:
        self.most = most
        self.waiting = 0
        """Who waits for a connection."""
        self.failures = {"gone": 0, "contended": 0}
        """Statements and connections that failed so far, by why."""
        self.silence = Silence(
            address,
            self._end_what_is_under_way,
            answer_seconds=POOLED_ANSWER_SECONDS if pooled else ANSWER_SECONDS,
        )
        self._address = address
        self._pooled = pooled
        self._init = init
        self._pool: asyncpg.Pool | None = None
        self._taken: set[Any] = set()
        self._hoping: set[asyncio.Timeout] = set()

    @property
    def is_open(self) -> bool:
        """Whether it was opened."""
        return self._pool is not None

    def sizes(self) -> tuple[int, int]:
        """How many connections there are, and how many of them nobody uses."""
        return (self._pool.get_size(), self._pool.get_idle_size()) if self._pool else (0, 0)

    async def open(self) -> None:
        """Connects; raises DatabaseDown where nobody answers."""
        try:
            self._pool = await asyncpg.create_pool(
                **self._address.arguments(),
                min_size=1,
                max_size=self.most,
                timeout=_CONNECT_SECONDS,
                command_timeout=_STATEMENT_SECONDS,
                max_inactive_connection_lifetime=0,
                statement_cache_size=statements_kept(pooled=self._pooled),
                server_settings={"application_name": self._address.user},
                init=self._make_ready,
                # Our transactions leave nothing behind: the reset query is a lost round trip.
                reset=_nothing,
            )
        except GONE as error:
            raise DatabaseDown(f"cannot reach the database: {error}") from error
        self.silence.start()

    async def close(self) -> None:
        """Waits for what is under way, at most 5 s, then closes."""
        await self.silence.stop()
        if self._pool is not None:
            try:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()

    @asynccontextmanager
    async def acquired(self) -> AsyncGenerator[Any]:
        """A connection for as long as it lasts; raises DatabaseDown."""
        if self._pool is None:
            raise DatabaseDown("the database is not connected")
        if self.silence.fallen:
            self.failures["gone"] += 1
            raise DatabaseDown("the database hangs; nothing was changed")
        self.waiting += 1
        self.silence.asked()
        hope = asyncio.timeout(_CONNECT_SECONDS)
        self._hoping.add(hope)
        try:
            async with hope:
                connection = await self._pool.acquire()
        except GONE as error:
            self.failures["gone"] += 1
            raise DatabaseDown("the database does not answer; nothing was changed") from error
        finally:
            self._hoping.discard(hope)
            self.waiting -= 1
            self.silence.ended(heard=False)
        self._taken.add(connection)
        try:
            yield connection
        finally:
            self._taken.discard(connection)
            await self._give_back(self._pool, connection)

    async def _give_back(self, pool: asyncpg.Pool, connection: Any) -> None:
        try:
            await pool.release(connection, timeout=_CONNECT_SECONDS)
        except GONE:
            # The driver has ended it. What was done with it, or went wrong, stands all the same.
            self.failures["gone"] += 1

    async def _make_ready(self, connection: Any) -> None:
        try:
            await self._init(connection)
        except BaseException:
            # Not closed, as the driver would: for that it waits for the server, without an end.
            connection.terminate()
            raise

    def _end_what_is_under_way(self) -> None:
        now = asyncio.get_running_loop().time()
        for hope in self._hoping:
            if not hope.expired():
                hope.reschedule(now)
        for connection in self._taken:
            # One that was lost has been taken from us already; then there is nothing to end.
            with contextlib.suppress(asyncpg.InterfaceError):
                connection.terminate()


async def _nothing(_connection: Any) -> None:
    """Resets nothing."""

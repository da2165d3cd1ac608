"""Whether a server hangs; one rule: one that is slow still says so, and only silence is a fault.

A server that is stopped, or cut off without a word, closes nothing: every statement would wait for
its own time-out, and whoever came after for a connection. So where statements wait and none is
answered for a second, somebody asks on a connection of his own, which needs no lock and no disk.
Where that is not answered either, what is under way is ended, and new work is refused at once,
until the server speaks again. Only the server's own word counts: that its host refuses connections,
or has no room for more, answers nobody who waits.
"""

import asyncio
import time
from collections.abc import Callable

import asyncpg
import structlog

from tradewind.platform.connections import Address
from tradewind.platform.lifecycle import Worker

LOOK_SECONDS = 0.25
SUSPECT_SECONDS = 1.0
ANSWER_SECONDS = 2.0
POOLED_ANSWER_SECONDS = 5.0
"""Behind a pooler one may have to wait for those who wait for a lock: `lock_timeout` and some."""

_log = structlog.get_logger(__name__)


class Silence:
    """Watches one server for one role's pool; `broken` is called when it has fallen silent.

    `answer_seconds`: how long it may take to answer, once it is suspected.
    """

    def __init__(
        self, address: Address, broken: Callable[[], None], *, answer_seconds: float
    ) -> None:
        self.fallen = False
        """Whether it is silent now."""
        self._address = address
        self._broken = broken
        self._answer_seconds = answer_seconds
        self._waiting = 0
        self._quiet_since = time.monotonic()
        self._looking = Worker(f"silence of {address.user}", self._look, every_seconds=LOOK_SECONDS)

    def start(self) -> None:
        """Looks from now on."""
        self._looking.start()

    async def stop(self) -> None:
        """Looks no more."""
        await self._looking.stop(patience_seconds=0.0)

    def asked(self) -> float:
        """Somebody waits for the server from now on; answers the time (monotonic, seconds)."""
        now = time.monotonic()
        if not self._waiting:
            self._quiet_since = now
        self._waiting += 1
        return now

    def ended(self, *, heard: bool) -> float:
        """Somebody waits no more: the server has answered, or he gave up. Answers the time."""
        now = time.monotonic()
        self._waiting -= 1
        if heard:
            self._quiet_since = now
        return now

    async def _look(self) -> bool:
        if not self.fallen and not self._suspected():
            return False
        speaks = await self._speaks()
        if speaks:
            self._quiet_since = time.monotonic()
            if self.fallen:
                self.fallen = False
                _log.warning("database answers again", role=self._address.user)
        # Where this process itself was held up, statements have been answered in the meantime.
        elif not self.fallen and self._suspected():
            self.fallen = True
            _log.error("database hangs", role=self._address.user)
            self._broken()
        return False

    def _suspected(self) -> bool:
        return bool(self._waiting) and time.monotonic() - self._quiet_since >= SUSPECT_SECONDS

    async def _speaks(self) -> bool:
        """Whether the server says anything in time, be it that it cannot now."""
        try:
            async with asyncio.timeout(self._answer_seconds):
                connection = await asyncpg.connect(
                    **self._address.arguments(), statement_cache_size=0
                )
                try:
                    await connection.fetchval("SELECT 1")
                finally:
                    connection.terminate()
        except (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError):
            return False
        except asyncpg.PostgresError:
            return True
        return True

"""What this process has heard to be dropped; one rule: it is refused here until Redis knows.

Redis is told beside those who ask, once for all that came meanwhile. Where it cannot be told, what
was dropped is refused here until every page that was begun before has ended by itself. Every other
process hears of the same drops, and does the same.
"""

import asyncio
import contextvars
import secrets
from collections.abc import Callable, Iterable
from typing import Final

from tradewind.platform.errors import Unavailable
from tradewind.platform.redis.connection import Command, RedisLink
from tradewind.platform.redis.page_scripts import DROP, START_ERA

DROPS: Final = b"pages:drops"
"""The key of what Redis knows of drops."""
_TAGS_MOST = 10_000
"""Tags whose last drop is known; beyond that a new era begins, and all pages are fetched anew."""
_NEVER = float("-inf")


class PageDrops:
    """Drops on their way to Redis. One event loop only.

    `seconds`: how long a page lives at most; `clock`: a monotonic one.
    """

    def __init__(self, redis: RedisLink, seconds: float, clock: Callable[[], float]) -> None:
        self._redis = redis
        self._seconds = seconds
        self._clock = clock
        self._refused: dict[str, float] = {}
        self._all_refused_until = _NEVER
        self._untold: set[str] = set()
        self._all_untold = False
        self._telling: asyncio.Task[None] | None = None

    def refuses(self, tags: Iterable[str]) -> bool:
        """Whether a page with these tags may be of the time before a drop."""
        now = self._clock()
        if now < self._all_refused_until:
            return True
        return any(now < self._refused[tag] for tag in tags if tag in self._refused)

    def drop(self, tags: Iterable[str]) -> None:
        """Refuses what has one of these tags, and tells Redis."""
        given = set(tags)
        self._refused |= dict.fromkeys(given, self._clock() + self._seconds)
        self._untold |= given
        if len(self._refused) > _TAGS_MOST:
            self.clear()
        else:
            self._tell_soon()

    def clear(self) -> None:
        """Refuses everything, and tells Redis."""
        self._all_refused_until = self._clock() + self._seconds
        self._refused.clear()
        self._untold.clear()
        self._all_untold = True
        self._tell_soon()

    async def told(self) -> None:
        """Returns once nothing is being told any more; harmless when repeated."""
        while self._telling is not None:
            await asyncio.gather(self._telling, return_exceptions=True)

    def _tell_soon(self) -> None:
        if self._telling is None:
            self._telling = asyncio.create_task(
                self._tell(), name="redis drops", context=contextvars.Context()
            )

    async def _tell(self) -> None:
        try:
            while self._untold or self._all_untold:
                everything, tags = self._all_untold, self._untold
                self._all_untold, self._untold = False, set()
                names = list(map(tag_name, tags))
                command: Command = ("EVAL", DROP, 1, DROPS, new_era(), _TAGS_MOST, *names)
                if everything:
                    command = ("EVAL", START_ERA, 1, DROPS, new_era())
                if await self._took(command):
                    self._forget(tags, everything=everything)
        finally:
            self._telling = None

    async def _took(self, command: Command) -> bool:
        try:
            return await self._redis.ask([command]) == [1]
        except Unavailable:
            return False

    def _forget(self, tags: set[str], *, everything: bool) -> None:
        """Redis knows of these drops; of those that were made once more meanwhile it will."""
        if everything and not self._all_untold:
            self._all_refused_until = _NEVER
        for tag in tags - self._untold:
            self._refused.pop(tag, None)


def tag_name(tag: str) -> bytes:
    """A tag as Redis has it: as it stands in `Surrogate-Key`."""
    return tag.encode("latin-1", "backslashreplace")


def new_era() -> str:
    """A name that no era has had."""
    return secrets.token_hex(8)

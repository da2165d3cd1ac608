"""Commits under way on a primary; one rule: what a replica may have shown is shown here too.

A commit is on its way to replicas as soon as it is flushed, and visible on the primary a moment
later: whoever saw it on a replica and asks the primary next could see time go back. So a read that
goes to the primary in a replica's place first waits for the commits it finds under way. A replica
has only what was flushed, so they are all that it can be ahead by.

The server says who is committing (`pg_stat_activity`): who has a transaction's id, and runs COMMIT
or a statement that commits itself. A role sees its own sessions only; nobody else writes its rows.
Where the server was told not to keep track (`track_activities`), all writers count.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import LiteralString

import structlog

from tradewind.platform.coalesce import Coalescer
from tradewind.platform.connections import DatabaseDown
from tradewind.platform.telemetry import Seldom

SETTLE_SECONDS = 3.0
COMMITS_ITSELF: LiteralString = "/* commits itself */ "
"""Every statement that is a transaction of its own begins with this."""
COMMITTING: LiteralString = """
SELECT coalesce(array_agg(pid || ' ' || backend_xid), '{}')
FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND backend_xid IS NOT NULL
  AND (query ^@ 'COMMIT' OR query ^@ $1 OR state = 'disabled')
"""
"""$1 is COMMITS_ITSELF."""
_log = structlog.get_logger(__name__)
_FIRST_PAUSE_SECONDS = 0.001
_LONGEST_PAUSE_SECONDS = 0.05
_WAITING_MOST = 100_000

Listing = Callable[[], Awaitable[list[str]]]
"""Asks the primary COMMITTING."""


class Commits:
    """The commits of one role; `listing` is asked once for all who want to know at that moment."""

    def __init__(self, name: str, listing: Listing) -> None:
        self._name = name
        self._listing = listing
        self._hanging = Seldom()
        self._asking = Coalescer(
            f"commits of {name}",
            self._answer_all,
            most=_WAITING_MOST,
            waiting_most=_WAITING_MOST,
        )

    async def settled(self) -> None:
        """Returns when all that was flushed before the call can be seen; raises DatabaseDown."""
        left, pause_seconds = frozenset[str](), _FIRST_PAUSE_SECONDS
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                left = await self._asking.submit(None)
                while left:
                    await asyncio.sleep(pause_seconds)
                    pause_seconds = min(pause_seconds * 1.5, _LONGEST_PAUSE_SECONDS)
                    left &= await self._asking.submit(None)
        except TimeoutError:
            if many := self._hanging.due():
                # None: not even that was answered. Else "pid xid", for whoever looks them up.
                told = sorted(left) or None
                _log.warning("commits hang", role=self._name, sessions=told, reads=many)
            raise DatabaseDown("the database finishes no commits; try again shortly") from None

    async def _answer_all(self, waiting: list[None]) -> Sequence[frozenset[str]]:
        return [frozenset(await self._listing())] * len(waiting)

"""Concurrent calls become one call; one rule: what the callee does for many is asked for many.

For methods of a contract that take a list and answer one outcome for each member, in order. While
one request is on its way, the next one gathers: no timer, as in `platform/coalesce.py`.
"""

import time
from collections.abc import Sequence
from typing import Generic, TypeVar

from tradewind.platform.coalesce import Coalescer
from tradewind.platform.errors import StoreError
from tradewind.platform.remote.client import Remote
from tradewind.platform.web.context import current_request_id, remaining_seconds

Member = TypeVar("Member")
Outcome = TypeVar("Outcome")


class Gathered(Generic[Member, Outcome]):
    """One method of one remote service. `at_once`: requests under way at the same time.

    More than one, so that an instance that hangs does not hold up those who come after.
    """

    def __init__(self, remote: Remote, name: str, *, most: int = 256, at_once: int = 2) -> None:
        self._remote = remote
        self._name = name
        self._waiting: Coalescer[tuple[Member, str, float], Outcome] = Coalescer(
            f"{remote.service}.{name}", self._ask, most=most, at_once=at_once
        )

    async def submit(self, member: Member) -> Outcome:
        """This member's outcome; raises its own error, or Unavailable."""
        return await self._waiting.submit(_asked(member))

    async def submit_all(self, members: Sequence[Member]) -> list[Outcome]:
        """The outcomes of several; a member's own error is a value. Raises Unavailable."""
        return await self._waiting.submit_all([_asked(member) for member in members])

    async def _ask(self, waiting: list[tuple[Member, str, float]]) -> Sequence[Outcome]:
        members = [member for member, _, _ in waiting]
        request_ids = [id_ for _, id_, _ in waiting if id_]
        # Nobody is cut short by a neighbour who has less time left.
        latest = max(deadline for _, _, deadline in waiting)
        [outcomes] = await self._remote.call_many(
            self._name,
            [[members]],
            request_ids=request_ids,
            seconds=latest - time.monotonic(),
        )
        if isinstance(outcomes, StoreError):
            raise outcomes
        return outcomes


def _asked(member: Member) -> tuple[Member, str, float]:
    return member, current_request_id(), time.monotonic() + remaining_seconds()

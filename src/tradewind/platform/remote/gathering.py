"""Concurrent calls become one call; one rule: what the callee does for many is asked for many.

For methods of a contract that take a list and answer one outcome for each member, in order, and
may be asked twice. While one request is on its way, the next one gathers, as in
`platform/coalesce.py`. Nothing is tried again here: what a whole request came to is handed on as
each member's outcome, which the coalescer passes through. Only a batch that the callee does not
understand, and did nothing of, is halved until the member that spoils it is alone.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Generic, TypeVar, cast

import msgspec

from tradewind.platform.coalesce import Coalescer
from tradewind.platform.database import assert_no_transaction
from tradewind.platform.errors import StoreError
from tradewind.platform.remote.client import DependencyDown, Remote
from tradewind.platform.web.context import RequestContext, current

Member = TypeVar("Member")
Outcome = TypeVar("Outcome")
_HANGS_SECONDS = 0.05


class _Asked(msgspec.Struct, frozen=True):
    """One member, and who asks."""

    member: Any
    asking: RequestContext | None
    deadline: float


class _Failed(msgspec.Struct, frozen=True):
    """What became of a whole request, as the outcome of a member."""

    error: StoreError


class Gathered(Generic[Member, Outcome]):
    """One method of one remote service; one request at a time, for a few large ones cost least.

    Where that one hangs, those who come after go beside it.
    """

    def __init__(self, remote: Remote, name: str, *, most: int = 256) -> None:
        self._remote = remote
        self._name = name
        self._waiting: Coalescer[_Asked, Any] = Coalescer(
            f"{remote.service}.{name}", self._ask, most=most, hangs_seconds=_HANGS_SECONDS
        )

    async def submit(self, member: Member) -> Outcome:
        """This member's outcome; raises its own error, or Unavailable."""
        [outcome] = await self.submit_all([member])
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

    async def submit_all(self, members: Sequence[Member]) -> list[Outcome]:
        """The outcomes of several; a member's own error is a value. Raises Unavailable."""
        # Here, for the batch is sent from a task of its own, which knows of no transaction.
        assert_no_transaction(f"a call of {self._remote.service}.{self._name}")
        asking, now = current(), time.monotonic()
        deadline = now + self._remote.settings.total_seconds
        if asking is not None:
            deadline = min(deadline, asking.deadline)
        asked = [_Asked(member, asking, deadline) for member in members]
        try:
            async with asyncio.timeout(deadline - now):
                outcomes = await self._waiting.submit_all(asked)
        except TimeoutError:
            raise DependencyDown(f"{self._remote.service} is too slow just now") from None
        for outcome in outcomes:
            if isinstance(outcome, _Failed):
                raise outcome.error
        return outcomes

    async def _ask(self, waiting: list[_Asked]) -> Sequence[Outcome | _Failed]:
        # Nobody is cut short by a neighbour who has less time left: each leaves at its own.
        latest = max(one.deadline for one in waiting)
        asking = [one.asking for one in waiting if one.asking is not None]
        try:
            [outcomes] = await self._remote.call_many(
                self._name,
                [[[one.member for one in waiting]]],
                request_ids=[one.request_id for one in asking if one.request_id],
                trace=asking[0].trace if len(asking) == 1 else None,
                seconds=latest - time.monotonic(),
                each=True,
            )
        except StoreError as error:
            outcomes = error
        if not isinstance(outcomes, StoreError) and len(outcomes) != len(waiting):
            outcomes = DependencyDown(f"{self._remote.service} answered for others than were asked")
        if isinstance(outcomes, StoreError):
            return [_Failed(outcomes)] * len(waiting)
        return cast("list[Outcome]", outcomes)

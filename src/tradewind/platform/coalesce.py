"""Concurrent requests become one batch; one rule: one bad member never fails its neighbours.

There is no timer: whatever arrived while the last batch was on its way is the next batch, so a
lone request waits for nothing and a busy store makes large batches. The flush function takes a
list and answers one outcome for each member, in order: a value, or a `StoreError` for that member
alone. It must be idempotent by its members' ids, since a batch that failed as a whole is tried
again in halves until the member that spoils it is alone.
"""

import asyncio
import contextvars
import random
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, TypeVar, cast

import structlog

from tradewind.platform.connections import Contended
from tradewind.platform.errors import StoreError, Unavailable

Request = TypeVar("Request")
Outcome = TypeVar("Outcome")

_log = structlog.get_logger(__name__)
_TRIES = 5
HANGING_MOST = 3
"""Batches that may hang beside those that may be under way anyway."""


class Coalescer(Generic[Request, Outcome]):
    """Collects calls of `submit` into calls of `flush`.

    `most`: members in one batch; `waiting_most`: members that may wait before new ones are refused
    with `Unavailable`; `at_once`: batches under way at the same time. Fewer are larger and cheaper;
    with `hangs_seconds`, once no batch has begun for so long though some wait, another one starts
    beside those that hang, up to HANGING_MOST of them.
    """

    def __init__(
        self,
        name: str,
        flush: Callable[[list[Request]], Awaitable[Sequence[Outcome | Exception]]],
        *,
        most: int = 256,
        waiting_most: int = 8192,
        at_once: int = 1,
        hangs_seconds: float | None = None,
    ) -> None:
        self.name = name
        self._flush = flush
        self._most = most
        self._waiting_most = waiting_most
        self._at_once = at_once
        self._hangs_seconds = hangs_seconds
        self._looking: asyncio.TimerHandle | None = None
        self._waiting: deque[tuple[Request, asyncio.Future[Outcome | Exception]]] = deque()
        self._active = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.batches = 0
        self.members = 0
        self.refused = 0
        made = _made.get()
        if made is not None:
            made.append(self)

    @property
    def waiting(self) -> int:
        """Requests that wait for their batch."""
        return len(self._waiting)

    async def submit(self, request: Request) -> Outcome:
        """This request's own outcome, once its batch is committed. Raises its own error."""
        outcome = await self._enqueue(request)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def submit_all(self, requests: Sequence[Request]) -> list[Outcome]:
        """The outcomes of several, in order; a member's own error is a value among them.

        Raises only what kept whole batches from being carried out.
        """
        if not requests:
            return []
        if len(requests) == 1:
            return [cast("Outcome", await self._enqueue(requests[0]))]
        futures = [self._enqueue(request) for request in requests]
        await asyncio.wait(futures)
        # Whoever asks for several names their errors in `Outcome`.
        return [cast("Outcome", future.result()) for future in futures]

    def _enqueue(self, request: Request) -> asyncio.Future[Outcome | Exception]:
        if len(self._waiting) >= self._waiting_most:
            self.refused += 1
            raise Unavailable(f"too much is waiting for {self.name}; try again shortly")
        future: asyncio.Future[Outcome | Exception] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._active < self._at_once:
            self._start()
        elif self._hangs_seconds is not None and self._looking is None:
            self._look_after(self._hangs_seconds)
        return future

    def _start(self) -> None:
        self._active += 1
        # An empty context: a batch belongs to no single request's id or deadline.
        task = asyncio.create_task(
            self._drain(), name=f"coalesce {self.name}", context=contextvars.Context()
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _look_after(self, seconds: float) -> None:
        self._looking = asyncio.get_running_loop().call_later(
            seconds, self._look, seconds, self.batches
        )

    def _look(self, seconds: float, batches: int) -> None:
        """Whether those who wait wait for a batch that hangs; looks again while any wait."""
        self._looking = None
        if not self._waiting:
            return
        if self.batches == batches and self._active < self._at_once + HANGING_MOST:
            self._start()
        self._look_after(seconds)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch: list[tuple[Request, asyncio.Future[Outcome | Exception]]] = []
                while self._waiting and len(batch) < self._most:
                    request, future = self._waiting.popleft()
                    if not future.done():  # nobody waits for a cancelled one any more
                        batch.append((request, future))
                if not batch:
                    continue
                self.batches += 1
                self.members += len(batch)
                await self._settle(batch)
        finally:
            # Here, not in the task's callback: that runs a moment later, and a request that came
            # in between would find this task in its place and be taken up by nobody.
            self._active -= 1

    async def _settle(
        self, batch: list[tuple[Request, asyncio.Future[Outcome | Exception]]]
    ) -> None:
        requests = [request for request, _ in batch]
        try:
            outcomes = await self._flush_patiently(requests)
            if len(outcomes) != len(requests):
                raise RuntimeError(f"{len(outcomes)} outcomes for {len(requests)} requests")
        except StoreError as error:
            _fail(batch, error)
        except Exception as error:  # noqa: BLE001  whoever waits is told, each their own
            if len(batch) == 1:
                _log.exception("one member failed its batch", coalescer=self.name)
                _fail(batch, error)
                return
            half = len(batch) // 2
            await self._settle(batch[:half])
            await self._settle(batch[half:])
        except BaseException:
            # This task is being ended: whoever waits shall not wait for ever.
            _fail(batch, Unavailable(f"{self.name} is being shut down"))
            raise
        else:
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if not future.done():
                    future.set_result(outcome)

    async def _flush_patiently(self, requests: list[Request]) -> Sequence[Outcome | Exception]:
        for attempt in range(_TRIES):
            try:
                return await self._flush(requests)
            except Contended:
                if attempt + 1 == _TRIES:
                    raise
                await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311  jitter
        raise AssertionError("unreachable")


_made: ContextVar[list[Coalescer[Any, Any]] | None] = ContextVar("coalescers", default=None)


@contextmanager
def noticed_coalescers() -> Generator[list[Coalescer[Any, Any]]]:
    """All that are made in here, for whoever tells of them. Nothing is decided by it."""
    made: list[Coalescer[Any, Any]] = []
    token = _made.set(made)
    try:
        yield made
    finally:
        _made.reset(token)


def _fail(batch: Sequence[tuple[Any, asyncio.Future[Any]]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)

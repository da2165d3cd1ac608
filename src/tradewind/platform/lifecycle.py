"""What runs beside requests, and how it ends; one rule: every task has an owner that awaits it.

A worker repeats one small step: at once while there is more to do, else when woken or when its
interval is over. A step that fails is logged and tried again with growing, jittered pauses, so
that faults heal without anybody's help.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

_log = structlog.get_logger(__name__)
_PAUSE_MOST_SECONDS = 5.0
_FAILURES_ALARMING = 3


class Worker:
    """A repeated step. `step` answers whether there is more to do right away."""

    def __init__(
        self, name: str, step: Callable[[], Awaitable[bool]], *, every_seconds: float
    ) -> None:
        self.name = name
        self.failures = 0
        """Failures in a row."""
        self.steps = 0
        """Steps that went well, since the beginning."""
        self.failed = 0
        """Steps that failed, since the beginning."""
        self._step = step
        self._every_seconds = every_seconds
        self._woken = asyncio.Event()
        self._ending = False
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """There may be something to do."""
        self._woken.set()

    def start(self) -> None:
        """Runs until `stop`."""
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self, patience_seconds: float = 5.0) -> None:
        """Lets the step under way finish for so long, then cancels it."""
        self._ending = True
        self._woken.set()
        if self._task is not None:
            _, late = await asyncio.wait([self._task], timeout=patience_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while not self._ending:
            self._woken.clear()
            try:
                more = await self._step()
                self.failures = 0
                self.steps += 1
            except Exception as error:  # noqa: BLE001  logged, and the step is tried again
                self.failures += 1
                self.failed += 1
                level = _log.warning if self.failures < _FAILURES_ALARMING else _log.error
                level("worker failed", worker=self.name, failures=self.failures, error=repr(error))
                pause = min(_PAUSE_MOST_SECONDS, 0.05 * 2**self.failures)
                await self._sleep(random.uniform(pause / 2, pause))  # noqa: S311  jitter
                continue
            if not more and not self._woken.is_set():
                await self._sleep(self._every_seconds)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return


class Health:
    """Whether this process may have traffic. Liveness asks nobody (P13)."""

    def __init__(self) -> None:
        self.ready = False
        self.draining = False

    def may_serve(self) -> bool:
        """True between readiness and drain."""
        return self.ready and not self.draining

"""What has to be asked for at a scrape; one rule: nobody who does not answer holds up the rest.

A question is a task beside the scrape, one at a time. One that has no answer in time is given up
and told as failed; its values are then missing, for an old value would look like a new one.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

T = TypeVar("T")
WITHIN_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class Sample(Generic[T]):
    """A question to another server. `ask` may raise what it likes, and may hang."""

    def __init__(
        self, name: str, ask: Callable[[], Awaitable[T]], within_seconds: float = WITHIN_SECONDS
    ) -> None:
        self.name = name
        self.failures = 0
        """So far."""
        self.known: bool | None = None
        """Whether the last question was answered; None before the first one ended."""
        self._ask = ask
        self._within_seconds = within_seconds
        self._asking: asyncio.Task[T] | None = None

    async def take(self) -> T | None:
        """The answer, or None where there is none in time. Scrapes at the same time share it."""
        if self._asking is not None and self._asking.cancelling():
            # It was given up, and may still be on its way out.
            await asyncio.wait({self._asking}, timeout=self._within_seconds)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(
                _coroutine(self._ask), name=f"sample {self.name}", context=contextvars.Context()
            )
        asking = self._asking
        await asyncio.wait({asking}, timeout=self._within_seconds)
        if not asking.done():
            asking.cancel()
            return self._failed("no answer in time")
        if asking.cancelled():
            return self._failed("given up")
        error = asking.exception()
        if error is not None:
            return self._failed(repr(error))
        self.known = True
        return asking.result()

    async def close(self) -> None:
        """Ends a question under way."""
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    def _failed(self, why: str) -> None:
        self.failures += 1
        if self.known is not False:
            _log.warning("sample failed", sample=self.name, error=why)
        self.known = False


async def _coroutine(ask: Callable[[], Awaitable[T]]) -> T:
    return await ask()

"""Keeping servers up; one rule: what ends by itself is started again, with growing pauses."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 10.0
_SOUND_SECONDS = 20.0
"""Whoever ran so long has recovered: the next pause is short again."""


class Server(Protocol):
    """Something that runs until it is stopped, or ends by itself."""

    @property
    def pid(self) -> int | None:
        """Its process, or None while there is none."""
        ...

    async def start(self) -> object:
        """Returns once it answers; raises, with nothing left running, where that cannot be."""
        ...

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        ...

    async def stop(self) -> None:
        """Ends it; harmless when repeated."""
        ...


class Keeper:
    """Keeps one server up from `start` until `stop`."""

    def __init__(
        self,
        name: str,
        server: Server,
        say: Callable[[str], None],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.server = server
        self.restarts = 0
        self._say = say
        self._changed = changed
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts the server, and watches over it from then on."""
        await self.server.start()
        self._task = asyncio.create_task(self._watch(), name=f"keep {self.name}")

    async def stop(self) -> None:
        """Ends the watch, then the server."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self.server.stop()

    async def _watch(self) -> None:
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            started = time.monotonic()
            code = await self.server.wait()
            if time.monotonic() - started > _SOUND_SECONDS:
                pause_seconds = _FIRST_PAUSE_SECONDS
            self._say(f"{self.name} ended with {code}; starting it again")
            pause_seconds = await self._start_again(pause_seconds)

    async def _start_again(self, pause_seconds: float) -> float:
        """Tries until it is up; answers how long to wait before the next time."""
        while True:
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(_LONGEST_PAUSE_SECONDS, pause_seconds * 2)
            try:
                await self.server.stop()
                await self.server.start()
            except Exception as error:  # noqa: BLE001  whatever keeps it down, it is tried again
                self._say(f"{self.name} does not come up: {error}")
            else:
                self.restarts += 1
                self._changed()
                return pause_seconds


class Keepers:
    """All that is kept up; ended in the opposite order, what was started beside each other too.

    `changed` is called whenever something was started, for the first time or again.
    """

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self.all: list[Keeper] = []
        self._say = say
        self._changed = changed
        self._stages: list[list[Keeper]] = []

    async def start(self, *chains: Sequence[tuple[str, Server]]) -> None:
        """Starts chains beside each other, the servers of each one after the other.

        Raises the first failure, once the others are done; what came up stays for `stop`.
        """
        stage: list[Keeper] = []
        self._stages.append(stage)
        outcomes = await asyncio.gather(
            *(self._chain(chain, stage) for chain in chains), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def stop(self) -> None:
        """Ends everything."""
        while self._stages:
            stage = self._stages.pop()
            await asyncio.gather(*(keeper.stop() for keeper in reversed(stage)))
        self.all.clear()

    async def _chain(self, chain: Sequence[tuple[str, Server]], stage: list[Keeper]) -> None:
        for name, server in chain:
            keeper = Keeper(name, server, self._say, self._changed)
            await keeper.start()
            stage.append(keeper)
            self.all.append(keeper)
            self._changed()

"""A server as a program of ours; one rule: what was started is ready, or nothing is left of it."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tradewind.platform.processes import Command, Leashed, Ourselves

_LOG_LIMIT_BYTES = 8 * 1024 * 1024
_LAST_LINES = 5
_KILLED_SECONDS = 10.0


class StartFailed(Exception):
    """A program did not come up; one line, with what it said last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """How a server is started, known to be ready, and ended; times in seconds.

    Each runs in a folder of its own, which only its owner may enter, and ends with its owner.
    """

    name: str
    arguments: Sequence[str]
    folder: Path
    answers: Callable[[], Awaitable[bool]]
    """Whether it does its work by now; asked again and again, so it must be cheap and bounded."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    prepare: Callable[[], None] = lambda: None
    """Called before each start: writes configuration, makes folders."""
    ends_by: signal.Signals = signal.SIGTERM
    end_seconds: float = 10.0
    ready_seconds: float = 60.0
    where: str = ""
    """Its address, for people."""

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.folder / "log"


class ProgramServer:
    """One run of a program after the other."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: Leashed | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return self.program.name

    @property
    def pid(self) -> int | None:
        """The process, or None while there is none."""
        return self._process.pid if self._process and self._process.runs else None

    async def start(self) -> None:
        """Starts it and returns once it answers; raises StartFailed, with nothing left running."""
        program = self.program
        program.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        program.prepare()
        _bound(program.log)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        output = os.open(program.log, flags, 0o600)
        try:
            self._process = Leashed(
                Command(
                    program.arguments,
                    Ourselves(),
                    program.folder,
                    output,
                    program.environment,
                    program.ends_by,
                )
            )
        finally:
            os.close(output)
        try:
            await self._until_it_answers(self._process)
        except BaseException:
            await self.stop()
            raise

    async def wait(self) -> int:
        """Waits for its end; answers its exit code, negative for a signal."""
        if self._process is None:
            raise StartFailed(f"{self.name} was not started")
        return await self._process.ended()

    async def stop(self) -> None:
        """Ends it in order, or by force where that takes too long. Harmless when repeated."""
        process, self._process = self._process, None
        if process is None or not process.runs:
            return
        process.send(self.program.ends_by)
        process.send(signal.SIGCONT)
        if not await process.ended_within(self.program.end_seconds):
            process.send(signal.SIGKILL)
            await process.ended_within(_KILLED_SECONDS)

    async def _until_it_answers(self, process: Leashed) -> None:
        deadline = time.monotonic() + self.program.ready_seconds
        pause_seconds = 0.01
        while process.runs:
            if await self.program.answers():
                return
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(0.25, pause_seconds * 1.5)
        how = "does not answer" if process.runs else f"ended with {await process.ended()}"
        raise StartFailed(f"{self.name} {how}: {last_lines(self.program.log)}")


def last_lines(log: Path) -> str:
    """What a program said last, in one line."""
    with suppress(OSError):
        lines = log.read_text(errors="replace").strip().splitlines()[-_LAST_LINES:]
        return " | ".join(line.strip() for line in lines) + f" (more in {log})"
    return f"it said nothing in {log}"


def _bound(log: Path) -> None:
    """What an earlier run said is kept once, as `log.1`, when it has grown long."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_LIMIT_BYTES:
            log.replace(log.with_name("log.1"))

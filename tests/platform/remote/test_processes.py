"""Instances that are stopped, killed and ended in order, while callers call: no call fails.

A test process that is held up for a second or two gives up no instance for that: only who never
answers is given up.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contracts import instance
from contracts.instance import Numbers
from contracts.internal import House
from servers import started
from shop import eventually, free_port
from tradewind.platform.remote.client import Remote, RemoteSettings
from tradewind.split.programs import Program, ProgramServer
from tradewind.split.services import is_ready

pytestmark = pytest.mark.asyncio
CALLERS = 8
CALM = RemoteSettings(connect_seconds=20.0, first_seconds=3.0, try_seconds=30.0, total_seconds=60.0)


class Load:
    """Callers that call all the time; who answered each call, in order."""

    def __init__(self, remote: Remote, servers: list[ProgramServer]) -> None:
        self.remote = remote
        self.servers = servers
        self.answered_by: list[int] = []
        self.done = False

    def pid(self, number: int) -> int:
        """The process of an instance."""
        pid = self.servers[number].pid
        assert pid is not None
        return pid

    def send(self, number: int, what: signal.Signals) -> int:
        """Sends an instance a signal; answers how many calls were answered by then."""
        os.kill(self.pid(number), what)
        return len(self.answered_by)

    async def call(self) -> None:
        """One caller. Any call that fails ends the test."""
        number = 0
        while not self.done:
            number += 1
            told, pid = await self.remote.call("where", number)
            assert told == number
            self.answered_by.append(pid)

    async def until(self, question: Callable[[], bool]) -> None:
        """Waits for something to be true."""

        async def ask() -> bool:
            return question()

        await eventually(ask)


@asynccontextmanager
async def load(house: House, folder: Path, *, linger_seconds: float = 0.0) -> AsyncGenerator[Load]:
    """Two instances under load, each as the store would start it."""
    ports = [free_port(), free_port()]
    programs = [_program(house, folder / str(port), port, linger_seconds) for port in ports]
    async with started(programs) as servers:
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        one = Load(house.remote("products", Numbers, urls, settings=CALM), servers)
        callers = [asyncio.create_task(one.call()) for _ in range(CALLERS)]
        await one.until(lambda: len(set(one.answered_by)) == 2)
        yield one
        one.done = True
        await asyncio.gather(*callers)


def _program(house: House, folder: Path, port: int, linger_seconds: float) -> Program:
    def answers() -> Awaitable[bool]:
        return is_ready("127.0.0.1", port)

    return Program(
        name=f"instance {port}",
        arguments=[
            *(sys.executable, instance.__file__),
            *(str(house.folder), str(port), str(linger_seconds)),
        ],
        folder=folder,
        answers=answers,
        environment={"PYTHONPATH": os.pathsep.join(sys.path)},
    )


async def test_stopped(house: House, tmp_path: Path) -> None:
    """Calls that were with a stopped instance are answered by the other, new ones go there at
    once, and when it goes on it gets its share again.
    """
    async with load(house, tmp_path) as one:
        at = one.send(0, signal.SIGSTOP)
        await one.until(lambda: one.remote.gauges.retries > 0)
        stopped = one.remote.endpoints[0]
        await one.until(lambda: stopped.at_work == 0)
        # Only those that were there in that moment waited for it.
        since = len(one.answered_by)
        await one.until(lambda: len(one.answered_by) > since + 500)
        assert stopped.at_work == 0
        assert one.remote.gauges.retries <= 2 * CALLERS
        assert one.pid(0) not in one.answered_by[at + 500 :]
        at = one.send(0, signal.SIGCONT)
        await one.until(lambda: one.pid(0) in one.answered_by[at:])
    assert one.remote.gauges.failures == 0


async def test_killed(house: House, tmp_path: Path) -> None:
    """The same of one that is killed, and of the one that is started in its place."""
    async with load(house, tmp_path) as one:
        at = one.send(0, signal.SIGKILL)
        await one.servers[0].wait()
        await one.until(lambda: len(one.answered_by) > at + 500)
        await one.servers[0].stop()
        await one.servers[0].start()
        at = len(one.answered_by)
        await one.until(lambda: one.pid(0) in one.answered_by[at:])
    assert one.remote.gauges.failures == 0
    assert one.remote.gauges.retries <= 3 * CALLERS


async def test_ended_in_order(house: House, tmp_path: Path) -> None:
    """One that is told to end says so with its answers: no call even has to be tried again."""
    # Longer than its callers are ever held up: they are to hear of it from its answers.
    async with load(house, tmp_path, linger_seconds=3.0) as one:
        await one.servers[0].stop()
        at = len(one.answered_by)
        await one.until(lambda: len(one.answered_by) > at + 200)
        retries = one.remote.gauges.retries
        await one.servers[0].start()
        at = len(one.answered_by)
        await one.until(lambda: one.pid(0) in one.answered_by[at:])
    assert one.remote.gauges.failures == 0
    assert retries == 0

"""Instances that drain, die, stop and come back while clients are asking."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from topology.conftest import Opening
from topology.house import Door, House, client, until
from topology.instance import DRAINING, NOT_READY, READY
from tradewind.split.programs import ProgramServer

pytestmark = pytest.mark.asyncio

LINGER_SECONDS = 5.0
"""What leaves in order goes on for longer than a process is ever held up. How soon the balancer
notices is a sum of its numbers: see `test_a_draining_instance_is_noticed_in_time`.
"""


@dataclass
class Load:
    """Clients that ask for the same again and again; what came of each request."""

    door: Door
    pause_seconds: float = 0.0
    answered: int = 0
    last_failed_start: float = 0.0
    failures: list[str] = field(default_factory=list[str])
    ending: bool = False

    async def ask_on(self, session: aiohttp.ClientSession) -> None:
        """One client: a POST without a key, which nobody may repeat, on a kept connection."""
        url = f"{self.door.url}/v1/orders?pause={self.pause_seconds}"
        while not self.ending:
            started = time.monotonic()
            try:
                async with session.post(url, data=b"x" * 100) as answer:
                    await answer.read()
                    told = str(answer.status)
            except (aiohttp.ClientError, OSError) as error:
                told = repr(error)
            if told == "200":
                self.answered += 1
            else:
                self.failures.append(told)
                self.last_failed_start = max(self.last_failed_start, started)


@asynccontextmanager
async def load(house: House, clients: int = 8, pause_seconds: float = 0.0) -> AsyncGenerator[Load]:
    """So many clients at work for as long as the block lasts."""
    one = Load(house.door, pause_seconds)
    async with client() as session:
        tasks = [asyncio.create_task(one.ask_on(session)) for _ in range(clients)]
        try:
            yield one
        finally:
            one.ending = True
            await asyncio.gather(*tasks)


async def open_orders(
    opened: Opening, folder: Path, **more: Any
) -> tuple[House, ProgramServer, ProgramServer]:
    """A house whose orders are two processes, both seen healthy."""
    socket = str(folder / "haproxy" / "control")
    house = await opened(("orders",), control_socket=socket, **more)
    await until(lambda: is_state(house, "UP", "UP"))
    first, second = house.outside["orders"]
    return house, first, second


async def is_state(house: House, *states: str) -> bool:
    """Whether the balancer thinks so of the two instances of orders."""
    return tuple(await house.told("orders")) == states


def kill(server: ProgramServer, number: signal.Signals) -> None:
    """Sends a signal."""
    assert server.pid is not None
    os.kill(server.pid, number)


async def who_answers(house: House, times: int = 20) -> set[str]:
    """Which instances of orders answer new clients."""
    found: set[str] = set()
    for _ in range(times):
        async with client() as session, session.get(f"{house.door.url}/v1/orders") as answer:
            found.add(str((await answer.json(content_type=None))["instance"]))
    return found


async def test_draining(opened: Opening, tmp_path: Path) -> None:
    """An instance that drains gets nothing new and finishes what it has."""
    house, first, _ = await open_orders(opened, tmp_path, linger_seconds=LINGER_SECONDS)

    async def are_at_both() -> bool:
        return all(int(many) > 0 for many in await house.told("orders", "stot"))

    async with client() as session:
        long = f"{house.door.url}/v1/orders?pause=1.2"
        requests = [asyncio.ensure_future(session.get(long)) for _ in range(4)]
        await until(are_at_both)
        kill(first, signal.SIGTERM)
        # It is seen draining, and so still there, before it is seen to be gone.
        noticed = await until(lambda: is_state(house, "NOLB", "UP"))
        assert await who_answers(house) == {"orders-2"}
        answers = [await (await one).json(content_type=None) for one in requests]
    assert {one["instance"] for one in answers} == {"orders-1", "orders-2"}
    print(f"draining was noticed after {noticed:.2f} s")


async def test_not_ready_and_ready_again(opened: Opening, tmp_path: Path) -> None:
    """An instance that says it is not ready gets nothing until it says that it is."""
    house = await opened(control_socket=str(tmp_path / "haproxy" / "control"))
    instance = house.inside["orders"][0]
    for health, state in ((NOT_READY, "DOWN"), (READY, "UP"), (DRAINING, "NOLB"), (READY, "UP")):
        instance.health = health

        async def is_so(expected: str = state) -> bool:
            return await house.told("orders") == [expected]

        await until(is_so)


async def test_rolling_restart(opened: Opening, tmp_path: Path) -> None:
    """Every instance restarted, one after the other, under load: no request fails."""
    house, first, second = await open_orders(opened, tmp_path, linger_seconds=LINGER_SECONDS)
    async with load(house) as told:
        for server in (first, second):
            await server.stop()
            await server.start()
            await until(lambda: is_state(house, "UP", "UP"))
    assert told.failures == []
    assert told.answered > 100
    print(f"{told.answered} requests over two restarts, none failed")


async def test_one_instance_killed(opened: Opening, tmp_path: Path) -> None:
    """Of a killed instance only what was in flight fails; nothing that was asked once the balancer
    had been at work since.
    """
    # With one thread, what answers at its socket has seen the ends of all connections before.
    house, first, _ = await open_orders(opened, tmp_path, threads=1)
    clients = 8
    async with load(house, clients, pause_seconds=0.02) as told:
        await until(lambda: at_least(told, 50))
        kill(first, signal.SIGKILL)
        await first.wait()
        await house.told("orders")
        seen = time.monotonic()
        noticed = await until(lambda: is_state(house, "DOWN", "UP"))
        before = told.answered
        await until(lambda: at_least(told, before + 100))
    # Once what was at work there, once what came while the kernel took the process down.
    assert len(told.failures) <= 2 * clients, told.failures
    assert told.last_failed_start < seen
    assert "503" not in told.failures, "a 503 promises that nothing was done"
    print(f"killed: noticed after {noticed:.2f} s, {len(told.failures)} in flight failed")


async def test_one_instance_stopped(opened: Opening, tmp_path: Path) -> None:
    """A stopped instance is out once it has not answered three looks, and what it held is told so
    at once.
    """
    # Three times as long as in earnest, so that the other one is not taken for stopped as well.
    house, first, _ = await open_orders(opened, tmp_path, check_within_milliseconds=1_500)
    async with load(house, pause_seconds=0.02) as told:
        await until(lambda: at_least(told, 50))
        kill(first, signal.SIGSTOP)
        post = b"POST /v1/orders HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"
        fresh = [asyncio.create_task(house.door.raw(post)) for _ in range(12)]
        noticed = await until(lambda: is_state(house, "DOWN", "UP"))
        seen, before = time.monotonic(), told.answered
        await until(lambda: at_least(told, before + 100))
        heads = {answer[:13] for answer in await asyncio.gather(*fresh)}
        await until(lambda: has_failed(told))
        assert told.last_failed_start < seen
        assert b"HTTP/1.1 503 " not in heads, "a 503 promises that nothing was done"
        assert told.failures, "whoever waited for it waits on"
        assert "503" not in told.failures, "a 503 promises that nothing was done"
        kill(first, signal.SIGCONT)
        await until(lambda: is_state(house, "UP", "UP"))
    assert await who_answers(house) == {"orders-1", "orders-2"}
    print(f"stopped: noticed after {noticed:.2f} s, failed with {set(told.failures)}, {heads}")


async def has_failed(told: Load) -> bool:
    """Whether anything has failed by now."""
    return bool(told.failures)


async def at_least(told: Load, count: int) -> bool:
    """Whether so many were answered by now."""
    return told.answered >= count

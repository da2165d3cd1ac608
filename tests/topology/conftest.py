"""A real HAProxy in front of small instances of every service, ended with the test."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest_asyncio

from shop import free_port
from topology.house import Door, House, instance_program, serving
from topology.instance import Instance
from tradewind.split.haproxy import balancer
from tradewind.split.programs import ProgramServer
from tradewind.topology import balancing
from tradewind.topology.services import SERVICES

Opening = Callable[..., Awaitable[House]]
CHECK_WITHIN_MILLISECONDS = 10_000
"""A process that is held up for a second or two is not down for that. How soon one that stopped is
noticed is a sum of the real numbers: see `test_a_stopped_instance_is_noticed_in_time`.
"""


@pytest_asyncio.fixture
async def opened(tmp_path: Path) -> AsyncGenerator[Opening]:
    """Opens houses; `processes` names services whose two instances are processes of their own,
    which after SIGTERM go on for `linger_seconds`.
    """
    async with AsyncExitStack() as stack:

        async def open_house(
            processes: tuple[str, ...] = (), *, linger_seconds: float = 0.0, **values: Any
        ) -> House:
            inside: dict[str, list[Instance]] = {}
            outside: dict[str, list[ProgramServer]] = {}
            places: dict[str, tuple[balancing.Instance, ...]] = {}
            for name in SERVICES:
                if name in processes:
                    outside[name], places[name] = await _processes(
                        stack, name, tmp_path, linger_seconds
                    )
                else:
                    one = Instance(name)
                    inside[name] = [one]
                    places[name] = (await stack.enter_async_context(serving(one)),)
            given: dict[str, Any] = {
                "instances": places,
                "check_within_milliseconds": CHECK_WITHIN_MILLISECONDS,
                **values,
            }
            told = balancing.Balancing(host="127.0.0.1", port=free_port(), **given)
            server = ProgramServer(balancer(told, tmp_path / "haproxy"))
            await server.start()
            stack.push_async_callback(server.stop)
            return House(Door(told), server, told, inside, outside)

        yield open_house


async def _processes(
    stack: AsyncExitStack, name: str, folder: Path, linger_seconds: float
) -> tuple[list[ProgramServer], tuple[balancing.Instance, ...]]:
    servers: list[ProgramServer] = []
    places: list[balancing.Instance] = []
    for number in (1, 2):
        place = balancing.Instance("127.0.0.1", free_port(), free_port())
        server = ProgramServer(instance_program(f"{name}-{number}", place, folder, linger_seconds))
        stack.push_async_callback(_end, server)
        servers.append(server)
        places.append(place)
    await asyncio.gather(*(server.start() for server in servers))
    return servers, tuple(places)


async def _end(server: ProgramServer) -> None:
    """At once: nobody is served any more."""
    if server.pid is not None:
        os.kill(server.pid, signal.SIGKILL)
        await server.wait()
    await server.stop()

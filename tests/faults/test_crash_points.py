"""The process ends at every place of a story, and the story still has its one right end.

A place is before and after every statement, every call of the payment provider and every delivery
of the bus (P3, P4, P6, P7, P16). Where a process ends after one thing and before the next, and
nothing was sent in between, is one state of the world and is entered once; with
TRADEWIND_EVERY_PLACE=1 it is entered twice. Nothing else is left out: each place is entered with a
restarted store that is asked at once with the same key, and with one that recovers first.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from faults.crash_scenarios import SCENARIOS
from orders.parts import fresh_owner
from tradewind.platform.database import Address

pytestmark = pytest.mark.asyncio

LANES = 3
TESTS = Path(__file__).resolve().parent.parent
ORDERS = ("retry", "recover")
Place = tuple[str, int]


class Lane:
    """A lane's process, spoken to."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._free = asyncio.Lock()

    @classmethod
    async def open(cls, owner: Address) -> "Lane":
        """On a database of its own, which need not survive a fall of PostgreSQL."""
        connection = await asyncpg.connect(**owner.arguments())
        await connection.execute(f"ALTER DATABASE {owner.database} SET synchronous_commit = off")
        await connection.close()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(TESTS / "faults" / "crash_lane.py"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)]),
            },
            limit=2**24,
        )
        lane = cls(process)
        assert await lane.ask(do="begin", owner=msgspec.to_builtins(owner)) == "ready"
        return lane

    async def ask(self, **command: Any) -> Any:
        """One command, one answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._free:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            line = await self._process.stdout.readline()
        assert line, "the lane has ended"
        answer: Any = json.loads(line)
        assert not isinstance(answer, dict), answer  # it says what failed
        return answer

    async def close(self) -> None:
        """Ends it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lanes(postgres: Address) -> AsyncGenerator[list[Lane]]:
    """Several, side by side."""
    owners = [await fresh_owner(postgres) for _ in range(LANES)]
    opened = await asyncio.gather(*(Lane.open(owner) for owner in owners))
    yield opened
    for lane in opened:
        await lane.close()


def distinct(places: Sequence[Place]) -> list[Place]:
    """One place for each state of the world: an end and the next beginning are the same one."""
    if os.environ.get("TRADEWIND_EVERY_PLACE"):
        return list(places)
    kept: list[Place] = []
    for place, following in zip(places, [*places[1:], None], strict=True):
        is_end = " after " in place[0].split("SELECT")[0]
        if is_end and following is not None and " before " in following[0].split("SELECT")[0]:
            continue
        kept.append(place)
    return kept


async def test_what_counts_as_one_place() -> None:
    """Only an end that is followed by a beginning is left to that beginning."""
    told = ["a before X", "a after X", "a before Y", "b before Z", "a after Y", "b after Z"]
    assert [one[0] for one in distinct([(one, 1) for one in told])] == [
        "a before X",
        "a before Y",
        "b before Z",
        "a after Y",
        "b after Z",
    ]


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_ended_at_every_place(lanes: list[Lane], scenario: str) -> None:
    """Same key, same answer; one order or none, one charge, one mail, stock right, all done."""
    places = distinct(await lanes[0].ask(do="places", scenario=scenario))
    runs = [(place, order) for place in places for order in ORDERS]
    wrong: list[str] = []

    async def work(lane: Lane) -> None:
        while runs:
            place, order = runs.pop()
            said = await lane.ask(do="crash", scenario=scenario, place=place, order=order)
            if said:
                wrong.append(f"{place} ({order}): {said}")

    await asyncio.gather(*(work(lane) for lane in lanes))
    print(f"{scenario}: {len(places)} places, each with {' and '.join(ORDERS)}")
    assert not wrong, "\n".join(wrong[:5])
    for lane in lanes:
        assert await lane.ask(do="broken") == []

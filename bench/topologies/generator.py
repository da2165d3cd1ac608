"""Load at a fixed rate; one rule: each request has its moment, and its latency counts from then.

Customers come when they come, whether or not the store keeps up: who waits for answers before it
sends the next request does not see the waiting (Tene, "How NOT to Measure Latency"). Moments are
of a Poisson process and the same for every world. It runs in a process of its own, takes a `Load`
from standard input, and prints an `Outcome`.
"""

import asyncio
import math
import sys
import time
from collections import Counter, deque
from random import Random

import msgspec
import uvloop

from bench.topologies.connections import Connection
from bench.topologies.work import Work

_CONNECTIONS_FIRST, _CONNECTIONS_MOST = 64, 1000
_LAST_ANSWER_SECONDS = 30.0
_LEAD_SECONDS = 0.1
_TICK_SECONDS = 0.001


class Load(msgspec.Struct, frozen=True):
    """What to send to a port of this machine, so many a second."""

    port: int
    work: Work
    rate: float
    seconds: float
    seed: int
    """Of the moments: the same for every world."""
    run: int
    """Of keys: another one for every run."""


class Outcome(msgspec.Struct, frozen=True):
    """What came of it; latencies in milliseconds from when a request was due."""

    requests: int
    failed: dict[str, int]
    p50_ms: float
    p99_ms: float
    max_ms: float
    late_p99_ms: float
    """How late requests were sent: this generator's own fault, contained in the latencies."""
    cpu_cores: float
    """What the generator itself used while it sent."""


class Generator:
    """Sends each request at its moment over whichever connection is free."""

    def __init__(self, load: Load) -> None:
        moments = arrivals(load.rate, load.seconds, load.seed)
        requests = load.work.requests(len(moments), load.run)
        self._plan = list(zip(moments, requests, strict=True))
        self._load = load
        self._free: list[Connection] = []
        self._connections = 0
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._latencies: list[float] = []
        self._late: list[float] = []
        self._statuses = Counter[str]()
        self._began = 0.0
        self._all_done = asyncio.Event()

    async def run(self) -> Outcome:
        """All of it, and the answers."""
        await asyncio.gather(*(self._open() for _ in range(_CONNECTIONS_FIRST)))
        cpu = time.process_time()
        self._began = time.perf_counter() + _LEAD_SECONDS
        for ticket, (moment, request) in enumerate(self._plan):
            while (left := self._began + moment - time.perf_counter()) > 0:
                # The loop's timers know whole milliseconds: late by up to one, never early.
                await asyncio.sleep(math.ceil(left / _TICK_SECONDS) * _TICK_SECONDS)
            self._late.append(-left)
            self._send(ticket, request)
        try:
            await asyncio.wait_for(self._all_done.wait(), _LAST_ANSWER_SECONDS)
        except TimeoutError:
            self._statuses["no answer"] += len(self._plan) - self._statuses.total()
        return self._outcome(time.process_time() - cpu)

    async def _open(self) -> None:
        self._connections += 1
        loop = asyncio.get_running_loop()
        try:
            _, one = await loop.create_connection(
                lambda: Connection(self._answered), "127.0.0.1", self._load.port
            )
        except OSError as error:
            self._connections -= 1
            if not self._waiting:
                raise
            self._note(self._waiting.popleft()[0], type(error).__name__)
            return
        self._is_free(one)

    def _send(self, ticket: int, request: bytes) -> None:
        while self._free:
            one = self._free.pop()
            if one.is_open:
                one.send(ticket, request)
                return
        self._waiting.append((ticket, request))
        if self._connections < _CONNECTIONS_MOST:
            opening = asyncio.create_task(self._open())
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    def _answered(self, one: Connection, status: int) -> None:
        good = status == self._load.work.expected
        self._note(one.ticket, "" if good else str(status or "connection broken"))
        if one.is_open:
            self._is_free(one)
        else:
            self._connections -= 1

    def _is_free(self, one: Connection) -> None:
        if self._waiting:
            one.send(*self._waiting.popleft())
        else:
            self._free.append(one)

    def _note(self, ticket: int, fault: str) -> None:
        self._statuses[fault] += 1
        self._latencies.append(time.perf_counter() - self._began - self._plan[ticket][0])
        if self._statuses.total() == len(self._plan):
            self._all_done.set()

    def _outcome(self, cpu_seconds: float) -> Outcome:
        took = time.perf_counter() - self._began
        return Outcome(
            requests=len(self._plan),
            failed={fault: count for fault, count in self._statuses.items() if fault},
            p50_ms=share_of(self._latencies, 0.5) * 1000,
            p99_ms=share_of(self._latencies, 0.99) * 1000,
            max_ms=max(self._latencies, default=0.0) * 1000,
            late_p99_ms=share_of(self._late, 0.99) * 1000,
            cpu_cores=cpu_seconds / took,
        )


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Moments of a Poisson process, in seconds from its beginning."""
    random, moment = Random(seed), 0.0
    moments: list[float] = []
    while (moment := moment + random.expovariate(rate)) < seconds:
        moments.append(moment)
    return moments


def share_of(values: list[float], share: float) -> float:
    """The value that this share of them does not exceed; 0 of none."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0


async def main() -> None:
    """One load."""
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    outcome = await Generator(load).run()
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    uvloop.run(main())

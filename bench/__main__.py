"""`make bench`: purchases, pages and sign-ins beside bare ASGI on the same server.

Runs are interleaved, so that what else the machine does falls on all of them; ratios are of the
medians. Fails only where requests failed or the store's books do not balance, never on time.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from argon2 import PasswordHasher
from rich.console import Console
from rich.table import Table

from bench.load import Measure, check_wrk, run
from bench.shop import SKUS, Shop, Started, free_port

BARE = "bare ASGI, one JSON answer"
_console = Console(soft_wrap=True)


def hash_seconds() -> float:
    """One password hash of the store's strength, the best of five."""
    hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)

    def once() -> float:
        started = time.perf_counter()
        hasher.hash("a long passphrase for the bench")
        return time.perf_counter() - started

    return min(once() for _ in range(5))


def loads(shop: Shop, bare_port: int, seconds: float) -> dict[str, Callable[[], Measure]]:
    """What is measured, by name, in the order of each round."""
    runs = itertools.count(time.time_ns() % 1_000_000_000)

    def buy(clients: int, kind: str) -> Measure:
        arguments = (str(SKUS), kind, str(next(runs)))
        return run(
            shop.port, seconds=seconds, clients=clients, script="purchase.lua", arguments=arguments
        )

    def sign_in() -> Measure:
        arguments = (shop.email, shop.password)
        return run(
            shop.port,
            "/v1/login",
            seconds=seconds,
            clients=16,
            script="login.lua",
            arguments=arguments,
        )

    return {
        BARE: lambda: run(bare_port, seconds=seconds),
        "product page": lambda: run(shop.port, "/v1/products/thing-7", seconds=seconds),
        "list of 20": lambda: run(shop.port, "/v1/products?limit=20", seconds=seconds),
        "sign-in, 16 clients": sign_in,
        "purchase, 64 clients": lambda: buy(64, "spread"),
        "purchase, 256 clients": lambda: buy(256, "spread"),
        "purchase of ONE SKU, 64 clients": lambda: buy(64, "hot"),
    }


def report(measured: dict[str, list[Measure]], hash_took: float) -> None:
    """The table: medians of all rounds, and ratios."""
    table = Table("work", "per second", "median ms", "p99 ms", "÷ bare ASGI", "failed")
    bare = statistics.median(one.per_second for one in measured[BARE])
    for name, rounds in measured.items():
        rate = statistics.median(one.per_second for one in rounds)
        table.add_row(
            name,
            f"{rate:,.0f}",
            f"{statistics.median(one.median_ms for one in rounds):.1f}",
            f"{statistics.median(one.p99_ms for one in rounds):.1f}",
            f"{rate / bare:.2f}",
            str(sum(one.failed for one in rounds)),
        )
    _console.print(table)
    rate = statistics.median(one.per_second for one in measured["sign-in, 16 clients"])
    most = (os.cpu_count() or 1) / hash_took
    _console.print(
        f"one hash {hash_took * 1000:.1f} ms; sign-in is {rate / most:.2f} of cores ÷ hash time",
        highlight=False,
    )


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each run")
    parser.add_argument("--short", action="store_true", help="to see that it runs")
    parser.add_argument("--only", default="", help="only names that contain this, and bare ASGI")
    options = parser.parse_args()
    rounds, seconds = (1, 1.0) if options.short else (options.rounds, options.seconds)
    check_wrk()
    hash_took = hash_seconds()
    bare_port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.bare", str(bare_port)]
        bare = Started(command, {}, Path(folder, "bare.log"))
        shop = Shop()
        try:
            measured = measure(loads(shop, bare_port, seconds), rounds, options.only)
            drained = wait_drained(shop)
        finally:
            shop.end()
            bare.end()
    if len(measured) > 1 and "sign-in, 16 clients" in measured:
        report(measured, hash_took)
    _console.print(f"drained {drained:.1f} s after the last purchase; all invariants hold")
    save(measured)
    if any(one.failed for many in measured.values() for one in many):
        sys.exit("requests failed: these figures are worthless")


def measure(
    work: dict[str, Callable[[], Measure]], rounds: int, only: str
) -> dict[str, list[Measure]]:
    """All of it, round by round, so that noise falls on everything."""
    chosen = {name: one for name, one in work.items() if only in name or name == BARE}
    measured: dict[str, list[Measure]] = {name: [] for name in chosen}
    for number in range(1, rounds + 1):
        for name, one in chosen.items():
            got = one()
            measured[name].append(got)
            _console.print(
                f"round {number}: {name}: {got.per_second:,.0f}/s, p99 {got.p99_ms:.1f} ms",
                highlight=False,
            )
    return measured


def wait_drained(shop: Shop) -> float:
    """Seconds until every event was told and the books balance; fails if they do not."""
    started = time.monotonic()
    shop.command("events", "drained")
    took = time.monotonic() - started
    shop.command("check")
    return took


def save(measured: dict[str, list[Measure]]) -> None:
    """The raw figures, for later."""
    folder = Path("results")
    folder.mkdir(exist_ok=True)
    raw = {
        "machine": f"{os.cpu_count()} cores, {platform.platform()}",
        "python": platform.python_version(),
        "measured": {name: [one._asdict() for one in many] for name, many in measured.items()},
    }
    (folder / "bench.json").write_text(json.dumps(raw, indent=1))


if __name__ == "__main__":
    main()

"""`python -m bench.real_year`: replays the year and judges it; exit 0 only if nothing differs."""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import uvloop

from bench.real_year.figures import Expected, totals
from bench.real_year.lines import read_lines
from bench.real_year.picture import draw
from bench.real_year.plan import Plan, make_short_plan
from bench.real_year.replay import Outcome, run
from bench.real_year.report import compare, line_of_speed, line_of_totals, report_of
from bench.real_year.store_process import StoreFailed, StoreProcess

ROOT = Path(__file__).resolve().parents[2]
SHOWN_MOST = 20


def main() -> int:
    """The exit code: 0 all equal, 1 something differs, 2 there is nothing to replay."""
    options = _options()
    path = Path(
        os.environ.get("TRADEWIND_REAL_YEAR") or ROOT / "../shared/data/online-retail.csv.xz"
    )
    if not path.is_file():
        complain(f"{path}: the retailer's file is not there; TRADEWIND_REAL_YEAR says where it is")
        return 2
    options.out.parent.mkdir(parents=True, exist_ok=True)
    counting = start_count(path, options.days)
    plan = make_short_plan(list(read_lines(path)), options.days)
    expected = msgspec.json.decode(counting.communicate()[0], type=Expected)
    tell(
        f"{expected.days} days, {expected.lines:,} lines, "
        f"{totals(expected.months).orders:,} orders to replay"
    )
    store = StoreProcess(options.tradewind, options.out.with_suffix(".log").resolve())
    began = time.monotonic()
    outcome, failures = None, list[str]()
    try:
        outcome = uvloop.run(run(plan, store, options.at_once, tell))
    except* StoreFailed as group:
        failures += messages_of(group)
    if outcome is None:
        complain("; ".join(failures))
        complain(f"the store's folder is left for a look: {store.home}")
        return 1
    return judge(plan, expected, outcome, store, options, time.monotonic() - began)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.real_year", description=__doc__)
    parser.add_argument("--days", type=_positive, help="only the first so many trading days")
    parser.add_argument("--out", type=Path, default=ROOT / "results/real-year.svg", metavar="SVG")
    parser.add_argument("--at-once", type=_positive, default=64, help="buyers at the same time")
    parser.add_argument("--keep", action="store_true", help="leave the store's folder")
    program = Path(sys.executable).with_name("tradewind")
    parser.add_argument("--tradewind", type=Path, default=program, help="the program to start")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def tell(text: str) -> None:
    """Progress, as it happens."""
    print(text, flush=True)


def complain(text: str) -> None:
    """One clear line about what is wrong."""
    print(f"real-year: {text}", file=sys.stderr)


def messages_of(group: BaseExceptionGroup[StoreFailed]) -> list[str]:
    """What went wrong, out of groups within groups."""
    messages: list[str] = []
    for one in group.exceptions:
        messages += messages_of(one) if isinstance(one, BaseExceptionGroup) else [str(one)]
    return messages


def start_count(path: Path, days: int | None) -> subprocess.Popen[bytes]:
    """The independent count, in a process of its own."""
    script = Path(__file__).with_name("expected.py")
    limit = [] if days is None else ["--days", str(days)]
    command = [sys.executable, str(script), str(path), *limit]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def judge(
    plan: Plan,
    expected: Expected,
    outcome: Outcome,
    store: StoreProcess,
    options: argparse.Namespace,
    seconds: float,
) -> int:
    """Compares, draws, tells; the exit code."""
    differences = compare(plan, expected, outcome)
    told = line_of_totals(outcome, expected, differences, seconds)
    name = f"A real shop's year, replayed: {len(plan.days)} trading days"
    picture = draw(name, line_of_speed(outcome), outcome.months, outcome.days)
    options.out.write_text(picture, encoding="utf-8")
    details = options.out.with_suffix(".json")
    report = {"totals": told, **report_of(plan, outcome), "differences": differences}
    details.write_text(json.dumps(report, indent=1), encoding="utf-8")
    for one in differences[:SHOWN_MOST]:
        complain(one)
    if len(differences) > SHOWN_MOST:
        complain(f"{len(differences) - SHOWN_MOST} more differences stand in {details}")
    tell(told)
    if options.keep or differences:
        tell(f"The store's folder is left for a look: {store.home}")
    else:
        store.remove()
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())

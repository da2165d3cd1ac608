"""The independent count: independent, and of one mind with the plan."""

import ast
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.real_year import expected
from bench.real_year.figures import Figures
from bench.real_year.lines import read_lines
from bench.real_year.plan import make_short_plan
from bench.real_year.report import off_list, skipped_lines
from real_year.rows import Row, figures_of, row, write_year

SCRIPT = Path(expected.__file__)
DIRTY_YEAR = [
    row("1", "85123A", 6, "2.55"),
    row("1", "85123a", 4, "2.95"),
    row("1", "POST", 1, "18.00"),
    row("2", "22423", 1, "10.95", customer=""),
    row("A3", "B", 1, "-11062.06", customer=""),
    row("4", "22423", -10, "0.0", customer="", title=""),
    row("5", "22423", 3, "0.0", customer=""),
    row("C6", "85123A", -4, "2.55", at="2011-01-04 10:00:00"),
    row("C6", "85123A", -70, "2.55", at="2011-01-04 10:00:00"),
    row("C7", "22423", -1, "10.95", at="2011-01-04 10:01:00", customer=""),
    row("8", "22423", 2, "9.95", at="2011-01-04 11:00:00"),
    row("C9", "22423", -2, "9.95", at="2011-01-04 11:05:00"),
]


def test_by_hand(tmp_path: Path) -> None:
    """Each rule once, worked out by hand."""
    counted = expected.count(str(write_year(tmp_path / "year.csv.xz", DIRTY_YEAR)))
    december, january = counted["months"]["2010-12"], counted["months"]["2011-01"]
    assert (counted["lines"], counted["days"], counted["customers"]) == (12, 2, 1)
    assert (december["orders"], december["units"]) == (2, 11)
    assert december["revenue_minor"] == 10 * 255 + 1095
    assert (january["refunds"], january["refunded_units"]) == (1, 4)
    assert january["refunded_minor"] == 4 * 255
    assert (january["cancelled_orders"], january["cancelled_minor"]) == (1, 2 * 995)
    assert counted["skipped"] == {
        "adjustment": 1,
        "cancelled_by_guest": 1,
        "cancelled_sale_not_found": 1,
        "not_goods": 1,
        "price_not_positive": 1,
        "quantity_not_positive": 1,
    }
    assert (counted["off_list"], counted["off_list_minor"]) == (1, 4 * 40)


def test_latest_with_enough_left(tmp_path: Path) -> None:
    """Money goes back at the price of the latest sale with enough left, then of the one before."""
    rows = [
        row("1", price="1.00", quantity=5, at="2010-12-01 10:00:00"),
        row("2", price="2.00", quantity=5, at="2010-12-02 10:00:00"),
        row("C3", quantity=-3, at="2010-12-03 10:00:00"),
        row("C4", quantity=-4, at="2010-12-04 10:00:00"),
        row("C5", quantity=-3, at="2010-12-05 10:00:00"),
    ]
    counted = expected.count(str(write_year(tmp_path / "year.csv.xz", rows)))
    december = counted["months"]["2010-12"]
    assert (december["refunds"], december["refunded_minor"]) == (2, 3 * 200 + 4 * 100)
    assert counted["skipped"] == {"cancelled_sale_not_found": 1}


def test_as_a_script(tmp_path: Path) -> None:
    """Run by itself it prints JSON, of the first days if asked."""
    path = write_year(tmp_path / "year.csv.xz", DIRTY_YEAR)
    command = [sys.executable, "-I", str(SCRIPT), str(path), "--days", "1"]
    told = subprocess.run(command, check=True, capture_output=True, cwd=tmp_path).stdout
    assert json.loads(told) == expected.count(str(path), 1)
    assert list(json.loads(told)["months"]) == ["2010-12"]


def test_no_code_in_common() -> None:
    """It imports nothing but the standard library, so nothing of the replay."""
    imported: set[str] = set()
    for node in ast.walk(ast.parse(SCRIPT.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or ".")
    assert imported == {"csv", "json", "lzma", "sys", "typing"}


def one_row(number: int, kind: str, code: str, quantity: int, price: str, minute: int) -> Row:
    """A line of a year in which few customers, codes, prices and days meet often."""
    return row(
        f"{kind}{number}",
        code,
        -quantity if kind == "C" else quantity,
        price,
        at=f"2011-0{1 + minute // 40}-0{1 + minute // 20} 10:{minute:02}:00",
        customer="" if number % 5 == 0 else f"{number % 2}.0",
    )


ROWS = st.lists(
    st.builds(
        one_row,
        st.integers(1, 12),
        st.sampled_from(["", "", "", "C", "C", "C", "A"]),
        st.sampled_from(["11111", "11111", "22222a", "22222A", "POST", "DCGS1"]),
        st.sampled_from([1, 1, 2, 3, 4, 0, -1]),
        st.sampled_from(["1.00", "1.00", "2.5", "2.5", "2.555", "0.0", "0.004"]),
        st.integers(0, 59),
    ),
    min_size=25,
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.integers(1, 4))
def test_two_readings_of_the_rules(rows: list[Row], days: int) -> None:
    """The plan and the count, written apart, agree on every figure of any year."""
    with tempfile.TemporaryDirectory() as folder:
        in_time = sorted(rows, key=lambda cells: cells["InvoiceDate"])
        path = write_year(Path(folder) / "year.csv.xz", in_time)
        plan = make_short_plan(list(read_lines(path)), days)
        counted = expected.count(str(path), days)
    theirs = {month: Figures(**figures) for month, figures in counted["months"].items()}
    assert figures_of(plan) == theirs
    assert skipped_lines(plan) == counted["skipped"]
    assert off_list(plan) == {"lines": counted["off_list"], "pence": counted["off_list_minor"]}

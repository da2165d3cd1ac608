"""How long things may be; one rule: what is too long today may only become shorter.

`ratchet.json` names what exceeds a limit today, with its size. It is made shorter by hand when
something shrinks; nothing is ever added to it.
"""

import json
import re
import statistics
from collections.abc import Mapping
from functools import cache

from architecture.tree import PACKAGE, ROOT, functions, lines_of, name_of, parse, python_files

FILE_LINES = 400
FUNCTION_LINES = 70
FUNCTION_LINES_MEDIAN = 10
COMPOSE_LINES = 250
LINE_LENGTH = 100
PRAGMA = re.compile(r"  # (?:noqa|pyright: ignore|type: ignore).*")
RATCHET = ROOT / "tests" / "architecture" / "ratchet.json"


@cache
def ratchet() -> Mapping[str, Mapping[str, int]]:
    """What is known to be too long: `files` and `functions`, by name."""
    known: dict[str, dict[str, int]] = {"files": {}, "functions": {}}
    if RATCHET.exists():
        known |= json.loads(RATCHET.read_text())
    return known


def judge(sizes: Mapping[str, int], limit: int, known: Mapping[str, int]) -> list[str]:
    """What is longer than it may be, and what the ratchet should no longer allow."""
    faults: list[str] = []
    for name, size in sizes.items():
        if size > known.get(name, limit):
            faults.append(f"{name} has {size} lines; at most {known.get(name, limit)}")
    for name, allowed in known.items():
        size = sizes.get(name, 0)
        if size < allowed:
            now = f"lower it to {size}" if size > limit else "take it out"
            faults.append(f"{name} is shorter now than ratchet.json says: {now}")
    return faults


def test_files() -> None:
    """No file is longer than 400 lines; a room that is becomes a package of the same name."""
    sizes = {name_of(path): len(path.read_text().splitlines()) for path in python_files()}
    assert judge(sizes, FILE_LINES, ratchet()["files"]) == []


def test_functions() -> None:
    """No function is longer than 70 lines."""
    sizes: dict[str, int] = {}
    for path in python_files():
        for one in functions(parse(path)):
            name = f"{name_of(path)}:{one.name}"
            sizes[name] = max(lines_of(one), sizes.get(name, 0))
    assert judge(sizes, FUNCTION_LINES, ratchet()["functions"]) == []


def test_functions_are_short_as_a_habit() -> None:
    """Half of all functions of the source have ten lines or fewer."""
    sizes = [lines_of(one) for path in python_files("src") for one in functions(parse(path))]
    assert statistics.median(sizes) <= FUNCTION_LINES_MEDIAN


def test_compose_is_two_screens() -> None:
    """The file that knows every service can be read at once."""
    assert len((PACKAGE / "compose.py").read_text().splitlines()) <= COMPOSE_LINES


def test_lines() -> None:
    """No line of Python or SQL is longer than 100 characters, reasons of exceptions apart."""
    faults = [
        f"{name_of(path)}:{number}"
        for path in [*python_files(), *sorted((ROOT / "src").rglob("*.sql"))]
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(PRAGMA.sub("", line)) > LINE_LENGTH
        and path.name != "schema.sql"  # written by PostgreSQL
    ]
    assert faults == []

"""The building of ARCHITECTURE.md, on disk; one rule: a line of code has one room it belongs in."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from architecture.tree import (
    NOT_KEPT,
    OWN_DATA,
    OWN_ROOMS,
    PACKAGE,
    ROOMS,
    ROOT,
    SERVICES,
    entries,
    functions,
    name_of,
    parse,
    python_files,
)

FACES = {"graphql", "storefront", "console"}
HOUSE = {
    "__init__.py",
    "__main__.py",
    "compose.py",
    "commands",
    "platform",
    "split",
    "topology",
    *SERVICES,
}
DOCUMENTS = {"ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "STYLE.md"}
TOP = {"Makefile", "docs", "pyproject.toml", "requirements", "src", "tests", "typings"}
LATER = {"LICENSE", "bench", "deploy"}
TESTS = {
    "conftest.py",
    "shop.py",
    "servers.py",
    "servers_here.py",
    "pairs.py",
    "paged.py",
    "pooler.py",
    "acceptance.py",
    "real_year",
    "platform",
    "contracts",
    "journeys",
    "topology",
    "faults",
    "architecture",
    *SERVICES,
}
RULE = re.compile(r"\brules?\b", re.IGNORECASE)
STORE_VERBS = re.compile(r"(insert|upsert|update|delete|find|get|list|count|lock|set)_")
OPENINGS = {"transaction", "statement", "claim"}
MAY_OPEN = {"actions", "providers"}


def beside_rooms(service: str) -> set[str]:
    """What stands in a service's folder besides its rooms."""
    return {"__init__.py", "migrations", "schema.sql", "invariants.sql", *OWN_DATA.get(service, ())}


@pytest.mark.parametrize("service", SERVICES)
def test_rooms(service: str) -> None:
    """A service has the rooms of the house, each once, and no others."""
    names = {one.name for one in entries(PACKAGE / service)}
    rooms = sorted(name.removesuffix(".py") for name in names - beside_rooms(service))
    house = {*ROOMS, *OWN_ROOMS.get(service, ())}
    assert len(rooms) == len(set(rooms)), "a room is a module or a package, not both"
    assert set(rooms) | {"client"} == house
    assert beside_rooms(service) <= names


def test_package() -> None:
    """The package holds the services, the faces, the platform, and what wires them."""
    names = {one.name for one in entries(PACKAGE)}
    assert HOUSE <= names <= HOUSE | FACES


def test_top() -> None:
    """Nothing stands at the top that the map does not know."""
    names = {one.name for one in entries(ROOT)} - NOT_KEPT
    assert DOCUMENTS | TOP <= names <= DOCUMENTS | TOP | LATER


def test_tests_mirror_the_source() -> None:
    """Tests stand by subject, as the source does."""
    assert {one.name for one in entries(ROOT / "tests")} <= TESTS


def test_every_module_says_what_it_is_for() -> None:
    """Every module begins with what it is for; every room of the source names its one rule."""
    faults: list[str] = []
    for path in python_files():
        told = ast.get_docstring(parse(path))
        needs_rule = path.name != "__init__.py" and PACKAGE in path.parents
        if not told or (needs_rule and not RULE.search(told)):
            faults.append(name_of(path))
    assert faults == []


def test_init_holds_a_docstring_only() -> None:
    """A package's `__init__.py` is its docstring; the root's names the version too."""
    faults: list[str] = []
    for path in python_files():
        if path.name == "__init__.py":
            rest = [ast.unparse(one) for one in parse(path).body[1:]]
            if path == PACKAGE / "__init__.py":
                rest = [one for one in rest if not one.startswith("__version__ = ")]
            faults += [f"{name_of(path)}: {one}" for one in rest]
    assert faults == []


def store_files() -> Iterator[Path]:
    """The modules of every store."""
    for service in SERVICES:
        yield from (PACKAGE / service).glob("store.py")
        yield from (PACKAGE / service / "store").glob("*.py")


def test_store_functions() -> None:
    """A statement is a function named by its verb, with its transaction as first argument."""
    faults: list[str] = []
    for path in store_files():
        for one in parse(path).body:
            if not isinstance(one, ast.AsyncFunctionDef) or one.name.startswith("_"):
                continue
            first = one.args.args[0].annotation if one.args.args else None
            in_transaction = first and ast.unparse(first) in {"Transaction", "Reading"}
            if not in_transaction or not STORE_VERBS.match(one.name):
                faults.append(f"{name_of(path)}: {one.name}")
    assert faults == []


def test_transactions_are_opened_in_actions() -> None:
    """A service opens transactions in its actions (and a provider in its own book) alone."""
    faults: list[str] = []
    for path in python_files(*(f"src/tradewind/{service}" for service in SERVICES)):
        room = path.relative_to(PACKAGE).parts[1].removesuffix(".py")
        for node in ast.walk(parse(path)) if room not in MAY_OPEN else ():
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr in OPENINGS:
                faults.append(f"{name_of(path)}:{called.lineno}")
    assert faults == []


def test_every_test_says_what_holds() -> None:
    """A test has a sentence that says what holds."""
    faults = [
        f"{name_of(path)}: {function.name}"
        for path in python_files("tests")
        for function in functions(parse(path))
        if function.name.startswith("test_")
        and not (ast.get_docstring(function) or "").endswith(".")
    ]
    assert faults == []

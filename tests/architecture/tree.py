"""The repository as the rules of the house see it; one rule: it is read, never imported."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "tradewind"
SERVICES = ("users", "products", "orders", "notifications")
ROOMS = ("service", "routes", "reactions", "client", "actions", "store", "model", "contract")
"""Outside-in, the same in every service. `client` is there once a service can be remote."""
OWN_ROOMS = {"orders": ("providers",)}
"""What one service alone has, with a page in docs/decisions/."""
OWN_DATA = {"users": ("passwords.txt",), "notifications": ("templates",)}
"""What else lies beside the rooms, and is no Python."""
NOT_KEPT = {"results", "tradewind.toml", "var"}
"""What a store, its owner, tests and measures leave at the top; it is not ours to keep."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(*folders: str) -> list[Path]:
    """Every Python file of ours below these folders (all of them, if none is named)."""
    found: list[Path] = []
    for folder in folders or ("src", "tests", "bench"):
        found += sorted((ROOT / folder).rglob("*.py"))
    return found


def parse(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(path.read_text(), str(path))


def name_of(path: Path) -> str:
    """The path as people write it, from the root."""
    return path.relative_to(ROOT).as_posix()


def functions(module: ast.AST) -> Iterator[Function]:
    """Every function and method, however deep."""
    for node in ast.walk(module):
        if isinstance(node, Function):
            yield node


def lines_of(function: Function) -> int:
    """How many lines a function has, its docstring counted and its decorators not."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def entries(folder: Path) -> list[Path]:
    """What stands in a folder, without what tools leave there."""
    return sorted(one for one in folder.iterdir() if not one.name.startswith(("__pycache__", ".")))


def kept_files() -> list[Path]:
    """Every file that is in the repository, or would be after `git add`."""
    found: list[Path] = []
    waiting = [one for one in entries(ROOT) if one.name not in NOT_KEPT]
    waiting += [one for one in (ROOT / ".ci", ROOT / ".gitignore") if one.exists()]
    while waiting:
        one = waiting.pop()
        if one.is_dir():
            waiting += entries(one)
        else:
            found.append(one)
    return sorted(found)

"""Words that do not stand in this house; one rule: a name says what a thing is, a mark says why."""

import ast
import re
from pathlib import Path

from architecture.tree import PACKAGE, kept_files, name_of, parse, python_files

# In two halves, so that this file may be searched too.
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|HA" + r"CK)\b")
SAYS_NOTHING = re.compile(
    r"(?:^|_)(?:utils?|helpers?|common|managers?|base|misc|shared|stuff|lib)(?:_|$)"
)
PROSE = {".md", ".py", ".pyi", ".sql", ".toml", ".yml", ".yaml", ".sh", ".html", ".txt", ""}
MARK = re.compile(
    r"#\s*(?:noqa(?::\s*[A-Z0-9, ]*[A-Z0-9])?|(?:pyright|type):\s*ignore(?:\[[^]]*\])?)"
)
MAY_READ_THE_ENVIRONMENT = {
    "src/tradewind/commands/healthy.py",  # where nothing of the store is imported, to be quick
    "src/tradewind/commands/place.py",  # where settings are loaded
    "src/tradewind/platform/processes.py",  # what a program that we start inherits
}


def text_files() -> list[Path]:
    """Every kept file that people read, locked requirements apart."""
    return [
        path for path in kept_files() if path.suffix in PROSE and path.parent.name != "requirements"
    ]


def test_nothing_is_unfinished() -> None:
    """What is left to do is an issue, not a mark in a file."""
    faults = [
        f"{name_of(path)}:{number}"
        for path in text_files()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert faults == []


def test_module_names() -> None:
    """No module or folder is named for nothing in particular."""
    faults = [
        name_of(path)
        for path in python_files()
        if any(SAYS_NOTHING.search(part) for part in Path(name_of(path)).with_suffix("").parts)
    ]
    assert faults == []


def test_no_settings_at_import() -> None:
    """Settings are made when a process starts and passed in, never when a module is imported."""
    faults: list[str] = []
    for path in python_files("src"):
        for node in at_import(parse(path)):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called.endswith("Settings") or called in {"load", "load_settings"}:
                faults.append(f"{name_of(path)}: {called}")
    assert faults == []


def at_import(module: ast.Module) -> list[ast.AST]:
    """Every node that is evaluated when the module is imported; default values are."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = [*module.body]
    while waiting:
        node = waiting.pop()
        found.append(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            defaults = [one for one in node.args.kw_defaults if one is not None]
            waiting += [*node.decorator_list, *node.args.defaults, *defaults]
        elif not isinstance(node, ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return found


def test_environment() -> None:
    """One place reads the environment; everybody else is told."""
    faults = [
        name_of(path)
        for path in python_files("src")
        if re.search(r"os\.environ|getenv", path.read_text())
        and name_of(path) not in MAY_READ_THE_ENVIRONMENT
    ]
    assert faults == []


def test_exceptions_have_reasons() -> None:
    """Whoever silences a check says why, on the same line."""
    faults: list[str] = []
    for path in python_files():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            mark = MARK.search(line)
            if mark and not re.search(r"\w{3}", MARK.sub("", line[mark.start() :])):
                faults.append(f"{name_of(path)}:{number}")
    assert faults == []


def test_status_numbers_stand_in_one_place() -> None:
    """Services raise errors of six kinds; HTTP's names for numbers are known to platform/web."""
    faults = [
        name_of(path)
        for path in python_files("src")
        if PACKAGE / "platform" / "web" not in path.parents
        and re.search(r"\bHTTPStatus\b|HTTP_\d{3}_", path.read_text())
    ]
    assert faults == []

"""The documents against the disk; one rule: what they name is there, and what is there is named."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from architecture.settings_page import PAGE, draw, field_sentences
from architecture.tree import NOT_KEPT, PACKAGE, ROOMS, ROOT, entries, name_of, parse
from tradewind.__main__ import app
from tradewind.commands.place import OTHERS
from tradewind.compose import SETTINGS
from tradewind.platform.config import PREFIX

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
PATH = re.compile(
    r"`((?:[\w.*-]+/)*[\w*-][\w.*-]*(?:/|\.(?:py|sql|md|toml|json|txt|yml)))(?::([\w.]+))?`"
)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)")
DECISION = re.compile(r"(\d{4})-[a-z0-9]+(-[a-z0-9]+)*\.md")
# What a store or a tool makes when it runs, and a form that a name is made after.
MADE_LATER = {"tradewind.toml", "var/", ".venv/", "results/"}
DECISION_LINES = 40


def architecture() -> str:
    """The map."""
    return (ROOT / "ARCHITECTURE.md").read_text()


def readme() -> str:
    """The first page."""
    return (ROOT / "README.md").read_text()


def found(path: str) -> list[Path]:
    """What a document means by a path: from the root, from the package, or in every service."""
    wanted = path.rstrip("/")
    return [*ROOT.glob(wanted), *PACKAGE.glob(wanted), *PACKAGE.glob(f"*/{wanted}")]


def defined(module: ast.Module) -> Iterator[str]:
    """Every name that a module defines, methods as `Class.method`."""
    for one in ast.walk(module):
        if isinstance(one, ast.ClassDef):
            yield from (
                f"{one.name}.{each.name}"
                for each in one.body
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            )
        if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield one.name
        elif isinstance(one, ast.Assign):
            yield from (ast.unparse(target) for target in one.targets)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_paths(document: Path) -> None:
    """Every path in a document exists, and so does what it names in that file."""
    text, faults = document.read_text(), list[str]()
    for path, name in PATH.findall(text):
        files = found(path)
        if not files and path not in MADE_LATER:
            faults.append(path)
        elif name and not any(name in defined(parse(one)) for one in files):
            faults.append(f"{path}:{name}")
    faults += [link for link in LINK.findall(text) if not (document.parent / link).exists()]
    assert faults == []


def test_every_folder_is_on_the_map() -> None:
    """ARCHITECTURE.md names every folder at the top and in the package, and every room."""
    folders = [one for one in entries(ROOT) if one.is_dir() and one.name not in NOT_KEPT]
    folders += [one for one in entries(PACKAGE) if one.is_dir()]
    folders += [one for one in entries(ROOT / "tests") if one.is_dir()]
    rooms = [*ROOMS, *(one.stem for one in entries(PACKAGE / "platform") if one.suffix != ".sql")]
    rooms += [one.stem for one in entries(PACKAGE / "commands")]
    text = architecture()
    missing = [one.name for one in folders if f"{one.name}/" not in text]
    missing += [
        one for one in rooms if one != "__init__" and not re.search(rf"`(?:\w+/)*{one}\b", text)
    ]
    assert missing == []


def test_make_targets() -> None:
    """README names every target of the Makefile, and no other."""
    phony = re.search(r"^\.PHONY:(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    code = "\n".join(CODE.findall(readme()))
    named = set(re.findall(r"\bmake ([a-z-]+)", code))
    assert named == set(phony[1].split()) - {"help"}


def test_commands() -> None:
    """README names every command of the command line, and no other."""
    real: set[str] = set()
    for name in app:
        inner = [one for one in app[name] if not one.startswith("-")]
        real |= {f"{name} {one}" for one in inner} or {name}
    real = {one for one in real if not one.startswith("-")}
    code = "\n".join(CODE.findall(readme()))
    named = set(re.findall(r"\btradewind ([a-z-]+(?: [a-z]+\b)?)", code))
    assert {one for one in named if one not in real and one.split()[0] not in real} == set()
    assert {one for one in real if not any(each.startswith(one) for each in named)} == set()


def test_settings_page() -> None:
    """docs/settings.md is what the settings structs say, and every field says something."""
    for struct in SETTINGS.values():
        silent = set(struct.__struct_fields__) - set(field_sentences(struct))
        assert silent == set(), struct.__name__
    assert PAGE.read_text() == draw(SETTINGS), "run settings_page"


def test_settings_in_documents() -> None:
    """Every setting that a document names exists."""
    known = set(OTHERS)
    for section, struct in SETTINGS.items():
        prefix = f"{PREFIX}{section.upper()}_" if section else PREFIX
        known |= {prefix + field.upper() for field in struct.__struct_fields__}
    for document in DOCUMENTS:
        named = set(re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]\b", document.read_text()))
        assert named <= known, name_of(document)


def test_decisions() -> None:
    """Decisions are numbered without a gap, say context and decision, and fit on a page."""
    pages = entries(ROOT / "docs" / "decisions")
    numbers = [int(found[1]) for one in pages if (found := DECISION.fullmatch(one.name))]
    assert numbers == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {page.name[:4]} "), page.name
        assert "\n## Context\n" in text, page.name
        assert "\n## Decision\n" in text, page.name
        assert len(text.splitlines()) <= DECISION_LINES, page.name

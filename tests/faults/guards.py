"""Takes the guards away, one at a time, and shows that a test notices each time.

    .venv/bin/python -m tests.faults.guards [WORD …]

With words, only the guards whose names have one of them. Each runs on a copy of the sources, so
the working tree is not touched. Two at a time; all of them take half an hour and more on two cores.
"""

import asyncio
import os
import re
import shutil
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = 2
PATIENCE_SECONDS = 900.0
COPIED = ("src", "tests", "pyproject.toml")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", re.MULTILINE)


class Guard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One guard of `guards.toml`: `piece` of `file` (under src/tradewind) becomes `instead`."""

    name: str
    promises: str
    file: str
    piece: str
    instead: str
    tests: tuple[str, ...]
    appended: str = ""


def read_guards() -> tuple[Guard, ...]:
    """All that stand in `guards.toml` beside this file."""
    text = (Path(__file__).parent / "guards.toml").read_text()
    return msgspec.convert(tomllib.loads(text)["guards"], tuple[Guard, ...])


def weakened(guard: Guard, sources: Path) -> None:
    """Takes the guard out of this copy of `src`."""
    path = sources / "tradewind" / guard.file
    text = path.read_text()
    if text.count(guard.piece) != 1:
        raise LookupError(f"{guard.name}: its piece stands {text.count(guard.piece)} times")
    text = text.replace(guard.piece, guard.instead)
    if guard.appended:
        text += "\n\n" + guard.appended
    path.write_text(text)


async def noticed(guard: Guard) -> tuple[list[str], str]:
    """The tests that failed without the guard, and what was said where it went another way."""
    with tempfile.TemporaryDirectory(prefix="tradewind-guard-") as folder:
        copy = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, copy / name, ignore=ignored)
            else:
                shutil.copy(source, copy / name)
        weakened(guard, copy / "src")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "--tb=line",
            "--show-capture=no",
            "-p",
            "no:cacheprovider",
            *guard.tests,
            cwd=copy,
            env={**os.environ, "PYTHONPATH": f"{copy / 'src'}{os.pathsep}{copy / 'tests'}"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                said, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            return [], "it took too long"
    text = said.decode()
    if process.returncode != 1:
        return [], f"exit code {process.returncode}: {text[-1500:]}"
    return _FAILED.findall(text), ""


async def main(words: list[str]) -> int:
    """Prints the table; 1 where a guard's removal went unnoticed."""
    chosen = [one for one in read_guards() if not words or any(word in one.name for word in words)]
    slots, console = asyncio.Semaphore(AT_ONCE), Console(width=160)
    started = time.monotonic()

    async def examine(guard: Guard) -> tuple[list[str], str]:
        async with slots:
            outcome = await noticed(guard)
            console.print(f"{'noticed  ' if outcome[0] else 'UNNOTICED'} {guard.name}")
            return outcome

    outcomes = await asyncio.gather(*(examine(one) for one in chosen))
    table = Table("promise", "guard taken away", "noticed by")
    for guard, (failed, said) in zip(chosen, outcomes, strict=True):
        found = escape(failed[0].replace("tests/", "")) if failed else ""
        shown = found or f"[red]nobody[/red] {escape(said)}"
        table.add_row(guard.promises, guard.name, shown)
    console.print(table)
    unnoticed = sum(not failed for failed, _ in outcomes)
    console.print(
        f"{len(chosen) - unnoticed} of {len(chosen)} noticed, in {time.monotonic() - started:.0f} s"
    )
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))

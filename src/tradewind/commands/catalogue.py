"""`tradewind import` and `demo`; one rule: every refused line is told, with its number and why."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tradewind.commands.place import opened_context
from tradewind.platform.config import ConfigError
from tradewind.products import service as products

_SHOWN_MOST = 50


def read_mapping(given: Sequence[str]) -> dict[str, str]:
    """`title=Description` (or several, by comma) as our column to theirs; raises ConfigError."""
    mapping: dict[str, str] = {}
    for pair in (part for one in given for part in one.split(",")):
        ours, equals, theirs = pair.partition("=")
        if not equals or not ours.strip() or not theirs.strip():
            raise ConfigError(
                [f"--map {pair}: write our column, =, their column: title=Description"]
            )
        mapping[ours.strip()] = theirs.strip()
    return mapping


async def import_file(
    settings: Mapping[str, Any], file: Path, mapping: Sequence[str], console: Console
) -> bool:
    """Imports a catalogue into a running store; False where lines were refused."""
    refused_path = file.with_name(file.name + ".refused.csv")
    options = products.ImportOptions(mapping=read_mapping(mapping), refused_path=refused_path)
    shown = 0
    async with opened_context(settings, "products") as context:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        ) as progress:
            task = progress.add_task(f"Importing {file.name}", total=None)

            def tell(told: products.Progress) -> None:
                nonlocal shown
                progress.update(task, completed=told.done, total=told.total or None)
                for one in told.refused[: max(0, _SHOWN_MOST - shown)]:
                    console.print(f"line {one.line}: {one.sku or '–'}: {one.why}", highlight=False)
                shown += len(told.refused)

            report = await products.import_file(context, file, options, tell)
    console.print(
        f"{report.lines} lines: {report.created} new, {report.updated} changed, "
        f"{report.unchanged} unchanged, {report.duplicates} repeated, {report.refused} refused; "
        f"{report.movements} counts changed.",
        highlight=False,
    )
    if report.refused:
        console.print(f"What was refused, and why: {refused_path}", highlight=False)
    return not report.refused


async def load_demo(settings: Mapping[str, Any], console: Console) -> None:
    """Loads the demo catalogue into a running store; again changes nothing."""
    async with opened_context(settings, "products") as context:
        count = await products.load_demo(context)
    console.print(f"{count} demo products are in the store.")

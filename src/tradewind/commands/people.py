"""`tradewind staff add` and `import-users`; one rule: a password is never an argument."""

import getpass
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import Progress

from tradewind.commands.place import opened_context
from tradewind.users import service as users

ImportUnreadable = users.ImportUnreadable
"""The file as a whole cannot be read; nothing was imported."""


def ask_password() -> str:
    """One line of standard input, or asked for at a terminal."""
    if sys.stdin.isatty():
        return getpass.getpass("Password: ")
    return sys.stdin.readline().rstrip("\r\n")


async def add_staff(
    settings: Mapping[str, Any],
    email: str,
    password: str,
    role: Literal["staff", "admin"],
    console: Console,
) -> None:
    """Adds a staff account to a running store."""
    async with opened_context(settings, "users") as context:
        await users.add_staff(context, email, password, role)
    console.print(f"{email} may sign in as {role}.", highlight=False)


async def import_users(settings: Mapping[str, Any], file: Path, console: Console) -> bool:
    """Imports the Express service's users; False where lines were refused."""
    async with opened_context(settings, "users") as context:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("Importing users", total=None)
            report = await users.import_users(
                context, file, lambda done: progress.update(task, completed=done)
            )
    for refused in report.refused:
        console.print(f"line {refused.line}: {refused.reason}", highlight=False)
    console.print(
        f"{report.added} users imported, {report.already_here} here already, "
        f"{len(report.refused)} refused."
    )
    return not report.refused

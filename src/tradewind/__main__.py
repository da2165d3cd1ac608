"""The command line; one rule: a failure is one clear line and a non-zero exit."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import uvloop
from cyclopts import App, CycloptsError, Parameter, validators
from rich.console import Console

from tradewind import __version__
from tradewind.commands import catalogue, check, events, healthy, keys, people, place, run, split
from tradewind.commands.doctor import diagnose
from tradewind.platform.config import ConfigError
from tradewind.platform.database import DatabaseDown
from tradewind.platform.embedded.errors import EmbeddedError
from tradewind.platform.errors import Invalid, StoreError
from tradewind.platform.migrate import MigrationError
from tradewind.platform.remote.identity import KeysUnusable
from tradewind.platform.telemetry import configure_logging
from tradewind.platform.web.serving import ListenFailed
from tradewind.split.installing import ServersMissing
from tradewind.split.programs import StartFailed

app = App(
    name="tradewind",
    version=__version__,
    help="A headless commerce backend. Settings come from TRADEWIND_… variables or tradewind.toml.",
)
staff_app = App(name="staff", help="Staff accounts.")
events_app = App(name="events", help="Events that could not be delivered.")
keys_app = App(name="keys", help="Keys by which services prove to each other who they are.")
app.command(staff_app)
app.command(events_app)
app.command(keys_app)

_EXPECTED = (
    ConfigError,
    DatabaseDown,
    EmbeddedError,
    KeysUnusable,
    ListenFailed,
    MigrationError,
    StoreError,
    OSError,
    people.ImportUnreadable,
    ServersMissing,
    StartFailed,
)
_CONSOLE = Console(soft_wrap=True)
_COMPLAINTS = Console(stderr=True, soft_wrap=True)

Command = Callable[[Mapping[str, Any]], Coroutine[Any, Any, Any]]


def _carry_out(command: Command) -> Any:
    """Runs a command with the settings."""
    with _expected():
        settings = place.load_settings()
        configure_logging(settings[""].log_level)
        return uvloop.run(command(settings))


@contextmanager
def _expected() -> Generator[None]:
    """An expected failure ends the process with one clear line."""
    try:
        yield
    except _EXPECTED as error:
        text = getattr(error, "detail", None) or str(error) or type(error).__name__
        if isinstance(error, Invalid) and error.errors:
            text = "; ".join(f"{one.field} {one.message}" for one in error.errors)
        _complain(text)
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)


def _say(line: str) -> None:
    _CONSOLE.print(line, markup=False, highlight=False)


def _complain(text: str) -> None:
    for line in text.splitlines():
        _COMPLAINTS.print(f"tradewind: {line}", markup=False, highlight=False)


@app.command(name="run")
def run_command(*services: Literal["users", "products", "orders", "notifications"]) -> None:
    """Run the whole store, on an embedded PostgreSQL if TRADEWIND_DATABASE_URL is not set.

    Parameters
    ----------
    services
        Only these, on a database that is migrated; the others run elsewhere.
    """
    if services:
        names = tuple(dict.fromkeys(services))
        _carry_out(lambda settings: run.run_services(settings, names, _CONSOLE))
    else:
        _carry_out(lambda settings: run.run_store(settings, _CONSOLE))


@app.command(name="split")
def split_command(
    *,
    instances: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    first_port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65000))] = 8100,
    certificate: Path | None = None,
) -> None:
    """Run four services behind a load balancer, with all the servers they need.

    Parameters
    ----------
    instances
        How many of a service, as `orders=3`; may be repeated. Two of each if not said.
    first_port
        Of the ports between the parts, one after the other; 0 for whichever are free.
    certificate
        A PEM file with private key and certificate: then clients come in by TLS.
    """
    _carry_out(
        lambda settings: split.run_split(
            settings, split.read_options(instances, first_port, certificate), _CONSOLE
        )
    )


@app.command
def migrate() -> None:
    """Bring the database's schemas up to date."""
    _carry_out(lambda settings: run.migrate_store(settings, _CONSOLE))


@app.command(name="check")
def check_command() -> None:
    """Recompute the promises on live data; exit 1 where one is broken, naming it."""
    if not _carry_out(lambda settings: check.check_store(settings, _CONSOLE)):
        sys.exit(1)


@app.command(name="import")
def import_command(
    file: Path,
    *,
    map: Annotated[tuple[str, ...], Parameter(negative="")] = (),  # noqa: A002  the flag's name
) -> None:
    """Import a catalogue from CSV or JSON Lines; the same file again doubles nothing.

    Parameters
    ----------
    file
        Columns: sku, title, description, price, currency, category, on_hand, status, product …
    map
        Foreign columns, as `title=Description`; may be repeated.
    """
    if not _carry_out(lambda settings: catalogue.import_file(settings, file, map, _CONSOLE)):
        sys.exit(1)


@app.command(name="import-users")
def import_users(file: Path) -> None:
    """Import the users table of the Express service (CSV or JSON Lines, bcrypt hashes)."""
    if not _carry_out(lambda settings: people.import_users(settings, file, _CONSOLE)):
        sys.exit(1)


@app.command
def demo() -> None:
    """Load the demo catalogue."""
    _carry_out(lambda settings: catalogue.load_demo(settings, _CONSOLE))


@staff_app.command(name="add")
def add_staff(email: str, *, role: Literal["staff", "admin"] = "staff") -> None:
    """Add a staff account; the password comes from standard input, or is asked for.

    Parameters
    ----------
    email
        With it the person signs in.
    role
        What the person may do.
    """
    password = people.ask_password()
    _carry_out(lambda settings: people.add_staff(settings, email, password, role, _CONSOLE))


@events_app.command
def parked() -> None:
    """Show the events that were parked after too many tries."""
    _carry_out(lambda settings: events.show_parked(settings, _CONSOLE))


@events_app.command
def replay(
    *,
    event: Annotated[tuple[UUID, ...], Parameter(negative="")] = (),
    service: Literal["users", "products", "orders", "notifications"] | None = None,
) -> None:
    """Try parked events again; what was done before is not done twice.

    Parameters
    ----------
    event
        Only this one; may be repeated. All if not given.
    service
        Only what this service could not take.
    """
    _carry_out(lambda settings: events.replay_parked(settings, _CONSOLE, event, service))


@events_app.command
def drop(
    *ids: UUID,
    all: Annotated[bool, Parameter(negative="")] = False,  # noqa: A002  the flag's name
    service: Literal["users", "products", "orders", "notifications"] | None = None,
) -> None:
    """Give parked events up for good. What they tell of is not done any more.

    Parameters
    ----------
    ids
        The events, as `tradewind events parked` shows them.
    all
        Every parked event.
    service
        Only what this service could not take.
    """
    if bool(ids) == all:
        _complain("name the events to drop, or --all")
        sys.exit(2)
    _carry_out(lambda settings: events.drop_parked(settings, _CONSOLE, ids, service))


@events_app.command
def drained() -> None:
    """Wait until every event was delivered."""
    _carry_out(lambda settings: events.wait_drained(settings, _CONSOLE))


@keys_app.command(name="make")
def make_keys(folder: Path) -> None:
    """Make a key for each service that has none, and the set of public keys."""
    with _expected():
        keys.make(folder, _say)


@keys_app.command
def rotate(
    folder: Path,
    *services: Literal["users", "products", "orders", "notifications"],
    wait: Annotated[float, Parameter(validator=validators.Number(gte=0, lte=3600))] = 5.0,
    forget_old: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Replace keys while the services run; no call fails.

    Parameters
    ----------
    folder
        Where `tradewind keys make` put them.
    services
        Whose; all if not given.
    wait
        Seconds until every process has seen a change of the folder, if it is copied to them.
    forget_old
        Refuse tokens of the old keys at the end, for one that somebody else may have.
    """
    with _expected():
        asyncio.run(keys.rotate(folder, services, wait, _say, forget=forget_old))


@app.command(name="healthy")
def healthy_command() -> None:
    """Exit 0 if the process of TRADEWIND_INTERNAL_HOST and _PORT is ready, else 1."""
    sys.exit(not healthy.is_healthy())


@app.command
def doctor() -> None:
    """Show what is configured, what answers, and what to install."""
    if not _carry_out(lambda settings: diagnose(settings, _CONSOLE)):
        sys.exit(1)


def main() -> None:
    """The entry point."""
    try:
        app(sys.argv[1:], print_error=False, exit_on_error=False)
    except CycloptsError as error:
        _complain(" ".join(str(error).split()))
        sys.exit(2)


if __name__ == "__main__":
    main()

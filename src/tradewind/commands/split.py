"""`tradewind split`: four services behind a load balancer, on one machine, without containers.

One rule: what dies is started again, and what was started is ended.
"""

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.table import Table

from tradewind.commands.place import DATABASE, home_of, running_database, secret_of
from tradewind.commands.run import check_production, stop_on_signals, welcome
from tradewind.compose import PACKAGES, ROUTES, open_store
from tradewind.platform.broker.link import open_link
from tradewind.platform.config import ConfigError, PlatformSettings
from tradewind.platform.embedded.home import Home
from tradewind.platform.embedded.replica import EmbeddedReplica
from tradewind.platform.embedded.server import EmbeddedPostgres
from tradewind.platform.migrate import migrate
from tradewind.platform.remote.keys import make_keys
from tradewind.platform.web.serving import check_free
from tradewind.split.haproxy import balancer
from tradewind.split.installing import NEEDED, ensure_installed, find_program
from tradewind.split.keeping import Keepers, Server
from tradewind.split.plan import Options, Plan, make_plan, public_url
from tradewind.split.programs import Program, ProgramServer
from tradewind.split.standing import Part, only_one, split_folder, tell_parts, tell_settings
from tradewind.topology.services import SERVICES

Say = Callable[[str], None]
_CONNECTIONS_BESIDE = 40
"""For commands, migrations and replication."""
_CONNECTIONS_OF_EACH = 6
"""Of an instance, besides its pool: for listening, and for asking for positions."""


async def run_split(settings: Mapping[str, Any], options: Options, console: Console) -> None:
    """Starts the whole topology, keeps it up, and ends it on SIGINT or SIGTERM."""
    platform: PlatformSettings = settings[""]
    check_production(settings)
    home = home_of(platform)
    secret = secret_of(platform, home)
    stop, started = stop_on_signals(), time.monotonic()

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False)

    await ensure_installed([NEEDED[name] for name in _ours(platform)], say)
    check_free(platform.host, platform.port)
    with only_one(home):
        plan = make_plan(settings, options, home, secret, _replica_url(platform, home))
        async with _kept_up(settings, plan, home, secret, say) as keepers:
            await _welcome(settings, home, secret, console)
            tell_settings(home, plan.reached_by)
            console.print(_table(_parts(plan, keepers)))
            console.print(f"Ready: {public_url(platform, options)}", highlight=False)
            say(f"after {time.monotonic() - started:.1f} s; Ctrl-C ends it")
            await stop.wait()
            say("Ending …")


def read_options(instances: Sequence[str], first_port: int, certificate: Path | None) -> Options:
    """The flags as options; raises ConfigError where one is not `service=number`."""
    many: dict[str, int] = {}
    for given in (part for one in instances for part in one.split(",")):
        name, _, number = given.partition("=")
        if not number.isdigit():
            raise ConfigError([f"--instances {given}: write orders=3"])
        many[name.strip()] = int(number)
    path = None if certificate is None else str(certificate.absolute())
    return Options(first_port=first_port, instances=many, certificate=path)


@asynccontextmanager
async def _kept_up(
    settings: Mapping[str, Any], plan: Plan, home: Path, secret: bytes, say: Say
) -> AsyncGenerator[Keepers]:
    """Everything of the plan, up; ended on leaving, in the opposite order."""
    platform: PlatformSettings = settings[""]
    keepers = Keepers(say, lambda: tell_parts(home, _parts(plan, keepers)))
    try:
        make_keys(Path(plan.keys), SERVICES)
        await keepers.start(_database(platform, plan, home, say), *map(_servers, plan.servers))
        await migrate(await running_database(platform, home), secret, PACKAGES)
        # Once, before anybody publishes: a queue that is new needs a moment before it is safe.
        declared = await open_link(plan.broker_url, "split", [*ROUTES.values()], confirms=False)
        await declared.close()
        replica: Sequence[tuple[str, Server]] = ()
        if platform.database_url is None:
            replica = [("PostgreSQL replica", EmbeddedReplica(home, log=say))]
        await keepers.start(replica, *(_servers([one]) for one in plan.services))
        await keepers.start(_servers([_balancer(plan, home)]))
        yield keepers
    finally:
        await keepers.stop()


def _balancer(plan: Plan, home: Path) -> Program:
    folder = split_folder(home) / "haproxy"
    return balancer(plan.balancing, folder, executable=find_program("balancer"))


def _servers(programs: Iterable[Program]) -> Sequence[tuple[str, Server]]:
    return [(program.name, ProgramServer(program)) for program in programs]


def _database(
    platform: PlatformSettings, plan: Plan, home: Path, say: Say
) -> Sequence[tuple[str, Server]]:
    if platform.database_url is not None:
        return ()
    each = platform.pool_size + _CONNECTIONS_OF_EACH
    most = len(plan.services) * each + _CONNECTIONS_BESIDE
    server = EmbeddedPostgres(home, log=say, settings={"max_connections": str(most)})
    return [("PostgreSQL primary", server)]


def _ours(platform: PlatformSettings) -> list[str]:
    """The servers that are not given by a URL, as `installing` names them."""
    needed = {"balancer"}
    if platform.broker_url is None:
        needed |= {"broker", "epmd"}
    if platform.sessions_url is None or platform.cache_url is None:
        needed.add("redis")
    return sorted(needed)


def _replica_url(platform: PlatformSettings, home: Path) -> str | None:
    if platform.replica_url is not None or platform.database_url is not None:
        return platform.replica_url
    socket = quote(str(Home.replica_at(home).socket), safe="")
    return f"postgresql://localhost/{DATABASE}?host={socket}&sslmode=disable"


async def _welcome(
    settings: Mapping[str, Any], home: Path, secret: bytes, console: Console
) -> None:
    owner = await running_database(settings[""], home)
    store = await open_store(settings, owner, secret, working=False)
    try:
        await welcome(store, console)
    finally:
        await store.close()


def _parts(plan: Plan, keepers: Keepers) -> dict[str, Part]:
    """What runs where, in the order in which it is told."""
    programs = {one.name: one.where for chain in plan.servers for one in chain}
    programs |= {one.name: one.where for one in plan.services}
    programs["haproxy"] = f"{plan.balancing.host}:{plan.balancing.port}"
    order = {name: place for place, name in enumerate(programs)}
    return {
        one.name: Part(programs.get(one.name, "a socket in the home"), one.server.pid, one.restarts)
        for one in sorted(keepers.all, key=lambda one: order.get(one.name, -1))
    }


def _table(parts: Mapping[str, Part]) -> Table:
    table = Table("what", "where", "process")
    for name, part in parts.items():
        table.add_row(name, part.where, str(part.pid))
    return table

"""What a split store consists of on one machine; one rule: made of settings, nothing is started.

Every server that the settings name is somebody else's and left out; every other one is ours, with
a folder below the home, ports of loopback, and a password made of the store's secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec

from tradewind.platform.config import PREFIX, ConfigError, PlatformSettings
from tradewind.platform.connections import without_user
from tradewind.platform.ids import derive
from tradewind.split.installing import find_program
from tradewind.split.ports import LOOPBACK, Ports
from tradewind.split.programs import Program
from tradewind.split.rabbitmq import BrokerPlace, rabbitmq
from tradewind.split.redis import CACHE_EVICTION, SESSIONS_EVICTION, Eviction, redis_program
from tradewind.split.services import service_program
from tradewind.topology.balancing import Balancing, Instance
from tradewind.topology.services import SERVICES

FIRST_PORT = 8100
LINGER_SECONDS = 2.0
"""How long an instance serves on after SIGTERM: longer than HAProxy takes to notice."""


KEPT_SECONDS = 3600
"""How long an instance keeps a connection of HAProxy's, which keeps it for a minute."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What can be chosen besides the settings."""

    first_port: int = FIRST_PORT
    """Of the ports between the parts, one after the other; 0: whichever are free."""
    instances: Mapping[str, int] = msgspec.field(default_factory=dict[str, int])
    """How many of each service, where not as the topology says."""
    certificate: str | None = None
    """A PEM file: then clients come in by TLS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Programs in the order of their start: servers, then services; the balancer comes last."""

    servers: tuple[tuple[Program, ...], ...]
    """Each inner tuple is started in order, the tuples beside each other."""
    services: tuple[Program, ...]
    balancing: Balancing
    reached_by: Mapping[str, str]
    """Settings by which a command in another terminal reaches the parts."""
    broker_url: str = field(repr=False)
    """Where events go."""
    keys: str
    """The folder of the keys by which services know each other."""
    environment: Mapping[str, str] = field(repr=False)
    """What every service process is told."""


def make_plan(
    settings: Mapping[str, Any], options: Options, home: Path, secret: bytes, replica: str | None
) -> Plan:
    """The whole topology. Raises ConfigError and ListenFailed; `replica` is the URL of ours."""
    platform: PlatformSettings = settings[""]
    # The balancer is started last: until then nobody sees that its port is taken.
    folder, ports = home / "split", Ports(options.first_port, promised=[platform.port])
    servers: list[tuple[Program, ...]] = []
    reached_by: dict[str, str] = {}
    evictions: dict[str, Eviction] = {"sessions": SESSIONS_EVICTION, "cache": CACHE_EVICTION}
    for name, eviction in evictions.items():
        url: str | None = getattr(platform, f"{name}_url")
        if url is None:
            port, password = ports.take(), _password(secret, f"redis {name}")
            url = f"redis://:{password}@{LOOPBACK}:{port}/0"
            place = folder / f"redis-{name}"
            servers.append(
                (
                    redis_program(
                        f"redis {name}",
                        place,
                        port,
                        password,
                        eviction=eviction,
                        executable=find_program("redis"),
                    ),
                )
            )
        reached_by[f"{name}_url"] = url
    broker_url = platform.broker_url
    if broker_url is None:
        broker = BrokerPlace(
            folder=folder / "rabbitmq",
            port=ports.take(),
            distribution_port=ports.take(),
            epmd_port=ports.take(),
            password=_password(secret, "broker"),
        )
        servers.append(rabbitmq(broker))
        broker_url = broker.url
    reached_by["broker_url"] = broker_url
    instances = _instances(options, ports)
    environment = (
        environment_of(settings)
        | _named(reached_by)
        | _placement(platform, home, instances, options)
        | _databases(platform, replica)
    )
    return Plan(
        servers=tuple(servers),
        services=tuple(
            service_program(name, number, one, environment, folder)
            for name, many in instances.items()
            for number, one in enumerate(many, 1)
        ),
        balancing=Balancing(
            host=platform.host,
            port=platform.port,
            instances=instances,
            certificate=options.certificate,
            control_socket="unix@control",
            threads=1,  # the machine is not its own: measured, a second one costs the others more
            figures=f"{LOOPBACK}:{ports.take()}",
        ),
        reached_by=_named(reached_by) | _internal_urls(environment),
        broker_url=broker_url,
        keys=environment[PREFIX + "SERVICE_KEYS"],
        environment=environment,
    )


def public_url(platform: PlatformSettings, options: Options) -> str:
    """Where clients come in."""
    scheme = "https" if options.certificate else "http"
    host = f"[{platform.host}]" if ":" in platform.host else platform.host
    return f"{scheme}://{host}:{platform.port}"


def _instances(options: Options, ports: Ports) -> dict[str, tuple[Instance, ...]]:
    unknown = sorted(set(options.instances) - set(SERVICES))
    if unknown or min(options.instances.values(), default=1) < 1:
        raise ConfigError(
            [f"--instances: write orders=3, one of {', '.join(SERVICES)}, and 1 or more"]
        )
    return {
        name: tuple(
            Instance(LOOPBACK, ports.take(), ports.take())
            for _ in range(options.instances.get(name, one.instances))
        )
        for name, one in SERVICES.items()
    }


def _databases(platform: PlatformSettings, replica: str | None) -> dict[str, str]:
    """Where they are; a service comes as itself, so it is not told whose they are."""
    urls = {
        "database_url": platform.database_url,
        "pooler_url": platform.pooler_url,
        "replica_url": replica,
    }
    return _named({name: without_user(url) for name, url in urls.items() if url is not None})


def _placement(
    platform: PlatformSettings,
    home: Path,
    instances: Mapping[str, tuple[Instance, ...]],
    options: Options,
) -> dict[str, str]:
    """The settings by which service processes find each other and the balancer."""
    outside = public_url(platform, options)
    told = {
        "home": str(home),
        "service_keys": platform.service_keys or str(home / "split" / "keys"),
        "trusted_proxies": ",".join({*platform.trusted_proxies, LOOPBACK}),
        "balancer_url": outside,
        "linger_seconds": str(platform.linger_seconds or LINGER_SECONDS),
        "header_seconds": str(KEPT_SECONDS),
    }
    if options.certificate and platform.public_url is None:
        told["public_url"] = outside
    for name, many in instances.items():
        told[f"{name}_url"] = ",".join(f"http://{one.host}:{one.internal_port}" for one in many)
    return _named(told)


def environment_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """The variables that make another process load the same settings."""
    told: dict[str, str] = {}
    for section, values in settings.items():
        prefix = f"{section}_" if section else ""
        for one in msgspec.structs.fields(values):
            value = getattr(values, one.name)
            if value != one.default and value is not None:
                told[prefix + one.name] = _text(value)
    return _named(told)


def _internal_urls(environment: Mapping[str, str]) -> dict[str, str]:
    """Where the internal listeners are, as service processes are told."""
    names = [f"{PREFIX}{name.upper()}_URL" for name in SERVICES]
    return {name: environment[name] for name in names}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, tuple):
        return ",".join(map(str, cast("tuple[object, ...]", value)))
    return str(value)


def _named(told: Mapping[str, str]) -> dict[str, str]:
    return {PREFIX + name.upper(): value for name, value in told.items()}


def _password(secret: bytes, what: str) -> str:
    return derive(secret, f"password {what}").hex()[:40]

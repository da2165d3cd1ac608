"""Settings; one rule: all faults are found and named at once, before anything starts.

Each service and the platform declare a small frozen struct. Values come from `TRADEWIND_…`
variables, else from a `tradewind.toml`, else from the struct's defaults. The platform's fields are
`TRADEWIND_<FIELD>` and top-level keys; a service's are `TRADEWIND_<SERVICE>_<FIELD>` and its table.
"""

import difflib
import ipaddress
import logging
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit

import msgspec

PREFIX = "TRADEWIND_"
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Rate = Annotated[float, msgspec.Meta(gt=0)]
SECRET_LENGTH_LEAST = 32
_ORIGIN = re.compile(r"https?://[^\s/?#@\\]+")


class ConfigError(Exception):
    """One line a fault; `str()` shows them all."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class PlatformSettings(msgspec.Struct, frozen=True):
    """What every process of the store needs to know."""

    home: str = "./var"
    """Where the store keeps its secret and, if it is embedded, its database."""
    host: str = "127.0.0.1"
    """The address that the public listener listens on."""
    port: Port = 8000
    """Its port."""
    database_url: str | None = None
    """A PostgreSQL (15 or newer) to use instead of the embedded one: `postgresql://…`. Its role
    makes the services' roles and schemas; single services use those, and need no user in it."""
    secret: str | None = None
    """At least 32 characters, the same for every process of one store. If it is not given, a random
    one is made and kept in the home."""
    environment: Literal["development", "production"] = "development"
    """`production` refuses the test payment provider and anything with a default secret."""
    public_url: str | None = None
    """Where customers reach the store: links in mails and the check of `Origin` go by it."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of shop front-ends, whose scripts may call with a bearer token (CORS)."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose `X-Forwarded-*` counts; loopback is not among them by default."""
    pool_size: Positive = 6
    """Connections a service holds at most."""
    pooler_url: str | None = None
    """A PgBouncer in transaction mode before the database: services connect there, with their own
    roles (`deploy/pgbouncer`). Migrations go to the database itself."""
    replica_url: str | None = None
    """A streaming replica of the database. Reads of catalogue and orders go there where it has
    caught up, with the services' own roles."""
    broker_url: str | None = None
    """A RabbitMQ (3.10 or newer) that carries events between services: `amqp://…`. Needed where
    the store runs in several processes."""
    sessions_url: str | None = None
    """A Redis that remembers for a moment whose session it is, for all instances: `redis://…`."""
    cache_url: str | None = None
    """A Redis for pages and for the limits of clients; another one than that of the sessions, so
    that a full cache pushes out no session."""
    internal_host: str = "127.0.0.1"
    """The address that other services and Prometheus reach this process on."""
    internal_port: Port | None = None
    """Its port; without one there is no internal listener. Needed to run single services."""
    service_keys: str | None = None
    """The folder with the keys by which services prove who they are (`tradewind keys make`)."""
    users_url: tuple[str, ...] = ()
    """Where the internal listeners of users are: `http://10.0.0.1:9000,http://10.0.0.2:9000`."""
    products_url: tuple[str, ...] = ()
    """The same for products."""
    orders_url: tuple[str, ...] = ()
    """The same for orders."""
    notifications_url: tuple[str, ...] = ()
    """The same for notifications."""
    balancer_url: str | None = None
    """Where clients come in, for links where no `public_url` is set; behind ours it is told."""
    header_seconds: Seconds = 10.0
    """How long request headers may take, and a kept connection be idle. Behind a load balancer that
    sees to that, longer than it keeps connections, so that no request meets one that just ends."""
    linger_seconds: Annotated[float, msgspec.Meta(ge=0, le=20)] = 0.0
    """How long to serve on after SIGTERM, so that the load balancer notices; 2 behind ours."""
    in_flight_most: Positive = 2000
    """Requests at work at once; more are answered 503 in no time."""
    client_requests_per_second: Rate | None = None
    """What one client address may ask on average (429 beyond it); without limit if not given."""
    client_burst: Positive = 100
    """How many requests one client may make at once before that counts."""
    log_level: str = "info"
    """debug, info, warning or error."""
    log_requests: bool = False
    """One line for every request, not only for the failed and the slow."""

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        if faults := list(_platform_faults(self)):
            raise ConfigError(faults)


def _platform_faults(settings: PlatformSettings) -> Iterator[str]:
    """What types cannot say; no secret is repeated."""
    if settings.log_level.upper() not in logging.getLevelNamesMapping():
        yield f"TRADEWIND_LOG_LEVEL: {settings.log_level!r}; use debug, info, warning or error"
    if settings.secret is not None and len(settings.secret) < SECRET_LENGTH_LEAST:
        yield f"TRADEWIND_SECRET: needs {SECRET_LENGTH_LEAST} characters or more"
    if settings.database_url is not None and not is_postgresql_url(settings.database_url):
        yield "TRADEWIND_DATABASE_URL: write postgresql://user:password@host:5432/database"
    yield from _part_faults(settings)
    if settings.public_url is not None and not _ORIGIN.fullmatch(settings.public_url.rstrip("/")):
        yield f"TRADEWIND_PUBLIC_URL: {settings.public_url!r}; write https://shop.example"
    for origin in settings.allowed_origins:
        if not _ORIGIN.fullmatch(origin):
            yield f"TRADEWIND_ALLOWED_ORIGINS: {origin!r}; write https://shop.example"
    for network in settings.trusted_proxies:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError as error:
            yield f"TRADEWIND_TRUSTED_PROXIES: {error}"


def _part_faults(settings: PlatformSettings) -> Iterator[str]:
    """The same for the other servers."""
    for name in ("pooler_url", "replica_url"):
        url = getattr(settings, name)
        if url is not None and not is_postgresql_url(url):
            yield f"TRADEWIND_{name.upper()}: write postgresql://host:5432/database"
    if settings.broker_url is not None and not _is_url(settings.broker_url, "amqp", "amqps"):
        yield "TRADEWIND_BROKER_URL: write amqp://user:password@host:5672/"
    for name in ("sessions_url", "cache_url"):
        url = getattr(settings, name)
        if url is not None and not _is_url(url, "redis", "rediss"):
            yield f"TRADEWIND_{name.upper()}: write redis://:password@host:6379/0"
    for name in ("users_url", "products_url", "orders_url", "notifications_url"):
        for url in getattr(settings, name):
            if not _ORIGIN.fullmatch(url.rstrip("/")):
                yield f"TRADEWIND_{name.upper()}: {url!r}; write http://10.0.0.1:9000"


def _is_url(url: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return parts.scheme in schemes and bool(parts.hostname) and port != 0


def is_postgresql_url(url: str) -> bool:
    """Whether it names a PostgreSQL, with a port that can be one."""
    return _is_url(url, "postgres", "postgresql")


def _toml(path: Path | None) -> dict[str, Any]:
    if path is None or not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not readable as TOML: {error}"]) from error


def load(
    structs: Mapping[str, type[msgspec.Struct]],
    environ: Mapping[str, str],
    toml_path: Path | None = None,
    extra_names: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """One instance of each struct, by section name (`""` is the platform).

    `extra_names` are variables that belong to others (tests, the Makefile). Raises ConfigError
    with every wrong, misspelt or unknown setting.
    """
    file, faults, made = _toml(toml_path), list[str](), dict[str, Any]()
    known: set[str] = set(extra_names)
    for section, struct in structs.items():
        values: dict[str, Any] = {}
        table = file if not section else file.get(section, {})
        prefix = PREFIX if not section else f"{PREFIX}{section.upper()}_"
        for field in msgspec.structs.fields(struct):
            name = prefix + field.name.upper()
            known.add(name)
            if name in environ:
                values[field.name], source = environ[name], name
            elif isinstance(table, dict) and field.name in table:
                values[field.name], source = table[field.name], f"{toml_path}: {field.name}"
            else:
                continue
            fault = _convert(values, field.name, field.type, source)
            if fault:
                faults.append(fault)
                del values[field.name]
        faults += _unknown_keys(table, struct, structs, section, toml_path)
        try:
            made[section] = struct(**values)
        except (ConfigError, TypeError, ValueError) as error:
            faults += _named(error, prefix, struct)
    for name in sorted(set(environ) - known):
        if name.startswith(PREFIX):
            near = difflib.get_close_matches(name, known, 1)
            faults.append(
                f"{name}: no such setting" + (f"; did you mean {near[0]}?" if near else "")
            )
    if faults:
        raise ConfigError(faults)
    return made


def _convert(values: dict[str, Any], name: str, kind: Any, source: str) -> str | None:
    given = values[name]
    if isinstance(given, str) and "tuple" in str(kind):
        given = [part.strip() for part in given.split(",") if part.strip()]
    if isinstance(given, str) and kind is bool:
        given = {"1": True, "0": False, "yes": True, "no": False}.get(given.lower(), given)
    try:
        values[name] = msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        return f"{source}: {error} (got {values[name]!r})"
    return None


def _named(error: Exception, prefix: str, struct: type[msgspec.Struct]) -> list[str]:
    """What a struct refused; a fault that begins with a field's name gets its variable's."""
    if isinstance(error, ConfigError):
        return error.faults
    field, _, rest = str(error).partition(" ")
    if field.rstrip(":") in {known.name for known in msgspec.structs.fields(struct)}:
        return [f"{prefix}{field.rstrip(':').upper()}: {rest}"]
    return [f"{prefix.rstrip('_')}: {error}"]


def _unknown_keys(
    table: Any,
    struct: type[msgspec.Struct],
    structs: Mapping[str, type[msgspec.Struct]],
    section: str,
    path: Path | None,
) -> list[str]:
    if not isinstance(table, dict):
        return [f"{path}: {section} must be a table"]
    names = {field.name for field in msgspec.structs.fields(struct)}
    if not section:
        names |= set(structs)
    return [
        f"{path}: {section + '.' if section else ''}{key}: no such setting"
        for key in cast("dict[str, Any]", table)
        if key not in names
    ]

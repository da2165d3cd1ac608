"""Where every service runs; one rule: this is the only file that knows them all.

Each that runs here is made by its `local()`, with a role and connections of its own, and meets the
others through contracts and the bus alone: called directly where they run here too, else over HTTP.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from litestar import Litestar
from litestar.di import Provide

from tradewind import __version__
from tradewind.notifications import service as notifications
from tradewind.notifications.contract import Notifications
from tradewind.orders import service as orders
from tradewind.orders.contract import Orders
from tradewind.platform.broker.link import Route
from tradewind.platform.cache import ResponseCache
from tradewind.platform.coalesce import noticed_coalescers
from tradewind.platform.config import PlatformSettings
from tradewind.platform.connections import address_of_url
from tradewind.platform.database import Address, Database, Probe
from tradewind.platform.idempotency import Replay
from tradewind.platform.lifecycle import Health, Worker
from tradewind.platform.metrics.process import Metrics
from tradewind.platform.migrate import address_of
from tradewind.platform.parts import Parts
from tradewind.platform.principals import Authenticator
from tradewind.platform.remote.server import InternalApplication
from tradewind.platform.service import Later, Running, given, start_workers, undone_router
from tradewind.platform.sessions import Sessions
from tradewind.platform.web import health as health_routes
from tradewind.platform.web.application import build_application
from tradewind.platform.web.front import Front
from tradewind.platform.web.keys import answer_replay, once
from tradewind.platform.web.settings import CachedPath, WebSettings, web_settings
from tradewind.platform.wire import through_codec
from tradewind.products import service as products
from tradewind.products.contract import Products
from tradewind.storefront import welcome
from tradewind.topology.services import PACKAGES, SERVICES, callers_of
from tradewind.users import service as users
from tradewind.users.contract import Users

__all__ = ["PACKAGES", "ROUTES", "SETTINGS", "Store", "open_databases", "open_store"]

Providers = Callable[[Database], Sequence[orders.PaymentProvider]]
SETTINGS: Mapping[str, type[Any]] = {
    "": PlatformSettings,
    "users": users.UsersSettings,
    "products": products.ProductsSettings,
    "orders": orders.OrdersSettings,
    "notifications": notifications.NotificationsSettings,
}
CONTRACTS: Mapping[str, tuple[type[Any], Callable[..., Any]]] = {
    "users": (Users, users.remote),
    "products": (Products, products.remote),
    "orders": (Orders, orders.remote),
    "notifications": (Notifications, notifications.remote),
}
CACHED_PATHS = tuple(CachedPath(path, names) for path, names in products.CACHED_PATHS)
PERSONAL_HEADERS = ("authorization", "cart-token", "order-token", "consistency-token")
"""Whoever wrote just now, or may see more than others, is not answered from the cache."""
ROUTES = {name: Route(one.queue, one.hears) for name, one in SERVICES.items()}
"""The queue of each service, and whose events it takes."""


@dataclass(frozen=True, slots=True)
class Store:
    """What runs in this process: services, the applications in front, and what works beside."""

    app: Front
    internal: InternalApplication
    services: Sequence[Running[Any]]
    databases: Mapping[str, Database]
    parts: Parts
    workers: Sequence[Worker]
    health: Health
    metrics: Metrics

    def context(self, service: str) -> Any:
        """What the actions of a service work with."""
        return next(one.context for one in self.services if one.name == service)

    async def close(self) -> None:
        """Ends the workers, then the connections; requests must be done by now."""
        self.health.draining = True
        for worker in self.workers:
            await worker.stop()
        await self.metrics.close()
        await self.parts.close()
        for database in self.databases.values():
            await database.close()


async def open_databases(
    settings: PlatformSettings,
    owner: Address,
    secret: bytes,
    names: Sequence[str] = tuple(PACKAGES),
    probe: Probe | None = None,
    replica: Address | None = None,
) -> dict[str, Database]:
    """A pool for each service, as its own role; raises DatabaseDown."""
    pooler = address_of_url(settings.pooler_url) if settings.pooler_url else None
    databases = {
        name: Database(
            address_of(pooler or owner, secret, name),
            most=settings.pool_size,
            probe=probe,
            replica=address_of(replica, secret, name)
            if replica is not None and SERVICES[name].reads_replica
            else None,
            replicated=replica is not None,
            pooled=pooler is not None,
        )
        for name in names
    }
    for database in databases.values():
        await database.open()
    return databases


class _Wiring:
    """Makes the services that run in this process; each gets the others by their contracts."""

    def __init__(self, settings: Mapping[str, Any], secret: bytes, parts: Parts) -> None:
        self.cache: ResponseCache | None = None
        self._settings = settings
        self._secret = secret
        self._parts = parts
        self._local: dict[str, Later] = {}
        self._makers: Mapping[str, Callable[[Database], Running[Any]]] = {
            "users": self._users,
            "products": self._products,
            "orders": self._orders,
            "notifications": self._notifications,
        }
        self.providers: Providers = self._only_test

    def make(self, databases: Mapping[str, Database], *, codec: bool) -> list[Running[Any]]:
        """All of them. With `codec` every call between them travels as bytes."""
        self._local = {name: Later() for name in databases}
        services = [self._makers[name](database) for name, database in databases.items()]
        for one in services:
            contract, _ = CONTRACTS[one.name]
            called = through_codec(contract, one.contract) if codec else one.contract
            self._local[one.name].target = called
        return services

    def way(self, caller: str, callee: str) -> Any:
        """A contract as one of our services calls it, wherever the other one runs."""
        contract, remote = CONTRACTS[callee]
        here = self._local.get(callee)
        return here or remote(self._parts.remote(caller, callee, contract))

    def _users(self, database: Database) -> Running[Users]:
        revoker = self._parts.revoker
        return users.local(
            database,
            self._settings["users"],
            self._settings[""],
            self._secret,
            orders=self.way("users", "orders"),
            notifications=self.way("users", "notifications"),
            tell=None if revoker is None else revoker.forget,
        )

    def _products(self, database: Database) -> Running[Products]:
        self.cache = self._parts.response_cache()
        asked = self.way("products", "orders")
        return products.local(database, self._settings["products"], asked, self.cache)

    def _orders(self, database: Database) -> Running[Orders]:
        settings, asked = self._settings["orders"], self.way("orders", "products")
        return orders.local(database, settings, asked, self.providers(database), self._secret)

    def _notifications(self, database: Database) -> Running[Notifications]:
        settings = self._settings["notifications"]
        return notifications.local(database, settings, self._settings[""], self._secret)

    def _only_test(self, database: Database) -> Sequence[orders.PaymentProvider]:
        return [orders.make_test_provider(database, self._settings["orders"], self._secret)]


async def open_store(  # noqa: PLR0913  what tests and commands change, by name
    settings: Mapping[str, Any],
    owner: Address,
    secret: bytes,
    *,
    here: Sequence[str] = tuple(PACKAGES),
    replica: Address | None = None,
    working: bool = True,
    codec: bool = False,
    probe: Probe | None = None,
    providers: Providers | None = None,
) -> Store:
    """The services named by `here` in this process, on a migrated database, their workers running.

    Without `working` they only act when called (the command line). With `codec` every call between
    services travels as bytes (tests). `probe` is told of every statement (crash tests), `providers`
    replaces the payment providers. Raises ConfigError where a setting needed for calls is missing.
    """
    platform: PlatformSettings = settings[""]
    with noticed_coalescers() as coalescers:
        databases = await open_databases(platform, owner, secret, here, probe, replica)
        health, parts = Health(), Parts(platform, secret, databases[here[0]].clock, ROUTES)
        wiring = _Wiring(settings, secret, parts)
        wiring.providers = providers or wiring.providers
        services = wiring.make(databases, codec=codec)
        web = web_settings(platform, CACHED_PATHS if "products" in here else (), PERSONAL_HEADERS)
        front = Front(
            _application(services, web, health, parts.authenticator(wiring.way(here[0], "users"))),
            web,
            cache=wiring.cache,
            wide_limit=parts.wide_limit(),
            # All are one server's: a position of any covers what was written here.
            position=None if replica is None else databases[here[0]].token,
        )
    paths = {name: one.serves for name, one in SERVICES.items()}
    metrics = Metrics(__version__, health, front, databases, parts, paths, coalescers)
    contracts = {name: contract for name, (contract, _) in CONTRACTS.items()}
    internal = parts.internal(services, contracts, callers_of, health, metrics.page)
    workers = await start_workers(services, parts.events) if working else []
    metrics.watch(workers)
    return Store(front, internal, services, databases, parts, workers, health, metrics)


def _application(
    services: Sequence[Running[Any]], web: WebSettings, health: Health, authenticator: Authenticator
) -> Litestar:
    """The routes that run here; what it tells of itself is the whole store, wherever it runs."""
    pages = [*health_routes.HANDLERS, *welcome.HANDLERS]
    everything = [
        undone_router(one.HANDLERS, one.DEPENDENCIES)
        for one in (users, products, orders, notifications)
    ]
    return build_application(
        [*[one.router for one in services], *pages],
        settings=web,
        title="Tradewind",
        version=__version__,
        sessions=Sessions(authenticator, web),
        tags={name.capitalize(): one.about for name, one in SERVICES.items()},
        dependencies={"once": Provide(once), "health": given(health)},
        exception_handlers={Replay: answer_replay},
        documented=[*everything, *pages],
    )

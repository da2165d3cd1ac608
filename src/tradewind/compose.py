"""Where every service runs; one rule: this is the only file that knows them all.

Those that run here are made by their `local()`, get their own role and connections, and meet the
others through their contracts and the bus alone: called directly where those run here too, over
HTTP where they do not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from litestar import Router
from litestar.di import Provide

from tradewind import __version__
from tradewind.notifications import service as notifications
from tradewind.notifications.contract import Notifications
from tradewind.orders import service as orders
from tradewind.orders.contract import Orders
from tradewind.platform.broker.link import Route
from tradewind.platform.config import PlatformSettings
from tradewind.platform.database import Address, Database, Probe
from tradewind.platform.idempotency import Replay
from tradewind.platform.lifecycle import Health, Worker
from tradewind.platform.migrate import address_of
from tradewind.platform.outbox import CHANNEL as OUTBOX_CHANNEL
from tradewind.platform.outbox import relay
from tradewind.platform.parts import Parts
from tradewind.platform.remote.server import Exposed, InternalApplication
from tradewind.platform.service import Later, Running, given
from tradewind.platform.sessions import Sessions
from tradewind.platform.web import health as health_routes
from tradewind.platform.web.application import build_application
from tradewind.platform.web.front import Front
from tradewind.platform.web.keys import answer_replay, once
from tradewind.platform.web.settings import CachedPath, WebSettings
from tradewind.platform.wire import through_codec
from tradewind.products import service as products
from tradewind.products.contract import Products
from tradewind.storefront import welcome
from tradewind.topology.services import PACKAGES, SERVICES, callers_of
from tradewind.users import service as users
from tradewind.users.contract import Users

__all__ = ["PACKAGES", "SETTINGS", "Store", "open_databases", "open_store"]

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

    def context(self, service: str) -> Any:
        """What the actions of a service work with."""
        return next(one.context for one in self.services if one.name == service)

    async def close(self) -> None:
        """Ends the workers, then the connections; requests must be done by now."""
        self.health.draining = True
        for worker in self.workers:
            await worker.stop()
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
    databases = {
        name: Database(
            address_of(owner, secret, name),
            most=settings.pool_size,
            probe=probe,
            replica=address_of(replica, secret, name)
            if replica is not None and SERVICES[name].reads_replica
            else None,
            replicated=replica is not None,
            pooled=settings.database_pooled,
        )
        for name in names
    }
    for database in databases.values():
        await database.open()
    return databases


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
    services travels as bytes (tests). `probe` is told of every statement (crash tests),
    `providers` replaces the payment providers. Raises ConfigError where settings that are needed
    to reach the other services are missing.
    """
    platform: PlatformSettings = settings[""]
    databases = await open_databases(platform, owner, secret, here, probe, replica)
    clock = databases[here[0]].clock
    health, web = Health(), _web_settings(platform, here)
    parts = Parts(platform, secret, clock, ROUTES)
    cache = parts.response_cache() if "products" in here else None
    local = {name: Later() for name in here}

    def wired(caller: str, callee: str) -> Any:
        contract, remote = CONTRACTS[callee]
        return local.get(callee) or remote(parts.remote(caller, callee, contract))

    def only_test(database: Database) -> Sequence[orders.PaymentProvider]:
        return [orders.make_test_provider(database, settings["orders"], secret)]

    def make_users(database: Database) -> Running[Users]:
        return users.local(
            database,
            settings["users"],
            platform,
            secret,
            orders=wired("users", "orders"),
            notifications=wired("users", "notifications"),
            tell=parts.revoker.forget if parts.revoker is not None else None,
        )

    def make_products(database: Database) -> Running[Products]:
        return products.local(database, settings["products"], wired("products", "orders"), cache)

    def make_orders(database: Database) -> Running[Orders]:
        payment = (providers or only_test)(database)
        asked = wired("orders", "products")
        return orders.local(database, settings["orders"], asked, payment, secret)

    def make_notifications(database: Database) -> Running[Notifications]:
        return notifications.local(database, settings["notifications"], platform, secret)

    make: Mapping[str, Callable[[Database], Running[Any]]] = {
        "users": make_users,
        "products": make_products,
        "orders": make_orders,
        "notifications": make_notifications,
    }
    services = [make[name](databases[name]) for name in here]
    for one in services:
        contract, _ = CONTRACTS[one.name]
        local[one.name].target = through_codec(contract, one.contract) if codec else one.contract
    sessions = Sessions(parts.authenticator(wired(here[0], "users")), web)
    application = build_application(
        [*[one.router for one in services], *health_routes.HANDLERS, *welcome.HANDLERS],
        settings=web,
        title="Tradewind",
        version=__version__,
        sessions=sessions,
        tags={name.capitalize(): one.about for name, one in SERVICES.items()},
        dependencies={"once": Provide(once), "health": given(health)},
        exception_handlers={Replay: answer_replay},
        documented=None if set(here) == set(PACKAGES) else _all_routes(),
    )
    front = Front(
        application,
        web,
        cache=cache,
        wide_limit=parts.wide_limit(),
        position=lambda: _position(databases),
    )
    internal = _internal(services, parts, health, keyed=platform.service_keys is not None)
    workers = await _start_workers(services, parts) if working else []
    return Store(front, internal, services, databases, parts, workers, health)


def _internal(
    services: Sequence[Running[Any]], parts: Parts, health: Health, *, keyed: bool
) -> InternalApplication:
    """What others may call; nobody may where there are no keys to know them by."""
    called = services if keyed else ()
    return InternalApplication(
        [
            Exposed(one.name, CONTRACTS[one.name][0], one.contract, callers_of(one.name))
            for one in called
        ],
        {one.name: parts.verifier(one.name) for one in called},
        health,
        _no_metrics,
    )


async def _no_metrics() -> tuple[bytes, str]:
    return b"", "text/plain"


def _all_routes() -> list[Any]:
    """Every route of the store, to be documented where some of them are served elsewhere."""
    routers = [
        Router(
            path="/",
            route_handlers=one.HANDLERS,
            dependencies={name: given(None) for name in one.DEPENDENCIES},
        )
        for one in (users, products, orders, notifications)
    ]
    return [*routers, *health_routes.HANDLERS, *welcome.HANDLERS]


async def _start_workers(services: Sequence[Running[Any]], parts: Parts) -> list[Worker]:
    events = parts.events({one.name: one.inbox for one in services})
    workers: list[Worker] = [*events.workers]
    for service in services:
        one = relay(service.name, service.database, events.buses[service.name])
        service.outbox.wake = one.wake
        channels = {OUTBOX_CHANNEL: partial(_wake, one), **service.channels}
        for channel, callback in channels.items():
            await service.database.listen(channel, callback)
        workers += [one, service.inbox.retries(), service.inbox.forgetting(), *service.workers]
        workers.append(_listening(service))
    for worker in workers:
        worker.start()
    return workers


def _wake(worker: Worker, _payload: str) -> None:
    worker.wake()


def _listening(service: Running[Any]) -> Worker:
    async def step() -> bool:
        await service.database.keep_listening()
        return False

    return Worker(f"listen {service.name}", step, every_seconds=5.0)


def _position(databases: Mapping[str, Database]) -> int:
    return max(database.position for database in databases.values())


def _web_settings(platform: PlatformSettings, here: Sequence[str]) -> WebSettings:
    cached = products.CACHED_PATHS if "products" in here else ()
    own = (platform.public_url.rstrip("/"),) if platform.public_url else ()
    return WebSettings(
        https=bool(own and own[0].startswith("https://")),
        origins=own,
        cross_origins=platform.allowed_origins,
        trusted_proxies=platform.trusted_proxies,
        max_in_flight=platform.in_flight_most,
        client_requests_per_second=platform.client_requests_per_second,
        client_burst=platform.client_burst,
        log_requests=platform.log_requests,
        # Whoever wrote just now, or may see more than others, is not answered from the cache.
        personal_headers=("authorization", "cart-token", "order-token", "consistency-token"),
        personal_cookies=("session", "__Host-session", "consistency"),
        cached_paths=tuple(CachedPath(path, names) for path, names in cached),
    )

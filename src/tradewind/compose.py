"""Where every service runs; one rule: this is the only file that knows them all.

Today all four run here: each is made by its `local()`, gets its own role and connections, and
meets the others only through their contracts and the bus.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from litestar.di import Provide

from tradewind import __version__
from tradewind.notifications import service as notifications
from tradewind.notifications.contract import Notifications
from tradewind.orders import service as orders
from tradewind.orders.contract import Orders
from tradewind.platform.bus import LocalBus
from tradewind.platform.cache import ResponseCache
from tradewind.platform.config import PlatformSettings
from tradewind.platform.database import Address, Database, Probe
from tradewind.platform.idempotency import Replay
from tradewind.platform.lifecycle import Health, Worker
from tradewind.platform.migrate import address_of
from tradewind.platform.outbox import CHANNEL as OUTBOX_CHANNEL
from tradewind.platform.outbox import relay
from tradewind.platform.service import Running, given
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
from tradewind.users import service as users
from tradewind.users.contract import Users

Contract = TypeVar("Contract")

PACKAGES = {
    "users": "tradewind.users",
    "products": "tradewind.products",
    "orders": "tradewind.orders",
    "notifications": "tradewind.notifications",
}
TAGS = {
    "users": "Accounts, sign-in, sessions, addresses.",
    "products": "Catalogue, search, stock.",
    "orders": "Carts, checkout, payments, orders.",
    "notifications": "Inbox, mail, preferences.",
}
SETTINGS: Mapping[str, type[Any]] = {
    "": PlatformSettings,
    "users": users.UsersSettings,
    "products": products.ProductsSettings,
    "orders": orders.OrdersSettings,
    "notifications": notifications.NotificationsSettings,
}


@dataclass(frozen=True, slots=True)
class Store:
    """A store that runs: its services, the application in front of them, and what works beside."""

    app: Front
    services: Sequence[Running[Any]]
    databases: Mapping[str, Database]
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
        for database in self.databases.values():
            await database.close()


async def open_databases(
    settings: PlatformSettings, owner: Address, secret: bytes, probe: Probe | None = None
) -> dict[str, Database]:
    """A pool for each service, as its own role; raises DatabaseDown."""
    databases = {
        name: Database(address_of(owner, secret, name), most=settings.pool_size, probe=probe)
        for name in PACKAGES
    }
    for database in databases.values():
        await database.open()
    return databases


async def open_store(
    settings: Mapping[str, Any],
    owner: Address,
    secret: bytes,
    *,
    working: bool = True,
    codec: bool = False,
    probe: Probe | None = None,
    providers: Callable[[Database], Sequence[orders.PaymentProvider]] | None = None,
) -> Store:
    """The whole store in this process, on a migrated database, its workers running.

    Without `working` it only acts when called (the command line). With `codec` every call between
    services travels as bytes (tests). `probe` is told of every statement (crash tests),
    `providers` replaces the payment providers.
    """
    platform: PlatformSettings = settings[""]
    databases = await open_databases(platform, owner, secret, probe)
    cache = ResponseCache()
    health, web = Health(), _web_settings(platform)

    def only_test(database: Database) -> Sequence[orders.PaymentProvider]:
        return [orders.make_test_provider(database, settings["orders"], secret)]

    wired = through_codec if codec else _directly
    product = products.local(databases["products"], settings["products"], cache)
    notification = notifications.local(
        databases["notifications"], settings["notifications"], platform, secret
    )
    order = orders.local(
        databases["orders"],
        settings["orders"],
        wired(Products, product.contract),
        (providers or only_test)(databases["orders"]),
        secret,
    )
    user = users.local(
        databases["users"],
        settings["users"],
        platform,
        secret,
        wired(Orders, order.contract),
        wired(Notifications, notification.contract),
    )
    services: list[Running[Any]] = [user, product, order, notification]
    sessions = Sessions(wired(Users, user.contract), web)
    application = build_application(
        [*[service.router for service in services], *health_routes.HANDLERS, *welcome.HANDLERS],
        settings=web,
        title="Tradewind",
        version=__version__,
        sessions=sessions,
        tags={name.capitalize(): TAGS[name] for name in PACKAGES},
        dependencies={"once": Provide(once), "health": given(health)},
        exception_handlers={Replay: answer_replay},
    )
    front = Front(application, web, cache=cache, position=lambda: _position(databases))
    workers = await _start_workers(services) if working else []
    return Store(front, services, databases, workers, health)


async def _start_workers(services: Sequence[Running[Any]]) -> list[Worker]:
    bus = LocalBus()
    workers: list[Worker] = []
    for service in services:
        bus.subscribe(service.inbox)
    for service in services:
        one = relay(service.name, service.database, bus)
        service.outbox.wake = one.wake
        channels = {OUTBOX_CHANNEL: partial(_wake, one), **service.channels}
        for channel, callback in channels.items():
            await service.database.listen(channel, callback)
        workers += [one, service.inbox.retries(), service.inbox.forgetting(), *service.workers]
        workers.append(_listening(service))
    for worker in workers:
        worker.start()
    return workers


def _directly(_contract: type[Contract], implementation: Contract) -> Contract:
    return implementation


def _wake(worker: Worker, _payload: str) -> None:
    worker.wake()


def _listening(service: Running[Any]) -> Worker:
    async def step() -> bool:
        await service.database.keep_listening()
        return False

    return Worker(f"listen {service.name}", step, every_seconds=5.0)


def _position(databases: Mapping[str, Database]) -> int:
    return max(database.position for database in databases.values())


def _web_settings(platform: PlatformSettings) -> WebSettings:
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
        cached_paths=tuple(CachedPath(path, names) for path, names in products.CACHED_PATHS),
    )

"""Which services there are, what they serve, and who needs whom; one rule: it is said here, once.

HAProxy's configuration, `compose.yaml` and the diagram in ARCHITECTURE.md are generated from this
module, queues and bindings are declared from it, and calls between services are allowed by it. A
test holds it equal to the routes and reactions in the source.
"""

from collections.abc import Mapping

import msgspec


class Service(msgspec.Struct, frozen=True):
    """One service: a process of any number of instances, with a schema and a role of its own."""

    name: str
    package: str
    about: str
    serves: tuple[str, ...]
    """Public paths; each stands for itself and all below it."""
    streams: tuple[str, ...] = ()
    """Of these paths, those whose answers go on for as long as the client listens."""
    calls: frozenset[str] = frozenset()
    """Services whose contract it calls."""
    hears: frozenset[str] = frozenset()
    """Services whose events its queue takes."""
    reads_replica: bool = False
    """Whether reads of its own may be answered by the replica."""
    instances: int = 2
    """How many run unless told otherwise."""

    @property
    def schema(self) -> str:
        """Its schema in the store's database."""
        return self.name

    @property
    def role(self) -> str:
        """The database role that may use that schema, and no other."""
        return f"tradewind_{self.name}"

    @property
    def queue(self) -> str:
        """Its queue at the broker."""
        return f"tradewind.{self.name}"


SERVICES: Mapping[str, Service] = {
    one.name: one
    for one in (
        Service(
            name="users",
            package="tradewind.users",
            about="Accounts, sign-in, sessions, addresses.",
            serves=(
                "/register",
                "/login",
                "/v1/register",
                "/v1/login",
                "/v1/logout",
                "/v1/sessions",
                "/v1/me",
                "/v1/password-resets",
                "/v1/email-verifications",
                "/v1/users",
            ),
            calls=frozenset({"orders", "notifications"}),
        ),
        Service(
            name="products",
            package="tradewind.products",
            about="Catalogue, search, stock.",
            serves=("/v1/products", "/v1/categories", "/v1/inventory", "/v1/pictures"),
            calls=frozenset({"users", "orders"}),
            hears=frozenset({"orders", "products"}),
            reads_replica=True,
        ),
        Service(
            name="orders",
            package="tradewind.orders",
            about="Carts, checkout, payments, orders.",
            serves=("/v1/carts", "/v1/checkout", "/v1/orders", "/v1/payments"),
            calls=frozenset({"users", "products"}),
            hears=frozenset({"users", "products"}),
            reads_replica=True,
        ),
        Service(
            name="notifications",
            package="tradewind.notifications",
            about="Inbox, mail, preferences.",
            serves=("/v1/notifications", "/v1/notification-preferences", "/v1/messages"),
            streams=("/v1/notifications/stream",),
            calls=frozenset({"users"}),
            hears=frozenset({"users", "orders"}),
        ),
    )
}
PACKAGES: Mapping[str, str] = {name: one.package for name, one in SERVICES.items()}
ELSEWHERE = "products"
"""Who serves what is no service's own: the front page, the documents, and every 404."""


def callers_of(service: str) -> frozenset[str]:
    """The services that may call this one's contract."""
    return frozenset(name for name, one in SERVICES.items() if service in one.calls)


def hearers_of(service: str) -> tuple[str, ...]:
    """The services whose queue takes this one's events, in order of their names."""
    return tuple(sorted(name for name, one in SERVICES.items() if service in one.hears))

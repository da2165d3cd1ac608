"""How products plugs in; one rule: only `compose` comes here."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from litestar import Router

from tradewind.orders.contract import Orders
from tradewind.platform.cache import ResponseCache
from tradewind.platform.coalesce import Coalescer
from tradewind.platform.database import Database
from tradewind.platform.inbox import Inbox
from tradewind.platform.lifecycle import Worker
from tradewind.platform.outbox import Outbox
from tradewind.platform.remote.client import Remote
from tradewind.platform.service import Running, given
from tradewind.products.actions import stock
from tradewind.products.actions.context import CHANNEL, ProductsContext, ProductsSettings
from tradewind.products.actions.demo import load_demo, load_demo_into_empty
from tradewind.products.actions.imports import (
    ImportOptions,
    ImportReport,
    Progress,
    import_file,
)
from tradewind.products.client import RemoteProducts
from tradewind.products.contract import (
    NoPrice,
    NotSold,
    Products,
    Quote,
    QuotedLine,
    Refusal,
    Reserve,
    Reserved,
)
from tradewind.products.reactions import REACTIONS
from tradewind.products.routes import categories, inventory, pictures, products

__all__ = [
    "CACHED_PATHS",
    "DEPENDENCIES",
    "HANDLERS",
    "ImportOptions",
    "ImportReport",
    "ProductsContext",
    "ProductsSettings",
    "Progress",
    "import_file",
    "load_demo",
    "load_demo_into_empty",
    "local",
    "remote",
]

HANDLERS = (
    *products.HANDLERS,
    *categories.HANDLERS,
    *pictures.HANDLERS,
    inventory.get_level,
    inventory.adjust_stock,
    inventory.list_movements,
)
"""Every route of the service."""
DEPENDENCIES = ("products",)
"""What its routes are given by name."""

CACHED_PATHS = (
    ("/v1/products", products.LIST_PARAMETERS),
    ("/v1/categories", categories.LIST_PARAMETERS),
)
"""Public answers that may be kept, with the query parameters that tell them apart."""


class LocalProducts:
    """The contract by plain calls; calls that come together become one."""

    def __init__(self, context: ProductsContext) -> None:
        self._context = context
        self._reserves: Coalescer[Reserve, Reserved | Refusal] = Coalescer(
            "reservations", partial(stock.reserve_stock, context)
        )
        self._quotes: Coalescer[Quote, tuple[QuotedLine, ...] | NotSold | NoPrice] = Coalescer(
            "quotes", partial(stock.quote_lines, context), most=2048
        )

    async def reserve(self, requests: Sequence[Reserve]) -> list[Reserved | Refusal]:
        """As the contract says."""
        return await self._reserves.submit_all(requests)

    async def extend(self, reservation_ids: Sequence[UUID]) -> list[bool]:
        """As the contract says."""
        return await stock.extend_reservations(self._context, reservation_ids)

    async def release(self, reservation_ids: Sequence[UUID]) -> None:
        """As the contract says."""
        await stock.release_reservations(self._context, reservation_ids)

    async def quote(
        self, requests: Sequence[Quote]
    ) -> list[tuple[QuotedLine, ...] | NotSold | NoPrice]:
        """As the contract says."""
        return await self._quotes.submit_all(requests)


def remote(link: Remote) -> Products:
    """The service in another process."""
    return RemoteProducts(link)


def local(
    database: Database, settings: ProductsSettings, orders: Orders, cache: ResponseCache | None
) -> Running[Products]:
    """The service in this process; `cache` keeps public answers that it shall drop on a change."""
    context = ProductsContext(database, Outbox(), settings, orders, cache)
    router = Router(path="/", route_handlers=HANDLERS, dependencies={"products": given(context)})
    reactions = {
        kind: [partial(reaction, context) for reaction in many] for kind, many in REACTIONS.items()
    }
    workers = (
        Worker("expiry", partial(stock.expire_reservations, context), every_seconds=2.0),
        Worker("products forget", partial(stock.forget_old, context), every_seconds=300.0),
    )
    return Running(
        name="products",
        contract=LocalProducts(context),
        context=context,
        router=router,
        database=database,
        outbox=context.outbox,
        inbox=Inbox("products", database, reactions),
        workers=workers,
        channels={CHANNEL: context.hear},
    )

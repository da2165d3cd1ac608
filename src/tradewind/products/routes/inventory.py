"""Stock over HTTP, for staff; one rule: what is shown comes from the record, never from a cache."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from tradewind.platform.idempotency import Once
from tradewind.platform.sessions import staff
from tradewind.platform.web.bodies import FieldFault
from tradewind.platform.web.pages import (
    DEFAULT_LIMIT,
    Cursor,
    Limit,
    Page,
    read_cursor,
    write_cursor,
)
from tradewind.products.actions import inventory
from tradewind.products.actions.context import ProductsContext
from tradewind.products.actions.inventory import LevelView, MovementView

TAGS = ["Products"]


class AdjustmentBody(msgspec.Struct, frozen=True):
    """A change of what is on hand."""

    delta: Annotated[int, Meta(ge=-(10**9), le=10**9)]
    reason: Literal["received", "sold_elsewhere", "damaged", "counted", "returned"]

    def __post_init__(self) -> None:
        """A change of nothing is none, and only some reasons can take away."""
        if self.delta == 0:
            raise FieldFault("delta", "must not be 0")
        if self.reason in ("received", "returned") and self.delta < 0:
            raise FieldFault("delta", f"must be more than 0 where goods are {self.reason}")
        if self.reason in ("sold_elsewhere", "damaged") and self.delta > 0:
            raise FieldFault("delta", f"must be less than 0 where goods are {self.reason}")


@get("/v1/inventory/{sku:str}", guards=[staff], tags=TAGS)
async def get_level(sku: FromPath[str], products: NamedDependency[ProductsContext]) -> LevelView:
    """How much there is of a SKU."""
    return await inventory.show_level(products, sku)


@post("/v1/inventory/{sku:str}/adjustments", guards=[staff], tags=TAGS)
async def adjust_stock(
    sku: FromPath[str],
    data: JSONBody[AdjustmentBody],
    products: NamedDependency[ProductsContext],
    once: NamedDependency[Once],
) -> LevelView:
    """Change what is on hand, never below what is reserved."""
    return await inventory.adjust_stock(products, sku, data.delta, data.reason, once)


@get("/v1/inventory/{sku:str}/movements", guards=[staff], tags=TAGS)
async def list_movements(
    sku: FromPath[str],
    products: NamedDependency[ProductsContext],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[MovementView]:
    """The ledger of a SKU, newest first; all deltas add up to what is on hand."""
    before = read_cursor(cursor, UUID)
    found = await inventory.list_movements(products, sku, before, limit + 1)
    more = len(found) > limit
    return Page(found[:limit], write_cursor(found[limit - 1].id) if more else None)

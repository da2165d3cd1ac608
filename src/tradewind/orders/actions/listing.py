"""Lists of orders; one rule: pages by keyset, newest first, never by offset."""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from tradewind.orders.actions.context import OrdersContext
from tradewind.orders.actions.views import OrderView, read_views
from tradewind.orders.contract import OrderNotFound
from tradewind.orders.store import orders as store
from tradewind.orders.store import payments as payment_store
from tradewind.platform.database import Reading
from tradewind.platform.errors import FieldError, Invalid
from tradewind.platform.money import Money
from tradewind.platform.web.pages import Page, read_cursor, write_cursor

AnyStatus = Literal[
    "placed",
    "cancelled",
    "pending",
    "authorized",
    "paid",
    "partially_refunded",
    "refunded",
    "failed",
    "unfulfilled",
    "partially_fulfilled",
    "fulfilled",
    "delivered",
    "returned",
]
"""A value on any of the three axes; no value stands on two of them."""


async def list_own(
    context: OrdersContext, user_id: UUID, status: AnyStatus | None, limit: int, cursor: str | None
) -> Page[OrderView]:
    """A customer's orders."""
    before = read_cursor(cursor, UUID)

    async def find(reading: Reading) -> Page[OrderView]:
        ids = await store.list_ids_of_user(reading, user_id, status, before, limit + 1)
        return await _page(reading, ids, limit)

    return await context.database.read(find)


async def list_all(
    context: OrdersContext,
    status: AnyStatus | None,
    wanted: str | None,
    limit: int,
    cursor: str | None,
) -> Page[OrderView]:
    """Everybody's, for staff; `wanted` is an order number or an e-mail address."""
    before = read_cursor(cursor, UUID)
    wanted = (wanted or "").strip() or None
    if wanted is not None and "\0" in wanted:
        raise Invalid("The query is not text.", errors=[FieldError("q", "This is not text.")])

    async def find(reading: Reading) -> Page[OrderView]:
        ids = await store.list_ids(reading, status, wanted, before, limit + 1)
        return await _page(reading, ids, limit)

    return await context.database.read(find)


async def _page(reading: Reading, ids: list[UUID], limit: int) -> Page[OrderView]:
    views = await read_views(reading, ids[:limit])
    return Page(views, write_cursor(ids[limit - 1]) if len(ids) > limit else None)


async def list_standing(context: OrdersContext, reservation_ids: Sequence[UUID]) -> list[bool]:
    """Whether an order was placed on each reservation."""
    async with context.database.reading() as reading:
        placed = await store.list_reserved(reading, reservation_ids)
    return [one in placed for one in reservation_ids]


async def amount_in_currency(context: OrdersContext, order_id: UUID, amount: Money) -> int:
    """The minor units of an amount that must be in the order's currency."""
    async with context.database.reading() as reading:
        found = await payment_store.list_payments(reading, [order_id])
    if not found:
        raise OrderNotFound("There is no such order.")
    if found[0].currency != amount.currency:
        fault = FieldError("amount.currency", f"the order is in {found[0].currency}")
        raise Invalid("The amount is in another currency.", errors=[fault])
    return amount.amount

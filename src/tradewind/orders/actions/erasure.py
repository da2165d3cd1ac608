"""A person's right to see and to be forgotten; one rule: sums, numbers and goods stay."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from tradewind.orders.actions.context import OrdersContext
from tradewind.orders.actions.views import read_views
from tradewind.orders.contract import HeldOrders
from tradewind.orders.store import carts as cart_store
from tradewind.orders.store import orders as store
from tradewind.platform.database import Transaction

_EXPORT_MOST = 10_000


async def forget_people(tx: Transaction, user_ids: Sequence[UUID]) -> None:
    """Takes people out of their orders and removes their open carts and stored answers."""
    await store.update_forgotten(tx, user_ids)
    await store.delete_answers_of(tx, [str(one) for one in user_ids])
    await cart_store.delete_carts_of(tx, user_ids)


async def export_orders(context: OrdersContext, user_id: UUID) -> HeldOrders:
    """Every order and open cart of a person."""
    async with context.database.reading() as reading:
        ids = await store.list_ids_of_user(reading, user_id, None, None, _EXPORT_MOST)
        views = await read_views(reading, ids)
        carts = await cart_store.list_held(reading, user_id)
    encode = msgspec.json.encode
    return HeldOrders(msgspec.Raw(encode(views)), msgspec.Raw(encode(carts)))

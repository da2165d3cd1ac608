"""What orders does about what happened elsewhere; one rule: written for many, in any order."""

from collections.abc import Sequence

from tradewind.orders.actions.context import OrdersContext
from tradewind.orders.actions.erasure import forget_people
from tradewind.orders.actions.recovery import cancel_lost
from tradewind.platform.database import Transaction
from tradewind.products.contract import ReservationLost
from tradewind.users.contract import UserErased


async def cancel_orders_without_stock(
    context: OrdersContext, tx: Transaction, events: Sequence[ReservationLost]
) -> None:
    """An order whose stock is sold to others is cancelled and its money goes back."""
    for event in events:
        await cancel_lost(context, tx, event.order_id)


async def forget_erased(
    _context: OrdersContext, tx: Transaction, events: Sequence[UserErased]
) -> None:
    """Orders stay, the person in them does not."""
    await forget_people(tx, [event.user_id for event in events])


REACTIONS = {
    ReservationLost: (cancel_orders_without_stock,),
    UserErased: (forget_erased,),
}

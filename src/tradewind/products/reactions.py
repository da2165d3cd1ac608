"""What products does about what happened elsewhere; one rule: written for many, in any order.

Each reaction runs in the inbox's transaction. A confirmation that comes after its cancellation, or
twice, changes nothing: the reservation's state decides.
"""

from collections.abc import Iterable, Sequence

from tradewind.orders.contract import (
    CheckoutDeclined,
    OrderCancelled,
    OrderPlaced,
    OrderRefunded,
    PaymentFailed,
    PaymentSettled,
    SoldLine,
)
from tradewind.platform.database import Transaction
from tradewind.products.actions.context import ProductsContext
from tradewind.products.actions.stock import (
    Settlement,
    give_back,
    return_cancelled,
    return_refunded,
    settle_reservations,
)
from tradewind.products.contract import ProductsChanged


def _quantities(lines: Iterable[SoldLine]) -> dict[str, int]:
    total: dict[str, int] = {}
    for line in lines:
        total[line.sku] = total.get(line.sku, 0) + line.quantity
    return total


async def take_stock(
    context: ProductsContext, tx: Transaction, events: Sequence[OrderPlaced]
) -> None:
    """What was paid for is sold; what waits for its payment is kept."""
    await settle_reservations(
        context,
        tx,
        [
            Settlement(
                event.reservation_id,
                event.order_id,
                "kept" if event.payment_status == "pending" else "confirmed",
                _quantities(event.lines),
            )
            for event in events
        ],
    )


async def confirm_stock(
    context: ProductsContext, tx: Transaction, events: Sequence[PaymentSettled]
) -> None:
    """The payment came through: what was kept is sold."""
    await settle_reservations(
        context,
        tx,
        [
            Settlement(one.reservation_id, one.order_id, "confirmed", _quantities(one.lines))
            for one in events
        ],
    )


async def release_declined(
    _context: ProductsContext, tx: Transaction, events: Sequence[CheckoutDeclined]
) -> None:
    """No order came of it: its stock is free again."""
    await give_back(tx, [event.reservation_id for event in events], "released")


async def release_failed(
    _context: ProductsContext, tx: Transaction, events: Sequence[PaymentFailed]
) -> None:
    """The payment failed after all: the order is cancelled, its stock is free again."""
    await return_cancelled(tx, [(one.reservation_id, one.order_id, {}) for one in events])


async def return_stock(
    _context: ProductsContext, tx: Transaction, events: Sequence[OrderCancelled]
) -> None:
    """A cancelled order's units are on hand again."""
    await return_cancelled(
        tx, [(one.reservation_id, one.order_id, _quantities(one.lines)) for one in events]
    )


async def restock_refunded(
    _context: ProductsContext, tx: Transaction, events: Sequence[OrderRefunded]
) -> None:
    """Refunded units that came back are on hand again."""
    await return_refunded(
        tx, [(one.order_id, _quantities(one.lines)) for one in events if one.lines]
    )


async def drop_pages(
    context: ProductsContext, tx: Transaction, events: Sequence[ProductsChanged]
) -> None:
    """Pages that instances share are out of date, though whoever changed them may be gone."""
    context.drop_pages(tx, {id_ for event in events for id_ in event.product_ids})


REACTIONS = {
    OrderPlaced: (take_stock,),
    PaymentSettled: (confirm_stock,),
    CheckoutDeclined: (release_declined,),
    PaymentFailed: (release_failed,),
    OrderCancelled: (return_stock,),
    OrderRefunded: (restock_refunded,),
    ProductsChanged: (drop_pages,),
}

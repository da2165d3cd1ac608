"""What can happen to an order that stands; one rule: money is noted before the provider is asked.

Each step locks the order, checks the state machine, and saves its event with it. A refund is saved
as pending, then asked for under its own id; what the provider did not confirm, recovery asks again.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog

from tradewind.orders.actions.context import OrdersContext
from tradewind.orders.actions.views import OrderView, is_order_token, read_views
from tradewind.orders.contract import (
    OrderCancelled,
    OrderDelivered,
    OrderNotFound,
    OrderRefunded,
    OrderShipped,
    WrongState,
)
from tradewind.orders.model.order import (
    Line,
    Order,
    Payment,
    check_cancellable,
    check_refund,
    check_shippable,
    entry,
    fulfillment_status,
    pick,
    refund_status,
)
from tradewind.orders.model.payment import ProviderDown, ProviderUnclear
from tradewind.orders.store import checkouts as checkout_store
from tradewind.orders.store import orders as store
from tradewind.orders.store import payments as payment_store
from tradewind.orders.store.orders import Fulfillment
from tradewind.orders.store.payments import Refund
from tradewind.platform.database import Reading, Transaction
from tradewind.platform.errors import Unavailable
from tradewind.platform.idempotency import Once, update_answers
from tradewind.platform.ids import new_id
from tradewind.platform.money import Money

_log = structlog.get_logger(__name__)
_REFUND_DUE_SECONDS = 15.0
_CAPTURED = 200
"""What a capture answers (HTTP status), also where recovery finished it."""


def common(order: Order) -> dict[str, Any]:
    """What every event about an order says."""
    return {
        "order_id": order.id,
        "number": order.number,
        "user_id": order.user_id,
        "email": order.email,
        "reservation_id": order.reservation_id,
        "currency": order.currency,
        "total_minor": order.total_minor,
    }


async def show_order(
    context: OrdersContext, order_id: UUID, user_id: UUID | None, token: str | None, *, staff: bool
) -> OrderView:
    """One order, for its owner, for whoever shows its token, or for staff."""

    async def find(reading: Reading) -> OrderView:
        await check_owner(context, reading, order_id, user_id, token, staff=staff)
        [view] = await read_views(reading, [order_id])
        return view

    return await context.database.read(find)


async def check_owner(
    context: OrdersContext,
    tx: Reading,
    order_id: UUID,
    user_id: UUID | None,
    token: str | None,
    *,
    staff: bool,
) -> None:
    """Raises OrderNotFound for everybody else."""
    owner = await store.find_owner(tx, order_id)
    if owner is not None:
        if staff or (owner[0] is not None and owner[0] == user_id):
            return
        guest = owner[0] is None and token is not None
        if guest and is_order_token(context.token_secret, order_id, token or ""):
            return
    raise OrderNotFound("There is no such order of yours.")


async def _lock(tx: Transaction, order_id: UUID) -> tuple[Order, list[Line], Payment]:
    order = await store.lock_order(tx, order_id)
    if order is None:
        raise OrderNotFound("There is no such order.")
    lines = await store.list_lines(tx, [order_id])
    [payment] = await payment_store.list_payments(tx, [order_id])
    return order, lines, payment


async def cancel_order(
    context: OrdersContext, order_id: UUID, once: Once, reason: str
) -> OrderView:
    """Stock back, money back; only before anything was shipped.

    Where the payment is not decided yet, the money goes back when it comes in.
    """
    async with context.database.transaction(once) as tx:
        order, lines, payment = await _lock(tx, order_id)
        check_cancellable(order)
        if payment.state == "capturing":
            raise WrongState("the money is being taken just now; cancel when that is done")
        refund = await cancel_locked(context, tx, order, lines, payment, reason)
        [view] = await read_views(tx, [order_id])
        once.answer(view)
    if refund is not None:
        await settle_refund(context, refund, payment.provider)
    return view


async def cancel_locked(
    context: OrdersContext,
    tx: Transaction,
    order: Order,
    lines: Sequence[Line],
    payment: Payment,
    reason: str,
) -> Refund | None:
    """Cancels a locked order; answers the refund that is to be asked for."""
    left = payment.captured_minor - payment.refunded_minor
    refund = None
    if left or payment.state == "authorized":
        # Letting go of authorized money is a refund of nothing: asked for until it is confirmed.
        refund = Refund(
            new_id(), order.id, payment.id, left, order.currency, reason, None, "pending", tx.now
        )
        await payment_store.insert_refund(tx, refund, _REFUND_DUE_SECONDS)
        moved = (order.id, payment.provider, left, order.currency)
        await checkout_store.insert_transfers(tx, "refund", [moved])
        state = "voided" if payment.state == "authorized" else None
        await payment_store.update_payment(tx, payment.id, state=state, refunded_minor=left)
    restock = {line.sku: line.quantity - line.refunded_quantity for line in lines}
    restock = {sku: quantity for sku, quantity in restock.items() if quantity}
    await store.update_lines(tx, order.id, fulfilled={}, refunded=restock)
    await store.update_order(
        tx,
        order,
        status="cancelled",
        payment_status="refunded" if refund else None,
        happened=entry("cancelled", tx.now, reason=reason, refunded=Money(left, order.currency)),
    )
    sold = tuple(line.sold(restock[line.sku]) for line in lines if line.sku in restock)
    event = OrderCancelled(**common(order), lines=sold, refunded_minor=left)
    await context.outbox.add(tx, [event])
    return refund


async def give_back(
    context: OrdersContext, tx: Transaction, order: Order, payment: Payment, amount_minor: int
) -> None:
    """Saves that the money of a cancelled order goes back; recovery asks the provider for it."""
    reason = "the order was cancelled before it was paid"
    refund = Refund(
        new_id(),
        order.id,
        payment.id,
        amount_minor,
        order.currency,
        reason,
        None,
        "pending",
        tx.now,
    )
    await payment_store.insert_refund(tx, refund, 0.0)
    moved = (order.id, payment.provider, amount_minor, order.currency)
    await checkout_store.insert_transfers(tx, "refund", [moved])
    await payment_store.update_payment(tx, payment.id, refunded_minor=amount_minor)
    await store.update_order(
        tx, order, payment_status="refunded", happened=_refunded(refund, tx.now)
    )
    if amount_minor:
        event = OrderRefunded(
            **common(order),
            refund_id=refund.id,
            amount_minor=amount_minor,
            reason=reason,
            lines=(),
        )
        await context.outbox.add(tx, [event])


def _refunded(refund: Refund, at: datetime) -> dict[str, Any]:
    amount = Money(refund.amount_minor, refund.currency)
    return entry("refunded", at, refundId=refund.id, amount=amount, reason=refund.reason)


async def settle_refund(context: OrdersContext, refund: Refund, provider: str) -> None:
    """Asks the provider for a saved refund; what fails stays due and is asked again."""
    try:
        await context.providers[provider].refund(refund.id, refund.payment_id, refund.amount_minor)
    except (ProviderDown, ProviderUnclear, Unavailable, TimeoutError) as error:
        _log.warning("refund unclear", refund=str(refund.id), error=repr(error))
        return
    async with context.database.transaction() as tx:
        await payment_store.update_refund_settled(tx, refund.id)


async def refund_order(
    context: OrdersContext,
    order_id: UUID,
    amount_minor: int | None,
    lines: Sequence[tuple[str, int]] | None,
    reason: str,
    once: Once,
) -> OrderView:
    """Gives money back: an amount, or the price of `lines`, or all that is left.

    The units of `lines` go back to stock, also where an amount is given.
    """
    async with context.database.transaction(once) as tx:
        order, sold, payment = await _lock(tx, order_id)
        if order.status == "cancelled":
            raise WrongState("the order is cancelled; its money went back already")
        if payment.state != "captured":
            raise WrongState("nothing was captured that could be refunded")
        picked = pick(sold, lines, "refunded") if lines else []
        amount = amount_minor
        if amount is None:
            left = payment.captured_minor - payment.refunded_minor
            amount = sum(one.unit_price_minor * n for one, n in picked) if lines else left
        if amount == 0 and not picked:
            raise WrongState("there is nothing left to refund")
        check_refund(payment, amount)
        restock = {line.sku: quantity for line, quantity in picked}
        refund = Refund(
            new_id(),
            order_id,
            payment.id,
            amount,
            order.currency,
            reason,
            restock or None,
            "pending",
            tx.now,
        )
        await payment_store.insert_refund(tx, refund, _REFUND_DUE_SECONDS)
        moved = (order_id, payment.provider, amount, order.currency)
        await checkout_store.insert_transfers(tx, "refund", [moved])
        await payment_store.update_payment(tx, payment.id, refunded_minor=amount)
        await store.update_lines(tx, order_id, fulfilled={}, refunded=restock)
        await store.update_order(
            tx,
            order,
            payment_status=refund_status(payment, amount),
            happened=_refunded(refund, tx.now),
        )
        event = OrderRefunded(
            **common(order),
            refund_id=refund.id,
            amount_minor=amount,
            reason=reason,
            lines=tuple(line.sold(quantity) for line, quantity in picked),
        )
        await context.outbox.add(tx, [event])
        [view] = await read_views(tx, [order_id])
        once.answer(view)
    await settle_refund(context, refund, payment.provider)
    return view


async def capture_order(context: OrdersContext, order_id: UUID, once: Once) -> OrderView:
    """Takes authorized money, having saved that it is being taken.

    The key under which it was asked for is saved with it: whoever finishes it, this request or
    recovery, answers that key.
    """
    async with context.database.transaction() as tx:
        await once.take(tx)
        order, _, payment = await _lock(tx, order_id)
        if order.status != "placed" or payment.state != "authorized":
            raise WrongState(
                f"the order is {order.status}, its payment {payment.state}; "
                "only authorized payments of placed orders are captured"
            )
        await payment_store.update_capturing(tx, payment.id, once.key, _REFUND_DUE_SECONDS)
    try:
        await context.providers[payment.provider].capture(payment.id, payment.authorized_minor)
    except (ProviderDown, ProviderUnclear, TimeoutError) as error:
        raise Unavailable("the payment provider does not answer; it is asked again") from error
    async with context.database.transaction() as tx:
        order, _, payment = await _lock(tx, order_id)
        if payment.state == "capturing":
            await note_captured(tx, order, payment)
        [view] = await read_views(tx, [order_id])
    return view


async def note_captured(tx: Transaction, order: Order, payment: Payment) -> None:
    """The provider took what was authorized; answers the key under which it was asked for."""
    amount = payment.authorized_minor
    await payment_store.update_payment(tx, payment.id, state="captured", captured_minor=amount)
    moved = (order.id, payment.provider, amount, order.currency)
    await checkout_store.insert_transfers(tx, "capture", [moved])
    happened = entry("captured", tx.now, amount=Money(amount, order.currency))
    await store.update_order(tx, order, payment_status="paid", happened=happened)
    key = await payment_store.find_capture_key(tx, payment.id)
    if key is not None:
        [view] = await read_views(tx, [order.id])
        await update_answers(tx, [(key, _CAPTURED, msgspec.json.encode(view))])


async def ship_order(
    context: OrdersContext,
    order_id: UUID,
    lines: Sequence[tuple[str, int]] | None,
    carrier: str | None,
    tracking: str | None,
    once: Once,
) -> OrderView:
    """A parcel with these lines, or with all that was not shipped yet."""
    async with context.database.transaction(once) as tx:
        order, sold, _ = await _lock(tx, order_id)
        check_shippable(order)
        picked = pick(sold, lines, "fulfilled")
        if not picked:
            raise WrongState("everything was shipped already")
        shipped = {line.sku: quantity for line, quantity in picked}
        parcel = Fulfillment(
            new_id(), order_id, shipped, carrier, tracking, "shipped", tx.now, None
        )
        await store.insert_fulfillment(tx, parcel)
        await store.update_lines(tx, order_id, fulfilled=shipped, refunded={})
        await store.update_order(
            tx,
            order,
            fulfillment_status=fulfillment_status(sold, shipped),
            happened=entry("shipped", tx.now, fulfillmentId=parcel.id),
        )
        event = OrderShipped(
            **common(order),
            fulfillment_id=parcel.id,
            lines=tuple(line.sold(quantity) for line, quantity in picked),
            carrier=carrier,
            tracking=tracking,
        )
        await context.outbox.add(tx, [event])
        [view] = await read_views(tx, [order_id])
        return once.answer(view)


async def note_delivered(
    context: OrdersContext, order_id: UUID, fulfillment_id: UUID, once: Once
) -> OrderView:
    """A parcel has arrived; the order is delivered when all of it has."""
    async with context.database.transaction(once) as tx:
        order, _, _ = await _lock(tx, order_id)
        parcels = await store.list_fulfillments(tx, [order_id])
        if fulfillment_id not in {one.id for one in parcels}:
            raise OrderNotFound("There is no such parcel of this order.")
        if not await store.update_delivered(tx, order_id, fulfillment_id):
            raise WrongState("the parcel has arrived already")
        whole = order.fulfillment_status == "fulfilled" and all(
            one.status == "delivered" or one.id == fulfillment_id for one in parcels
        )
        await store.update_order(
            tx,
            order,
            fulfillment_status="delivered" if whole else None,
            happened=entry("delivered", tx.now, fulfillmentId=fulfillment_id),
        )
        event = OrderDelivered(**common(order), fulfillment_id=fulfillment_id)
        await context.outbox.add(tx, [event])
        [view] = await read_views(tx, [order_id])
        return once.answer(view)

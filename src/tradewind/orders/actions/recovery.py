"""What finishes by itself; one rule: nothing that was begun is left without an end (P16).

Every step takes due rows for a while (a lease in the row, SKIP LOCKED), so that any number of
processes may run them, and each is safe to be done twice.
"""

import asyncio
from collections.abc import Awaitable, Iterable
from uuid import UUID

import structlog

from tradewind.orders.actions.checkout import Checkouts, charge, free_checkout
from tradewind.orders.actions.context import OrdersContext
from tradewind.orders.actions.orders import (
    cancel_locked,
    common,
    give_back,
    note_captured,
    settle_refund,
)
from tradewind.orders.actions.placing import Finish
from tradewind.orders.actions.views import order_token
from tradewind.orders.contract import PaymentFailed, PaymentSettled
from tradewind.orders.model.order import Line, Order, Payment, entry
from tradewind.orders.model.payment import (
    Charged,
    Notice,
    ProviderDown,
    ProviderUnclear,
)
from tradewind.orders.store import carts as cart_store
from tradewind.orders.store import checkouts as checkout_store
from tradewind.orders.store import orders as store
from tradewind.orders.store import payments as payment_store
from tradewind.platform.database import Transaction
from tradewind.platform.errors import Invalid, NotFound, Unavailable
from tradewind.platform.idempotency import delete_old

_log = structlog.get_logger(__name__)
_MOST = 50
_FORGET_MOST = 1000
_UNSEEN_TRIES = 6
"""So often the provider must say that it never saw an attempt before it counts as failed."""


class NoticeMismatch(Invalid):
    """A webhook whose amount, currency or order is not ours: nothing is paid."""

    code = "notice_mismatch"
    title = "The notice does not match the payment"


async def recover_checkouts(context: OrdersContext, checkouts: Checkouts) -> bool:
    """Finishes checkouts whose process ended in the middle; answers whether there may be more."""
    async with context.database.transaction() as tx:
        due = await checkout_store.lock_due_checkouts(tx, _MOST, context.settings.lease_seconds)
    await _all(_recover(context, checkouts, one) for one in due)
    return len(due) == _MOST


async def _all(work: Iterable[Awaitable[None]]) -> None:
    """Does all of it; what failed is raised when the rest is done, and stays due."""
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


async def _recover(
    context: OrdersContext, checkouts: Checkouts, checkout: checkout_store.OpenCheckout
) -> None:
    draft = checkout.draft
    _log.info("recovering a checkout", order=str(draft.order_id))
    [holds] = await context.products.extend([draft.reservation_id])
    if not holds:
        # Its stock is gone to others: what may have been taken is given back.
        provider = context.providers[draft.provider]
        seen = await provider.find(checkout.id)
        if seen is not None and seen.verdict != "declined":
            await provider.refund(new_refund_id(checkout.id), checkout.id, draft.total_minor)
        async with context.database.transaction() as tx:
            await free_checkout(tx, checkout)
        return
    try:
        charged = await charge(context, checkout)
    except ProviderDown:
        return  # its lease ends, and somebody comes again
    await checkouts.finishes.submit(Finish(checkout, charged))


def new_refund_id(attempt_id: UUID) -> UUID:
    """The id of the one refund that an abandoned attempt can have."""
    return UUID(int=attempt_id.int ^ 1)


async def reconcile_payments(context: OrdersContext) -> bool:
    """Asks providers what became of payments that are not decided, and of captures under way."""
    async with context.database.transaction() as tx:
        due = await payment_store.lock_due_payments(tx, _MOST)
    await _all(_reconcile(context, one) for one in due)
    return len(due) == _MOST


async def _reconcile(context: OrdersContext, payment: Payment) -> None:
    provider = context.providers[payment.provider]
    try:
        if payment.state == "capturing":
            await provider.capture(payment.id, payment.authorized_minor)
            await settle_payment(context, payment.id, Charged("captured", payment.reference))
            return
        seen = await provider.find(payment.id)
    except (ProviderDown, ProviderUnclear, Unavailable, TimeoutError) as error:
        _log.warning("provider does not answer", payment=str(payment.id), error=repr(error))
        return
    if seen is None and payment.tries >= _UNSEEN_TRIES:
        seen = Charged("declined", "", "the provider never saw the attempt")
    if seen is not None and seen.verdict != "pending":
        await settle_payment(context, payment.id, seen)


async def settle_payment(context: OrdersContext, payment_id: UUID, told: Charged) -> None:
    """A payment is decided. Again, or too late, changes nothing."""
    async with context.database.reading() as reading:
        found = await payment_store.find_payment(reading, payment_id)
    if found is None:
        return
    async with context.database.transaction() as tx:
        await _settle_locked(context, tx, found.order_id, told)


async def _settle_locked(
    context: OrdersContext, tx: Transaction, order_id: UUID, told: Charged
) -> None:
    order = await store.lock_order(tx, order_id)
    if order is None:
        return  # a refused attempt, of which no order came
    [payment] = await payment_store.list_payments(tx, [order_id])
    if payment.state not in ("pending", "unclear", "capturing"):
        return
    if order.status != "placed":
        await _settle_cancelled(context, tx, order, payment, told)
        return
    if payment.state == "capturing":
        if told.verdict == "captured":
            await note_captured(tx, order, payment)
        return
    if told.verdict == "declined":
        await _fail(context, tx, order, payment, told.reason)
    elif told.verdict in ("captured", "authorized"):
        lines = await store.list_lines(tx, [order_id])
        await _succeed(context, tx, order, payment, lines, told)


async def _succeed(
    context: OrdersContext,
    tx: Transaction,
    order: Order,
    payment: Payment,
    lines: list[Line],
    told: Charged,
) -> None:
    captured = payment.amount_minor if told.verdict == "captured" else 0
    status = "paid" if captured else "authorized"
    await payment_store.update_payment(
        tx,
        payment.id,
        state=told.verdict,
        authorized_minor=payment.amount_minor,
        captured_minor=captured,
        reference=told.reference,
    )
    moved = (order.id, payment.provider, captured, order.currency)
    await checkout_store.insert_transfers(tx, "capture", [moved])
    await store.update_order(
        tx, order, payment_status=status, happened=entry("payment settled", tx.now, status=status)
    )
    event = PaymentSettled(
        **common(order),
        payment_status=status,
        lines=tuple(line.sold(line.quantity) for line in lines),
        token=order_token(context.token_secret, order.id),
    )
    await context.outbox.add(tx, [event])


async def _settle_cancelled(
    context: OrdersContext, tx: Transaction, order: Order, payment: Payment, told: Charged
) -> None:
    """The order was cancelled before its payment was decided: what came in goes back."""
    if told.verdict == "pending":
        return
    if told.verdict == "declined":
        await payment_store.update_payment(tx, payment.id, state="failed")
        happened = entry("payment failed", tx.now, reason=told.reason)
        await store.update_order(tx, order, payment_status="failed", happened=happened)
        return
    captured = payment.amount_minor if told.verdict == "captured" else 0
    await payment_store.update_payment(
        tx,
        payment.id,
        state="captured" if captured else "voided",
        authorized_minor=payment.amount_minor - payment.authorized_minor,
        captured_minor=captured,
        reference=told.reference,
    )
    moved = (order.id, payment.provider, captured, order.currency)
    await checkout_store.insert_transfers(tx, "capture", [moved])
    await give_back(context, tx, order, payment, captured)


async def _fail(
    context: OrdersContext, tx: Transaction, order: Order, payment: Payment, reason: str
) -> None:
    await payment_store.update_payment(tx, payment.id, state="failed")
    await store.update_order(
        tx,
        order,
        status="cancelled",
        payment_status="failed",
        happened=entry("payment failed", tx.now, reason=reason),
    )
    event = PaymentFailed(**common(order), reason=reason)
    await context.outbox.add(tx, [event])


async def take_notice(
    context: OrdersContext, checkouts: Checkouts, provider: str, notice: Notice
) -> None:
    """A provider's webhook: each id once, in any order, and only for what we asked for."""
    async with context.database.reading() as reading:
        payment = await payment_store.find_payment(reading, notice.attempt_id)
        under_way = await checkout_store.find_open(reading, notice.attempt_id)
    if payment is not None:
        ours = (payment.provider, payment.order_id, payment.amount_minor, payment.currency)
    elif under_way is not None:
        draft = under_way.draft
        ours = (draft.provider, draft.order_id, draft.total_minor, draft.currency)
    else:
        raise NotFound("there is no such payment attempt")
    if ours != (provider, notice.order_id, notice.amount_minor, notice.currency):
        raise NoticeMismatch("order, amount or currency are not those of the attempt")
    told = Charged(notice.verdict, f"notice:{notice.notice_id}", "the provider said so later")
    if under_way is not None and payment is None:
        await checkouts.finishes.submit(Finish(under_way, told))
    async with context.database.transaction() as tx:
        if not await store.insert_receipt(tx, provider, notice.notice_id):
            return
        await _settle_locked(context, tx, notice.order_id, told)


async def recover_refunds(context: OrdersContext) -> bool:
    """Asks again for refunds that no provider confirmed."""
    async with context.database.transaction() as tx:
        due = await payment_store.lock_due_refunds(tx, _MOST)
        payments = await payment_store.list_payments(tx, [one.order_id for one in due])
    providers = {payment.id: payment.provider for payment in payments}
    await _all(settle_refund(context, one, providers[one.payment_id]) for one in due)
    return len(due) == _MOST


async def cancel_lost(context: OrdersContext, tx: Transaction, order_id: UUID) -> None:
    """An order whose stock was lost is cancelled; its refund is asked for by `recover_refunds`."""
    order = await store.lock_order(tx, order_id)
    if order is None or order.status != "placed" or order.fulfillment_status != "unfulfilled":
        return
    lines = await store.list_lines(tx, [order_id])
    [payment] = await payment_store.list_payments(tx, [order_id])
    await cancel_locked(context, tx, order, lines, payment, "out of stock")


async def forget_old(context: OrdersContext) -> bool:
    """Forgets what is of no use any more: abandoned carts, old keys, old refusals."""
    async with context.database.transaction() as tx:
        carts = await cart_store.delete_old_carts(tx, context.settings.cart_days, _FORGET_MOST)
        keys = await delete_old(tx, _FORGET_MOST)
        declined = await checkout_store.delete_old_declined(tx, _FORGET_MOST)
    return _FORGET_MOST in (carts, keys, declined)

"""The last step of a purchase; one rule: the order, its answer and its event are one transaction.

Whoever ends a checkout (the request itself, or recovery after it) comes here with what the provider
said. Taking the checkout's row away decides between two that come at once; the later one gets the
answer that the first one stored.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from tradewind.orders.actions.context import OrdersContext
from tradewind.orders.actions.views import new_order, order_token, order_view
from tradewind.orders.contract import CheckoutDeclined, OrderPlaced, PaymentDeclined
from tradewind.orders.model.order import Draft, Order, Payment, PaymentStatus, entry, new_number
from tradewind.orders.model.payment import Charged
from tradewind.orders.store import carts as cart_store
from tradewind.orders.store import checkouts as store
from tradewind.platform.database import Transaction
from tradewind.platform.errors import StoreError, Unavailable
from tradewind.platform.events import Cause
from tradewind.platform.idempotency import Key, find_stored, update_answers

_STATUS: dict[str, PaymentStatus] = {
    "captured": "paid",
    "authorized": "authorized",
    "pending": "pending",
    "unclear": "pending",
}
_ASK_AFTER_SECONDS = 1.0
_JSON = msgspec.json.Encoder()


class Finish(msgspec.Struct, frozen=True):
    """A checkout and what the provider said (None: nothing clear); who asked, for its answer."""

    checkout: store.OpenCheckout
    charged: Charged | None
    request_id: str = ""
    traceparent: str = ""

    @property
    def cause(self) -> Cause:
        """The request that its event comes from."""
        return Cause(self.request_id, self.traceparent)

    @property
    def is_declined(self) -> bool:
        """Whether no order comes of it."""
        return self.charged is not None and self.charged.verdict == "declined"

    def renumbered(self) -> "Finish":
        """The same with another order number."""
        replace = msgspec.structs.replace
        draft = replace(self.checkout.draft, number=new_number())
        return replace(self, checkout=replace(self.checkout, draft=draft))


class Placing:
    """Makes orders out of paid checkouts, many at once."""

    def __init__(self, context: OrdersContext) -> None:
        self._context = context

    async def finish(self, finishes: Sequence[Finish]) -> list[tuple[int, bytes] | StoreError]:
        """The stored answer of each: status and body."""
        placed = [one for one in finishes if not one.is_declined]
        declined = [one for one in finishes if one.is_declined]
        async with self._context.database.transaction() as tx:
            answers: list[tuple[Key, int, bytes]] = []
            if placed:
                answers += await self._place(tx, placed)
            if declined:
                answers += await self._decline(tx, declined)
            if answers:
                await update_answers(tx, answers)
            known = {key: (status, body) for key, status, body in answers}
            late = [one.checkout.key for one in finishes if one.checkout.key not in known]
            if late:
                for key, stored in zip(late, await find_stored(tx, late), strict=True):
                    if stored is not None and stored.status is not None:
                        known[key] = (stored.status, stored.body)
        gone = Unavailable("this checkout was given up; nothing was taken, send it again")
        return [known.get(one.checkout.key, gone) for one in finishes]

    async def _place(
        self, tx: Transaction, finishes: Sequence[Finish]
    ) -> list[tuple[Key, int, bytes]]:
        ours = await store.delete_placed(tx, [one.checkout.id for one in finishes])
        finishes = [one for one in finishes if one.checkout.id in ours]
        if not finishes:
            return []
        now = tx.now
        drafts = [one.checkout.draft for one in finishes]
        payments = [_payment(one, now) for one in finishes]
        orders = [_order(draft, pay, now) for draft, pay in zip(drafts, payments, strict=True)]
        lines = [draft.lines for draft in drafts]
        placed = list(zip(orders, payments, lines, strict=True))
        await store.insert_orders(tx, placed, _ASK_AFTER_SECONDS)
        carts = [(one.cart_id, one.order_id) for one in drafts if one.cart_id is not None]
        if carts:
            await cart_store.update_states(tx, carts, "checked_out")
        tokens = [order_token(self._context.token_secret, order.id) for order in orders]
        causes = [one.cause for one in finishes]
        await self._context.outbox.add(
            tx, [_placed(*one) for one in zip(drafts, orders, tokens, strict=True)], causes
        )
        answers: list[tuple[Key, int, bytes]] = []
        for one, order, payment, token in zip(finishes, orders, payments, tokens, strict=True):
            guest = order.user_id is None
            view = order_view(
                order, one.checkout.draft.lines, payment, token=token if guest else None
            )
            status = 202 if order.payment_status == "pending" else 201
            answers.append((one.checkout.key, status, _JSON.encode(view)))
        return answers

    async def _decline(
        self, tx: Transaction, finishes: Sequence[Finish]
    ) -> list[tuple[Key, int, bytes]]:
        ours = await store.update_declined(tx, [one.checkout.id for one in finishes])
        finishes = [one for one in finishes if one.checkout.id in ours]
        drafts = [one.checkout.draft for one in finishes]
        carts = [(one.cart_id, one.order_id) for one in drafts if one.cart_id is not None]
        if carts:
            await cart_store.update_states(tx, carts, "open")
        reasons = [one.charged.reason if one.charged else "" for one in finishes]
        await self._context.outbox.add(
            tx,
            [
                CheckoutDeclined(
                    order_id=draft.order_id,
                    user_id=draft.user_id,
                    email=draft.email,
                    reservation_id=draft.reservation_id,
                    currency=draft.currency,
                    total_minor=draft.total_minor,
                    reason=reason,
                )
                for draft, reason in zip(drafts, reasons, strict=True)
            ],
            [one.cause for one in finishes],
        )
        return [
            (one.checkout.key, *self._context.render(_declined(reason), one.request_id))
            for one, reason in zip(finishes, reasons, strict=True)
        ]


def _declined(reason: str) -> PaymentDeclined:
    return PaymentDeclined(
        f"the payment was refused: {reason}; nothing was taken", extra={"reason": reason}
    )


def _payment(finish: Finish, now: datetime) -> Payment:
    draft, charged = finish.checkout.draft, finish.charged
    state = charged.verdict if charged else "unclear"
    total = draft.total_minor
    return Payment(
        id=finish.checkout.id,
        order_id=draft.order_id,
        provider=draft.provider,
        state=state,  # pyright: ignore[reportArgumentType]  a declined one never comes here
        currency=draft.currency,
        amount_minor=total,
        authorized_minor=total if state in ("captured", "authorized") else 0,
        captured_minor=total if state == "captured" else 0,
        refunded_minor=0,
        reference=charged.reference if charged else "",
        tries=0,
        created_at=now,
    )


def _order(draft: Draft, payment: Payment, now: datetime) -> Order:
    status = _STATUS[payment.state]
    return new_order(draft, status, now, [entry("placed", now, paymentStatus=status)])


def _placed(draft: Draft, order: Order, token: str) -> OrderPlaced:
    return OrderPlaced(
        order_id=order.id,
        number=order.number,
        user_id=order.user_id,
        email=order.email,
        reservation_id=draft.reservation_id,
        currency=order.currency,
        total_minor=order.total_minor,
        payment_status=order.payment_status,
        lines=draft.lines,
        token=token,
    )

"""Orders as the API shows them; one rule: a view is made of rows, never of another view."""

import base64
import hmac
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from tradewind.orders.contract import SoldLine
from tradewind.orders.model.order import Draft, Line, Order, Payment
from tradewind.orders.store import orders as store
from tradewind.orders.store import payments as payment_store
from tradewind.platform.database import Reading
from tradewind.platform.money import Money

_PAYMENT_STATUS = {"unclear": "pending", "capturing": "authorized"}


class LineView(msgspec.Struct, frozen=True, rename="camel"):
    """A line as it was sold."""

    sku: str
    title: str
    quantity: int
    unit_price: Money
    total: Money


class PaymentView(msgspec.Struct, frozen=True, rename="camel"):
    """The order's payment; sums in minor units with the currency."""

    id: UUID
    provider: str
    status: str
    authorized: Money
    captured: Money
    refunded: Money
    reference: str


class QuantityView(msgspec.Struct, frozen=True, rename="camel"):
    """So many units of a SKU."""

    sku: str
    quantity: int


class RefundView(msgspec.Struct, frozen=True, rename="camel"):
    """Money on its way back, and the units that came back for it."""

    id: UUID
    amount: Money
    reason: str
    lines: list[QuantityView] | None
    status: str
    created_at: datetime


class FulfillmentView(msgspec.Struct, frozen=True, rename="camel"):
    """A parcel."""

    id: UUID
    lines: list[QuantityView]
    carrier: str | None
    tracking: str | None
    status: str
    created_at: datetime
    delivered_at: datetime | None


class OrderView(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """An order. `token` is only in a guest's answer to the checkout."""

    id: UUID
    number: str
    status: str
    payment_status: str
    fulfillment_status: str
    email: str
    currency: str
    lines: list[LineView]
    subtotal: Money
    discount: Money
    shipping: Money
    tax: Money
    total: Money
    payment: PaymentView
    fulfillments: list[FulfillmentView]
    refunds: list[RefundView]
    history: list[dict[str, Any]]
    shipping_address: dict[str, Any]
    billing_address: dict[str, Any] | None
    version: int
    created_at: datetime
    updated_at: datetime
    token: str | msgspec.UnsetType = msgspec.UNSET


def order_token(secret: bytes, order_id: UUID) -> str:
    """With it a guest reads the order; made from its id, so that nothing is stored."""
    mac = hmac.digest(secret, order_id.bytes, "sha256")
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def is_order_token(secret: bytes, order_id: UUID, given: str) -> bool:
    """Compares in constant time."""
    return hmac.compare_digest(order_token(secret, order_id).encode(), given.encode())


def quantities(lines: dict[str, int]) -> list[QuantityView]:
    """As a list of lines."""
    return [QuantityView(sku, quantity) for sku, quantity in lines.items()]


def _payment_view(payment: Payment) -> PaymentView:
    currency = payment.currency
    return PaymentView(
        payment.id,
        payment.provider,
        _PAYMENT_STATUS.get(payment.state, payment.state),
        Money(payment.authorized_minor, currency),
        Money(payment.captured_minor, currency),
        Money(payment.refunded_minor, currency),
        payment.reference,
    )


def _line_view(line: Line | SoldLine, currency: str) -> LineView:
    return LineView(
        line.sku,
        line.title,
        line.quantity,
        Money(line.unit_price_minor, currency),
        Money(line.total_minor, currency),
    )


def order_view(
    order: Order,
    lines: Sequence[Line | SoldLine],
    payment: Payment,
    refunds: Sequence[payment_store.Refund] = (),
    parcels: Sequence[store.Fulfillment] = (),
    token: str | None = None,
) -> OrderView:
    """The whole order."""
    currency = order.currency
    return OrderView(
        id=order.id,
        number=order.number,
        status=order.status,
        payment_status=order.payment_status,
        fulfillment_status=order.fulfillment_status,
        email=order.email,
        currency=currency,
        lines=[_line_view(line, currency) for line in lines],
        subtotal=Money(order.subtotal_minor, currency),
        discount=Money(order.discount_minor, currency),
        shipping=Money(order.shipping_minor, currency),
        tax=Money(order.tax_minor, currency),
        total=Money(order.total_minor, currency),
        payment=_payment_view(payment),
        fulfillments=[
            FulfillmentView(
                one.id,
                quantities(one.lines),
                one.carrier,
                one.tracking,
                one.status,
                one.created_at,
                one.delivered_at,
            )
            for one in parcels
        ],
        refunds=[
            RefundView(
                one.id,
                Money(one.amount_minor, one.currency),
                one.reason,
                quantities(one.lines) if one.lines else None,
                one.state,
                one.created_at,
            )
            for one in refunds
            if one.amount_minor or one.lines
        ],
        history=order.history,
        shipping_address=order.shipping_address,
        billing_address=order.billing_address,
        version=order.version,
        created_at=order.created_at,
        updated_at=order.updated_at,
        token=token or msgspec.UNSET,
    )


def new_order(draft: Draft, payment_status: Any, now: datetime, history: Any) -> Order:
    """The row that a draft becomes."""
    return Order(
        id=draft.order_id,
        number=draft.number,
        user_id=draft.user_id,
        email=draft.email,
        status="placed",
        payment_status=payment_status,
        fulfillment_status="unfulfilled",
        currency=draft.currency,
        subtotal_minor=draft.subtotal_minor,
        discount_minor=0,
        shipping_minor=0,
        tax_minor=0,
        total_minor=draft.total_minor,
        shipping_address=dict(draft.shipping_address),
        billing_address=dict(draft.billing_address) if draft.billing_address else None,
        reservation_id=draft.reservation_id,
        history=history,
        version=1,
        created_at=now,
        updated_at=now,
    )


async def read_views(tx: Reading, order_ids: Sequence[UUID]) -> list[OrderView]:
    """These orders whole, newest first, in five statements however many they are."""
    found = await store.list_orders(tx, order_ids)
    lines: dict[UUID, list[Line]] = defaultdict(list)
    for line in await store.list_lines(tx, order_ids):
        lines[line.order_id].append(line)
    refunds: dict[UUID, list[payment_store.Refund]] = defaultdict(list)
    for refund in await payment_store.list_refunds(tx, order_ids):
        refunds[refund.order_id].append(refund)
    parcels: dict[UUID, list[store.Fulfillment]] = defaultdict(list)
    for parcel in await store.list_fulfillments(tx, order_ids):
        parcels[parcel.order_id].append(parcel)
    payments = {one.order_id: one for one in await payment_store.list_payments(tx, order_ids)}
    return [
        order_view(one, lines[one.id], payments[one.id], refunds[one.id], parcels[one.id])
        for one in found
    ]

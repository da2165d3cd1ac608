"""Orders: their three axes and their sums; one rule: what was placed never changes, it is added to.

status placed | cancelled; payment_status pending | authorized | paid | partially_refunded |
refunded | failed; fulfillment_status unfulfilled | partially_fulfilled | fulfilled | delivered |
returned. The functions say what each step needs; SQL guards say it again.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from tradewind.orders.contract import RefundTooLarge, SoldLine, WrongState
from tradewind.platform.errors import FieldError, Invalid
from tradewind.products.contract import NoPrice, NotSold, PricedLine

Status = Literal["placed", "cancelled"]
PaymentStatus = Literal["pending", "authorized", "paid", "partially_refunded", "refunded", "failed"]
FulfillmentStatus = Literal[
    "unfulfilled", "partially_fulfilled", "fulfilled", "delivered", "returned"
]

TOTAL_MOST_MINOR = 10**15
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U


def new_number() -> str:
    """A short order number for people: 50 random bits tell nothing and need no counter.

    With 10^8 orders one in 10^7 new ones meets an old one: UNIQUE refuses it and another is drawn.
    """
    bits = secrets.randbits(50)
    drawn = "".join([_ALPHABET[bits >> shift & 31] for shift in range(0, 50, 5)])
    return f"{drawn[:5]}-{drawn[5:]}"


class NumberTaken(Exception):
    """An order has this number already."""


class Draft(msgspec.Struct, frozen=True):
    """A purchase that is decided but for its payment: all that an order is made of."""

    order_id: UUID
    number: str
    user_id: UUID | None
    email: str
    currency: str
    lines: tuple[SoldLine, ...]
    subtotal_minor: int
    shipping_address: Mapping[str, Any]
    billing_address: Mapping[str, Any] | None
    provider: str
    token: str
    cart_id: UUID | None
    reservation_id: UUID

    @property
    def total_minor(self) -> int:
        """Lines + shipping + tax − discount; the last three are 0 until they are built."""
        return self.subtotal_minor


class Order(msgspec.Struct, frozen=True):
    """An order's own row."""

    id: UUID
    number: str
    user_id: UUID | None
    email: str
    status: Status
    payment_status: PaymentStatus
    fulfillment_status: FulfillmentStatus
    currency: str
    subtotal_minor: int
    discount_minor: int
    shipping_minor: int
    tax_minor: int
    total_minor: int
    shipping_address: dict[str, Any]
    billing_address: dict[str, Any] | None
    reservation_id: UUID
    history: list[dict[str, Any]]
    version: int
    created_at: datetime
    updated_at: datetime


class Line(msgspec.Struct, frozen=True):
    """A line with what became of its units."""

    order_id: UUID
    position: int
    sku: str
    title: str
    quantity: int
    unit_price_minor: int
    total_minor: int
    fulfilled_quantity: int
    refunded_quantity: int

    def sold(self, quantity: int) -> SoldLine:
        """So many units of it, as events tell."""
        return SoldLine(
            self.sku, self.title, quantity, self.unit_price_minor, self.unit_price_minor * quantity
        )


class Payment(msgspec.Struct, frozen=True):
    """An order's payment: refunded ≤ captured ≤ authorized ≤ amount."""

    id: UUID
    order_id: UUID
    provider: str
    state: Literal["pending", "unclear", "authorized", "capturing", "captured", "failed", "voided"]
    currency: str
    amount_minor: int
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    reference: str
    tries: int
    created_at: datetime


def summed(lines: Sequence[PricedLine]) -> tuple[tuple[SoldLine, ...], int]:
    """The lines with their totals, and their sum. Raises Invalid past TOTAL_MOST_MINOR."""
    sold = tuple(
        SoldLine(
            one.sku,
            one.title,
            one.quantity,
            one.unit_price_minor,
            one.unit_price_minor * one.quantity,
        )
        for one in lines
    )
    total = sum(line.total_minor for line in sold)
    if total > TOTAL_MOST_MINOR:
        fault = FieldError("lines", f"their total is more than {TOTAL_MOST_MINOR} minor units")
        raise Invalid("the total is more than one order may have; split it", errors=[fault])
    return sold, total


def naming(refusal: NotSold | NoPrice, field: str = "lines") -> NotSold | NoPrice:
    """The refusal with the fields of the request that it is about."""
    skus: Sequence[str] = refusal.extra.get("skus", ())
    faults = [FieldError(field, f"{sku}: {refusal.title.lower()}") for sku in skus[:20]]
    faults = faults or [FieldError("currency", refusal.detail)]
    return type(refusal)(refusal.detail, errors=faults, extra=refusal.extra)


def entry(kind: str, at: datetime, **more: Any) -> dict[str, Any]:
    """One line of an order's history; what it says of money is Money."""
    return {"kind": kind, "at": at, **more}


def check_cancellable(order: Order) -> None:
    """Only before anything was shipped, and once."""
    if order.status == "cancelled":
        raise WrongState("the order is cancelled already")
    if order.fulfillment_status != "unfulfilled":
        raise WrongState("the order was shipped, in whole or in part; ask for a refund instead")


def check_shippable(order: Order) -> None:
    """Authorized and paid orders may ship; pending, failed and cancelled ones may not."""
    if order.status != "placed":
        raise WrongState("the order is cancelled")
    if order.payment_status in ("pending", "failed", "refunded"):
        raise WrongState(f"the order's payment is {order.payment_status}; it may not ship")


def check_refund(payment: Payment, amount_minor: int) -> None:
    """Never more than was captured and not refunded yet."""
    left = payment.captured_minor - payment.refunded_minor
    if amount_minor > left:
        raise RefundTooLarge(
            f"{amount_minor} is more than the {left} (minor units) that can be refunded",
            extra={"refundable": {"amount": left, "currency": payment.currency}},
        )


def pick(
    lines: Sequence[Line],
    wanted: Sequence[tuple[str, int]] | None,
    used: Literal["fulfilled", "refunded"],
) -> list[tuple[Line, int]]:
    """The lines and quantities meant by `wanted` (None: all that is left), or Invalid.

    A SKU stands in one line of an order, since a checkout adds the same SKU up.
    """
    left = {
        line.sku: line.quantity
        - (line.fulfilled_quantity if used == "fulfilled" else line.refunded_quantity)
        for line in lines
    }
    by_sku = {line.sku: line for line in lines}
    if wanted is None:
        return [(line, left[line.sku]) for line in lines if left[line.sku]]
    picked: dict[str, int] = {}
    for sku, quantity in wanted:
        picked[sku] = picked.get(sku, 0) + quantity
    for sku, quantity in picked.items():
        if sku not in left:
            fault = FieldError("lines", f"{sku}: not in this order")
            raise Invalid(f"{sku} is not in this order", errors=[fault])
        if quantity > left[sku]:
            raise WrongState(f"{sku}: {quantity} is more than the {left[sku]} not yet {used}")
    return [(by_sku[sku], quantity) for sku, quantity in picked.items()]


def fulfillment_status(lines: Sequence[Line], shipped: Mapping[str, int]) -> FulfillmentStatus:
    """After these units are shipped too."""
    open_units = sum(
        line.quantity - line.fulfilled_quantity - shipped.get(line.sku, 0) for line in lines
    )
    return "partially_fulfilled" if open_units else "fulfilled"


def refund_status(payment: Payment, amount_minor: int) -> PaymentStatus:
    """After so much more is refunded."""
    whole = payment.refunded_minor + amount_minor >= payment.captured_minor
    return "refunded" if whole else "partially_refunded"

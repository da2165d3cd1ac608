"""Rules of stock; one rule: what is reserved can never be more than what is on hand.

Pure: levels in, decisions out. The guards in the SQL and the CHECKs say the same once more.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from tradewind.products.contract import (
    NoPrice,
    NotSold,
    OutOfStock,
    PricedLine,
    QuotedLine,
    Refusal,
    Reserve,
)

Reason = Literal["received", "sold", "sold_elsewhere", "damaged", "counted", "returned"]
ReservationState = Literal["held", "kept", "confirmed", "released", "expired", "cancelled", "lost"]


class Level(msgspec.Struct, frozen=True):
    """How much there is of a SKU."""

    sku: str
    on_hand: int
    reserved: int
    updated_at: datetime

    @property
    def available(self) -> int:
        """What may still be sold."""
        return self.on_hand - self.reserved


class Movement(msgspec.Struct, frozen=True):
    """One change of what is on hand; `delta` is not 0."""

    sku: str
    delta: int
    reason: Reason
    order_id: UUID | None = None


class Article(msgspec.Struct, frozen=True):
    """A SKU as it is sold now, read together with its level."""

    sku: str
    title: str
    unit_price_minor: int
    currency: str
    active: bool
    available: int


class Reservation(msgspec.Struct, frozen=True):
    """Stock held for one purchase: `lines` is quantity by SKU."""

    id: UUID
    state: ReservationState
    lines: dict[str, int]


def quoted(
    skus: Sequence[str], currency: str | None, articles: Mapping[str, Article]
) -> tuple[QuotedLine, ...] | NotSold | NoPrice:
    """The SKUs as they are sold, or why they are not."""
    missing = [sku for sku in skus if sku not in articles or not articles[sku].active]
    if missing:
        return NotSold(f"not sold here: {', '.join(missing[:10])}", extra={"skus": missing})
    currency = currency or (articles[skus[0]].currency if skus else None)
    other = [sku for sku in skus if articles[sku].currency != currency]
    if other:
        return NoPrice(f"no price in {currency}: {', '.join(other[:10])}", extra={"skus": other})
    return tuple(
        QuotedLine(
            sku=sku,
            title=(article := articles[sku]).title,
            unit_price_minor=article.unit_price_minor,
            currency=article.currency,
            available=article.available,
        )
        for sku in skus
    )


def allocated(
    request: Reserve, articles: Mapping[str, Article], available: dict[str, int]
) -> tuple[PricedLine, ...] | Refusal:
    """Takes the request's units from `available`, all or none, and prices them."""
    quote = quoted([line.sku for line in request.lines], request.currency, articles)
    if isinstance(quote, NotSold | NoPrice):
        return quote
    short = [line for line in request.lines if available[line.sku] < line.quantity]
    if short:
        return OutOfStock(
            "not enough in stock: "
            + ", ".join(f"{line.sku} ({available[line.sku]} left)" for line in short[:10]),
            extra={
                "lines": [
                    {"sku": line.sku, "requested": line.quantity, "available": available[line.sku]}
                    for line in short
                ]
            },
        )
    for line in request.lines:
        available[line.sku] -= line.quantity
    return tuple(
        PricedLine(line.sku, one.title, line.quantity, one.unit_price_minor)
        for line, one in zip(request.lines, quote, strict=True)
    )

"""All that others may import of products; one rule: what is charged comes from `reserve`.

Every call takes a list and answers one outcome for each member, in order: one request is a list of
one, and one bad member never fails its neighbours.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Protocol
from uuid import UUID

import msgspec

from tradewind.platform.errors import Conflict, Invalid, NotFound
from tradewind.platform.events import Event


class OutOfStock(Conflict):
    """Less is available than was asked for; `extra["lines"]`: `{sku, requested, available}`."""

    code = "out_of_stock"
    title = "Out of stock"


class NotSold(Invalid):
    """A SKU does not exist, or is not active. `extra["skus"]` names them."""

    code = "not_sold"
    title = "Not sold here"


class NoPrice(Invalid):
    """A SKU has no price in the currency that was asked for."""

    code = "no_price_in_currency"
    title = "No price in this currency"


class ReservationGone(Conflict):
    """The reservation is over: it expired, or was released."""

    code = "reservation_gone"
    title = "The reservation is over"


class InsufficientStock(Conflict):
    """The change would take away what is reserved, or what is not there."""

    code = "insufficient_stock"
    title = "Not enough in stock"


class SkuNotFound(NotFound):
    """No such SKU."""

    code = "sku_not_found"
    title = "SKU not found"


class Wanted(msgspec.Struct, frozen=True):
    """So many units of one SKU."""

    sku: str
    quantity: int


class Reserve(msgspec.Struct, frozen=True):
    """A wish to hold stock. The same `reservation_id` again finds what it holds already.

    One that was released or expired is held anew; one that became an order is ReservationGone.
    `lines` name each SKU once. `currency` None: the currency that the first SKU is priced in.
    """

    reservation_id: UUID
    lines: tuple[Wanted, ...]
    currency: str | None = None


class PricedLine(msgspec.Struct, frozen=True):
    """What one line costs now."""

    sku: str
    title: str
    quantity: int
    unit_price_minor: int


class Reserved(msgspec.Struct, frozen=True):
    """Held until `expires_at` (database time) unless kept, confirmed or released before."""

    reservation_id: UUID
    currency: str
    lines: tuple[PricedLine, ...]
    expires_at: datetime


class Quote(msgspec.Struct, frozen=True):
    """A question for prices, titles and availability; `currency` as in Reserve.

    Without SKUs: whether anything is priced in the currency (NoPrice if not).
    """

    skus: tuple[str, ...]
    currency: str | None = None


class QuotedLine(msgspec.Struct, frozen=True):
    """One SKU as it is sold now; `available` may be less the next moment."""

    sku: str
    title: str
    unit_price_minor: int
    currency: str
    available: int


Refusal = OutOfStock | NotSold | NoPrice | ReservationGone


class Products(Protocol):
    """What other services may ask of products."""

    async def reserve(self, requests: Sequence[Reserve]) -> list[Reserved | Refusal]:
        """Holds the stock of each request whole or not at all, for 10 minutes of database time."""
        ...

    async def extend(self, reservation_ids: Sequence[UUID]) -> list[bool]:
        """Holds each for another 10 minutes from now; False where it is over (ReservationGone)."""
        ...

    async def release(self, reservation_ids: Sequence[UUID]) -> None:
        """Gives back what each still holds; unknown, confirmed or released ones are no error."""
        ...

    async def quote(
        self, requests: Sequence[Quote]
    ) -> list[tuple[QuotedLine, ...] | NotSold | NoPrice]:
        """Prices and availability, in the order of the SKUs; takes nothing."""
        ...


class ProductsChanged(Event, frozen=True, kw_only=True):
    """Products were made, edited, archived or given stock; pages that show them are out of date."""

    TYPE: ClassVar[str] = "products.products_changed.v1"
    product_ids: tuple[UUID, ...]

    @property
    def key(self) -> str:
        """Of no order among each other."""
        return "products"


class ReservationLost(Event, frozen=True, kw_only=True):
    """An order was placed on a reservation that had expired, and its stock is sold meanwhile."""

    TYPE: ClassVar[str] = "products.reservation_lost.v1"
    reservation_id: UUID
    order_id: UUID

    @property
    def key(self) -> str:
        """The order."""
        return str(self.order_id)

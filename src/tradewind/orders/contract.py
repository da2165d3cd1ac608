"""All that others may import of orders; one rule: an event tells all that its readers need.

Amounts are minor units of the order's currency.
"""

from collections.abc import Sequence
from typing import ClassVar, Protocol
from uuid import UUID

import msgspec

from tradewind.platform.errors import Conflict, Invalid, NotFound, PaymentRequired
from tradewind.platform.events import Event


class CartNotFound(NotFound):
    """No such cart for the one who asks."""

    code = "cart_not_found"
    title = "Cart not found"


class OrderNotFound(NotFound):
    """No such order for the one who asks."""

    code = "order_not_found"
    title = "Order not found"


class CartCheckedOut(Conflict):
    """The cart was bought already."""

    code = "cart_checked_out"
    title = "The cart was checked out"


class CartEmpty(Invalid):
    """There is nothing in it to buy."""

    code = "cart_empty"
    title = "The cart is empty"


class TotalChanged(Conflict):
    """The total is not what was expected. `extra["total"]` is the new one."""

    code = "total_changed"
    title = "The total changed"


class PaymentDeclined(PaymentRequired):
    """The provider refused; nothing was taken. `extra["reason"]` is the provider's."""

    code = "payment_declined"
    title = "Payment declined"


class WrongState(Conflict):
    """The order's state does not allow it."""

    code = "wrong_order_state"
    title = "The order's state does not allow it"


class RefundTooLarge(Conflict):
    """More than was captured and not refunded yet."""

    code = "refund_too_large"
    title = "More than can be refunded"


class SoldLine(msgspec.Struct, frozen=True):
    """One line of an order as it was sold."""

    sku: str
    title: str
    quantity: int
    unit_price_minor: int
    total_minor: int


class _OrderEvent(Event, frozen=True, kw_only=True):
    """What every event about an order says."""

    order_id: UUID
    number: str
    user_id: UUID | None
    email: str
    reservation_id: UUID
    currency: str
    total_minor: int

    @property
    def key(self) -> str:
        """The order: its events are kept in order."""
        return str(self.order_id)


class OrderPlaced(_OrderEvent, frozen=True, kw_only=True):
    """An order stands. `payment_status`: pending (stock stays reserved), authorized or paid."""

    TYPE: ClassVar[str] = "orders.order_placed.v1"
    payment_status: str
    lines: tuple[SoldLine, ...]
    token: str
    """With it a guest reads the order."""


class PaymentSettled(_OrderEvent, frozen=True, kw_only=True):
    """A pending payment came through (`payment_status` authorized or paid): the order is sold."""

    TYPE: ClassVar[str] = "orders.payment_settled.v1"
    payment_status: str
    lines: tuple[SoldLine, ...]
    token: str


class PaymentFailed(_OrderEvent, frozen=True, kw_only=True):
    """A pending payment failed: the order is cancelled and its reservation is to be released."""

    TYPE: ClassVar[str] = "orders.payment_failed.v1"
    reason: str


class CheckoutDeclined(Event, frozen=True, kw_only=True):
    """A payment was refused at checkout: no order came of it; the reservation is to be released."""

    TYPE: ClassVar[str] = "orders.checkout_declined.v1"
    order_id: UUID
    user_id: UUID | None
    email: str
    reservation_id: UUID
    currency: str
    total_minor: int
    reason: str

    @property
    def key(self) -> str:
        """The order that would have been."""
        return str(self.order_id)


class OrderCancelled(_OrderEvent, frozen=True, kw_only=True):
    """Cancelled before fulfilment; `lines` go back to stock, `refunded_minor` to the customer."""

    TYPE: ClassVar[str] = "orders.order_cancelled.v1"
    lines: tuple[SoldLine, ...]
    refunded_minor: int


class OrderRefunded(_OrderEvent, frozen=True, kw_only=True):
    """Money goes back; `lines`, where given, go back to stock."""

    TYPE: ClassVar[str] = "orders.order_refunded.v1"
    refund_id: UUID
    amount_minor: int
    reason: str
    lines: tuple[SoldLine, ...]


class OrderShipped(_OrderEvent, frozen=True, kw_only=True):
    """A parcel is on its way."""

    TYPE: ClassVar[str] = "orders.order_shipped.v1"
    fulfillment_id: UUID
    lines: tuple[SoldLine, ...]
    carrier: str | None
    tracking: str | None


class OrderDelivered(_OrderEvent, frozen=True, kw_only=True):
    """A parcel has arrived."""

    TYPE: ClassVar[str] = "orders.order_delivered.v1"
    fulfillment_id: UUID


class CartAdoption(msgspec.Struct, frozen=True):
    """A guest who signed in brings the cart along; `cart_token` is the guest's secret."""

    user_id: UUID
    cart_token: str


class HeldOrders(msgspec.Struct, frozen=True):
    """Everything held about a person's orders, ready to be shown as JSON."""

    orders: msgspec.Raw
    carts: msgspec.Raw


class Orders(Protocol):
    """What other services may ask of orders."""

    async def adopt_carts(self, adoptions: Sequence[CartAdoption]) -> list[bool]:
        """Makes each guest's open cart the user's; False where there is none."""
        ...

    async def standing(self, reservation_ids: Sequence[UUID]) -> list[bool]:
        """Whether an order was placed on each reservation, whatever has been told of it so far."""
        ...

    async def export(self, user_id: UUID) -> HeldOrders:
        """What is held about a person, for their export."""
        ...

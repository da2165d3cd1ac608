"""What the actions of orders work with; one rule: everything from outside comes in here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

from tradewind.orders.model.payment import PaymentProvider
from tradewind.platform.config import Positive, Seconds
from tradewind.platform.database import Database
from tradewind.platform.errors import StoreError
from tradewind.platform.outbox import Outbox
from tradewind.products.contract import Products


class OrdersSettings(msgspec.Struct, frozen=True):
    """Settings of the orders service (`TRADEWIND_ORDERS_…`)."""

    quantity_most: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 100_000
    """Units of one SKU in one cart or order."""
    lines_most: Positive = 2000
    """Different SKUs in one cart or order."""
    cart_days: Positive = 30
    """How long a cart stays that nobody touches."""
    charge_seconds: Seconds = 8.0
    """How long the payment provider may take before the outcome counts as unclear."""
    lease_seconds: Seconds = 15.0
    """After how long a checkout without an end is taken up by whoever runs."""
    payment_provider: str = "test"
    """Whom a checkout asks that names no provider; there is only `test` so far."""
    test_settle_seconds: Seconds = 10.0
    """After how long the test provider decides a `tok_pending`."""


@dataclass(frozen=True, slots=True)
class OrdersContext:
    """One process's orders service."""

    database: Database
    outbox: Outbox
    settings: OrdersSettings
    products: Products
    providers: Mapping[str, PaymentProvider]
    token_secret: bytes
    """With it the tokens of guests' orders are made; 32 bytes."""
    render: Callable[[StoreError, str], tuple[int, bytes]]
    """A refusal as it is answered and stored: status and body, with the request's id."""

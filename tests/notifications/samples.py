"""Events as other services publish them, with whatever a test wants different."""

import uuid
from datetime import UTC, datetime
from typing import Any

from tradewind.orders.contract import (
    CheckoutDeclined,
    OrderCancelled,
    OrderDelivered,
    OrderPlaced,
    OrderRefunded,
    OrderShipped,
    PaymentFailed,
    PaymentSettled,
    SoldLine,
)
from tradewind.platform.events import Event
from tradewind.platform.ids import new_id
from tradewind.users.contract import (
    AddressAlreadyRegistered,
    EmailChanged,
    PasswordResetRequested,
    UserErased,
    UserRegistered,
)

LINES = (
    SoldLine("KETTLE", "Kettle", 2, 1250, 2500),
    SoldLine("CUP", "Cup & saucer", 1, 1499, 1499),
)


def email() -> str:
    """An address that nobody has."""
    return f"{uuid.uuid4().hex[:12]}@example.com"


def _order(**different: Any) -> dict[str, Any]:
    order_id = different.get("order_id", new_id())
    return {
        "order_id": order_id,
        "number": f"TW-{order_id.hex[-8:].upper()}",
        "user_id": None,
        "email": email(),
        "reservation_id": new_id(),
        "currency": "EUR",
        "total_minor": 3999,
        **different,
    }


def order_placed(**different: Any) -> OrderPlaced:
    """A guest's paid order of two lines."""
    more: dict[str, Any] = {
        "payment_status": "paid",
        "lines": LINES,
        "token": uuid.uuid4().hex,
        **different,
    }
    return OrderPlaced(**_order(**more))


def payment_settled(**different: Any) -> PaymentSettled:
    """A pending order that is paid now."""
    more: dict[str, Any] = {
        "payment_status": "paid",
        "lines": LINES,
        "token": uuid.uuid4().hex,
        **different,
    }
    return PaymentSettled(**_order(**more))


def payment_failed(**different: Any) -> PaymentFailed:
    """A pending order whose payment failed."""
    return PaymentFailed(**_order(**{"reason": "insufficient_funds", **different}))


def checkout_declined(**different: Any) -> CheckoutDeclined:
    """A refused card."""
    more = _order(**{"reason": "card_declined", **different})
    del more["number"]
    return CheckoutDeclined(**more)


def order_cancelled(**different: Any) -> OrderCancelled:
    """A paid order that was cancelled."""
    return OrderCancelled(**_order(**{"lines": LINES, "refunded_minor": 3999, **different}))


def order_refunded(**different: Any) -> OrderRefunded:
    """Some money back."""
    more: dict[str, Any] = {
        "refund_id": new_id(),
        "amount_minor": 1499,
        "reason": "late",
        "lines": (),
    }
    return OrderRefunded(**_order(**{**more, **different}))


def order_shipped(**different: Any) -> OrderShipped:
    """A parcel with everything in it."""
    more: dict[str, Any] = {
        "fulfillment_id": new_id(),
        "lines": LINES,
        "carrier": "DHL",
        "tracking": "00340434",
    }
    return OrderShipped(**_order(**{**more, **different}))


def order_delivered(**different: Any) -> OrderDelivered:
    """A parcel that arrived."""
    return OrderDelivered(**_order(**{"fulfillment_id": new_id(), **different}))


def user_registered(**different: Any) -> UserRegistered:
    """A new account."""
    more: dict[str, Any] = {
        "user_id": new_id(),
        "email": email(),
        "name": "Ann Lee",
        "verification_token": f"verify-{uuid.uuid4().hex}",
    }
    return UserRegistered(**{**more, **different})


def password_reset_requested(**different: Any) -> PasswordResetRequested:
    """A forgotten password."""
    more: dict[str, Any] = {
        "user_id": new_id(),
        "email": email(),
        "name": "Ann Lee",
        "reset_token": f"reset-{uuid.uuid4().hex}",
        "expires_at": datetime(2030, 5, 6, 7, 8, tzinfo=UTC),
    }
    return PasswordResetRequested(**{**more, **different})


def address_already_registered(**different: Any) -> AddressAlreadyRegistered:
    """A second registration of an address."""
    more: dict[str, Any] = {"user_id": new_id(), "email": email(), "name": "Ann Lee"}
    return AddressAlreadyRegistered(**{**more, **different})


def email_changed(**different: Any) -> EmailChanged:
    """A new address."""
    more: dict[str, Any] = {
        "user_id": new_id(),
        "old_email": email(),
        "email": email(),
        "name": "Ann Lee",
        "verification_token": f"verify-{uuid.uuid4().hex}",
    }
    return EmailChanged(**{**more, **different})


def user_erased(**different: Any) -> UserErased:
    """An account that is gone."""
    more: dict[str, Any] = {"user_id": new_id(), "email": email()}
    return UserErased(**{**more, **different})


def one_of_each(user_id: uuid.UUID, address: str) -> list[Event]:
    """Every kind of event that is told, about one customer."""
    whose: dict[str, Any] = {"user_id": user_id, "email": address}
    return [
        user_registered(**whose),
        password_reset_requested(**whose),
        address_already_registered(**whose),
        email_changed(**whose, old_email=address),
        order_placed(**whose),
        payment_settled(**whose),
        payment_failed(**whose),
        checkout_declined(**whose),
        order_shipped(**whose),
        order_delivered(**whose),
        order_cancelled(**whose),
        order_refunded(**whose),
    ]

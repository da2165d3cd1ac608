"""Entries of the inbox and their words; one rule: plain text, whatever the facts contain."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from tradewind.notifications.model.facts import Facts, plain
from tradewind.platform.money import formatted


class Entry(msgspec.Struct, frozen=True):
    """One entry as it is saved. Positions of one person grow in the order of commits."""

    id: UUID
    position: int
    kind: str
    order_id: UUID | None
    data: bytes
    read_at: datetime | None
    created_at: datetime


class Words(msgspec.Struct, frozen=True):
    """What an entry says."""

    title: str
    body: str


def words_of(kind: str, facts: Facts) -> Words:
    """The words for an entry of this kind."""
    written = _WORDS[kind](facts)
    return Words(plain(written.title), plain(written.body))


def _total(facts: Facts) -> str:
    return formatted(facts.total_minor, facts.currency)


def _welcome(_facts: Facts) -> Words:
    return Words("Welcome", "Your account is ready. What happens to your orders is told here.")


def _email_changed(_facts: Facts) -> Words:
    return Words(
        "Your e-mail address was changed",
        "If this was not you, reset your password at once and tell us.",
    )


def _order_confirmed(facts: Facts) -> Words:
    return Words(
        f"Order {facts.number} confirmed",
        f"We have your order of {_total(facts)} and are getting it ready.",
    )


def _payment_pending(facts: Facts) -> Words:
    return Words(
        f"Order {facts.number} received",
        f"Your payment of {_total(facts)} is not through yet. There is nothing you need to do: "
        "we confirm the order as soon as it is.",
    )


def _payment_failed(facts: Facts) -> Words:
    if facts.number is None:
        return Words(
            "Your payment did not go through",
            f"{_total(facts)} could not be paid, so no order was placed and nothing was taken.",
        )
    return Words(
        f"Payment failed for order {facts.number}",
        f"{_total(facts)} could not be paid, so the order was cancelled.",
    )


def _order_shipped(facts: Facts) -> Words:
    by = f" by {facts.carrier}" if facts.carrier else ""
    tracking = f" Tracking number: {facts.tracking}." if facts.tracking else ""
    return Words(f"Order {facts.number} is on its way", f"A parcel was handed over{by}.{tracking}")


def _order_delivered(facts: Facts) -> Words:
    return Words(f"Order {facts.number} has arrived", "Your parcel was delivered.")


def _order_cancelled(facts: Facts) -> Words:
    if facts.amount_minor:
        back = f"{formatted(facts.amount_minor, facts.currency)} is on its way back to you."
    else:
        back = "You owe nothing."
    return Words(f"Order {facts.number} cancelled", back)


def _order_refunded(facts: Facts) -> Words:
    amount = formatted(facts.amount_minor, facts.currency)
    return Words(f"Refund for order {facts.number}", f"{amount} is on its way back to you.")


_WORDS: Final[Mapping[str, Callable[[Facts], Words]]] = {
    "welcome": _welcome,
    "email_changed": _email_changed,
    "order_confirmed": _order_confirmed,
    "payment_pending": _payment_pending,
    "payment_failed": _payment_failed,
    "order_shipped": _order_shipped,
    "order_delivered": _order_delivered,
    "order_cancelled": _order_cancelled,
    "order_refunded": _order_refunded,
}

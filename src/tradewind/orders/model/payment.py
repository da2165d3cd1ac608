"""Payments as the store sees them; one rule: an attempt has one id, saved before anybody is asked.

The port that every provider implements. A provider treats a repeated attempt or refund id as the
same request (as Stripe does with its Idempotency-Key): so an unanswered call can be made again.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

import msgspec

Verdict = Literal["captured", "authorized", "pending", "declined"]


class ProviderDown(Exception):
    """The provider was not reached: nothing was taken."""


class ProviderUnclear(Exception):
    """No answer, or an error: it may have been done or not. The same id may be sent again."""


class Charge(msgspec.Struct, frozen=True):
    """A wish for money. `token` stands for the customer's means of payment at the provider."""

    attempt_id: UUID
    order_id: UUID
    token: str
    amount_minor: int
    currency: str


class Charged(msgspec.Struct, frozen=True):
    """What became of an attempt; `reason` says why it was declined."""

    verdict: Verdict
    reference: str
    reason: str = ""


class Notice(msgspec.Struct, frozen=True):
    """What a provider tells by webhook, its signature and age already checked."""

    notice_id: str
    attempt_id: UUID
    order_id: UUID
    verdict: Verdict
    amount_minor: int
    currency: str


class PaymentProvider(Protocol):
    """One payment provider. Every call may raise ProviderDown or ProviderUnclear."""

    @property
    def name(self) -> str:
        """As in `payment.provider` and in the webhook's path."""
        ...

    async def charge(self, wish: Charge) -> Charged:
        """Takes (or authorizes) the money, once per attempt id."""
        ...

    async def find(self, attempt_id: UUID) -> Charged | None:
        """What became of an attempt; None where the provider never saw it."""
        ...

    async def capture(self, attempt_id: UUID, amount_minor: int) -> None:
        """Takes what was authorized; again is the same."""
        ...

    async def refund(self, refund_id: UUID, attempt_id: UUID, amount_minor: int) -> None:
        """Gives back captured money, or lets go of authorized money, once per refund id."""
        ...

    def read_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:
        """Checks signature and age of a webhook; raises platform errors.Invalid."""
        ...

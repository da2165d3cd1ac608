"""What a reaction wants told; one rule: it says what happened, preferences say who hears of it."""

from uuid import UUID

import msgspec

from tradewind.notifications.model.kinds import Kind


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to tell one person, by mail, in the inbox, or both.

    `cause` is what happened (an order, a refund, a parcel): one thing is told once for each kind.
    Without an `email` there is no mail, without a `user_id` no entry.
    """

    kind: Kind
    cause: UUID
    user_id: UUID | None
    email: str | None
    order_id: UUID | None
    mail_data: bytes = b""
    entry_data: bytes = b""

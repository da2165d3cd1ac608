"""A message as staff see it; one rule: who was erased is in none of them."""

from datetime import datetime
from uuid import UUID

import msgspec

from tradewind.notifications.model.kinds import Kind, Status


class Message(msgspec.Struct, frozen=True):
    """One mail as it is saved. `recipient` and `data` are None once the recipient was erased."""

    id: UUID
    kind: str
    channel: str
    recipient: str | None
    order_id: UUID | None
    data: bytes | None
    status: str
    attempts: int
    error: str | None
    sent_at: datetime | None
    created_at: datetime


class Filters(msgspec.Struct, frozen=True):
    """Which messages to list; None means all."""

    kind: Kind | None = None
    recipient: str | None = None
    status: Status | None = None
    order_id: UUID | None = None

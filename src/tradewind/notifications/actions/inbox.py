"""A person's inbox; one rule: what belongs to someone else is not there."""

from datetime import datetime
from uuid import UUID

import msgspec

from tradewind.notifications.actions.context import NotificationsContext
from tradewind.notifications.contract import NotificationNotFound
from tradewind.notifications.model.entries import Entry, words_of
from tradewind.notifications.model.facts import decode
from tradewind.notifications.store import entries as store
from tradewind.platform.idempotency import Once


class NotificationView(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of the inbox. `orderId` is null where it is not about an order."""

    id: UUID
    kind: str
    title: str
    body: str
    order_id: UUID | None
    read_at: datetime | None
    created_at: datetime


def view_of(entry: Entry) -> NotificationView:
    """As the API shows it."""
    words = words_of(entry.kind, decode(entry.data))
    return NotificationView(
        entry.id,
        entry.kind,
        words.title,
        words.body,
        entry.order_id,
        entry.read_at,
        entry.created_at,
    )


async def list_entries(
    context: NotificationsContext,
    user_id: UUID,
    before: int | None,
    most: int,
    *,
    only_unread: bool,
) -> list[Entry]:
    """Entries before a position, newest first."""
    async with context.database.reading() as reading:
        return await store.list_entries(
            reading,
            user_id,
            store.FIRST if before is None else before,
            most,
            only_unread=only_unread,
        )


async def mark_read(
    context: NotificationsContext, user_id: UUID, entry_id: UUID, once: Once
) -> NotificationView:
    """Marks an entry as read; again changes nothing."""
    async with context.database.transaction(once) as tx:
        entry = await store.update_read(tx, user_id, entry_id)
        if entry is None:
            raise NotificationNotFound("There is no such notification in your inbox.")
        return once.answer(view_of(entry))

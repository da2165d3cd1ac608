"""A person's right to see and to be forgotten; one rule: rows stay to be counted, people go."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID

import msgspec

from tradewind.notifications.actions import inbox, messages
from tradewind.notifications.actions.context import NotificationsContext
from tradewind.notifications.contract import HeldMessages
from tradewind.notifications.model.entries import Entry
from tradewind.notifications.model.kinds import switches_of
from tradewind.notifications.model.messages import Message
from tradewind.notifications.store import entries as entry_store
from tradewind.notifications.store import messages as message_store
from tradewind.notifications.store import people as people_store
from tradewind.platform import idempotency
from tradewind.platform.database import Transaction

ERASED_KEPT_DAYS = 8
"""A day longer than inboxes remember events: nothing about the person can come after that."""
_SWEEP_MOST = 1000
_PAGE = 100
_Row = TypeVar("_Row")


async def forget_people(
    context: NotificationsContext,
    tx: Transaction,
    user_ids: Sequence[UUID],
    emails: Sequence[str],
) -> None:
    """Takes people out of everything that is held about them.

    Their rows are marked first: an event about them that is being written has to be finished by
    then, and one that comes later finds the mark.
    """
    await people_store.update_erased(tx, user_ids)
    await entry_store.delete_entries_of(tx, user_ids)
    await message_store.update_erased(tx, user_ids, emails)
    await people_store.delete_answers_of(tx, user_ids)
    gone = list(user_ids)
    tx.after_commit(lambda: context.streams.end_of(gone))


async def sweep(context: NotificationsContext) -> bool:
    """Deletes what need not be kept any longer, a batch of each; answers whether there is more."""
    batches: list[Callable[[Transaction], Awaitable[int]]] = [
        lambda tx: people_store.delete_erased(tx, ERASED_KEPT_DAYS, _SWEEP_MOST),
        lambda tx: idempotency.delete_old(tx, _SWEEP_MOST),
    ]
    keep_days = context.settings.keep_read_days
    if keep_days is not None:
        batches.append(lambda tx: entry_store.delete_read(tx, keep_days, _SWEEP_MOST))
    counts: list[int] = []
    for delete in batches:
        async with context.database.transaction() as tx:
            counts.append(await delete(tx))
    return _SWEEP_MOST in counts


async def export(context: NotificationsContext, user_id: UUID) -> HeldMessages:
    """Everything held about a person.

    Secrets are masked: an export is a file that lies about, and a session must not turn into a
    password reset.
    """

    async def entries_before(last: Entry | None) -> list[Entry]:
        before = entry_store.FIRST if last is None else last.position
        async with context.database.reading() as reading:
            return await entry_store.list_entries(
                reading, user_id, before, _PAGE, only_unread=False
            )

    async def messages_before(last: Message | None) -> list[Message]:
        async with context.database.reading() as reading:
            return await message_store.list_messages_of(
                reading, user_id, None if last is None else last.id, _PAGE
            )

    async with context.database.reading() as reading:
        muted = await people_store.find_muted(reading, user_id)
    return HeldMessages(
        notifications=await _joined(entries_before, inbox.view_of),
        preferences=msgspec.Raw(msgspec.json.encode(switches_of(muted))),
        messages=await _joined(
            messages_before,
            lambda one: messages.view_of(context.letters, one, is_masked=True, with_html=False),
        ),
    )


async def _joined(
    page_after: Callable[[_Row | None], Awaitable[list[_Row]]],
    view: Callable[[_Row], msgspec.Struct],
) -> msgspec.Raw:
    """All rows as one JSON array, a page at a time, so that nobody else waits for the rendering."""
    parts: list[bytes] = []
    last: _Row | None = None
    while rows := await page_after(last):
        for row in rows:
            parts.append(msgspec.json.encode(view(row)))
            await asyncio.sleep(0)
        last = rows[-1]
    return msgspec.Raw(b"[" + b",".join(parts) + b"]")

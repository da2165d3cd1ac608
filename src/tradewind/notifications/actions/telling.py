"""Writing what people are told; one rule: saved as facts, for many people in one statement each.

Nothing is rendered here: this stands behind every order. Preferences are read under the lock that
also orders the inbox, so they hold as of the event, and nothing can slip past an erasure.
"""

from collections.abc import Sequence
from uuid import UUID

from tradewind.notifications.actions.context import NotificationsContext
from tradewind.notifications.model.drafts import Draft
from tradewind.notifications.model.kinds import is_wanted
from tradewind.notifications.store import entries as entry_store
from tradewind.notifications.store import messages as message_store
from tradewind.notifications.store import people as people_store
from tradewind.notifications.store.entries import NewEntry
from tradewind.notifications.store.messages import NewMessage
from tradewind.platform.database import Transaction
from tradewind.platform.ids import new_id

_NOTHING_MUTED: frozenset[str] = frozenset()


async def tell(context: NotificationsContext, tx: Transaction, drafts: Sequence[Draft]) -> None:
    """Writes an entry and a mail for each draft, as far as its person wants them."""
    entries, messages = await _choose(tx, drafts)
    if entries:
        await entry_store.insert_entries(tx, entries)
        user_ids = {one.user_id for one in entries}
        tx.after_commit(lambda: _wake_streams(context, user_ids))
    if messages:
        await message_store.insert_messages(tx, messages, is_kept=context.carrier is None)
        if context.carrier is not None:
            tx.after_commit(context.mail_bell.ring)


async def _choose(
    tx: Transaction, drafts: Sequence[Draft]
) -> tuple[list[NewEntry], list[NewMessage]]:
    """What of the drafts is to be written; locks the people that they are for."""
    places: dict[UUID, int] = {}
    for draft in drafts:
        if draft.user_id is not None:
            places[draft.user_id] = places.get(draft.user_id, 0) + (1 if draft.entry_data else 0)
    people = await people_store.lock_people(tx, places) if places else {}
    position = {one: people[one].last_position - places[one] for one in places}
    entries: list[NewEntry] = []
    messages: list[NewMessage] = []
    for draft in drafts:
        user_id, muted = draft.user_id, _NOTHING_MUTED
        if user_id is not None:
            person = people[user_id]
            if person.is_erased:
                continue
            muted = person.muted
            if draft.entry_data and is_wanted(muted, draft.kind, "inbox"):
                position[user_id] += 1
                entries.append(_entry(draft, user_id, position[user_id]))
        if draft.email is not None and draft.mail_data and is_wanted(muted, draft.kind, "email"):
            messages.append(_message(draft, draft.email))
    return entries, messages


def _entry(draft: Draft, user_id: UUID, position: int) -> NewEntry:
    return NewEntry(
        new_id(), user_id, position, draft.cause, draft.kind, draft.order_id, draft.entry_data
    )


def _message(draft: Draft, email: str) -> NewMessage:
    return NewMessage(
        new_id(), draft.cause, draft.kind, draft.user_id, email, draft.order_id, draft.mail_data
    )


def _wake_streams(context: NotificationsContext, user_ids: set[UUID]) -> None:
    context.streams.wake(user_ids)
    context.streams.untold |= user_ids
    context.stream_bell.ring()

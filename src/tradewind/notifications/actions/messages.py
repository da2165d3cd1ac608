"""Messages as staff read them; one rule: where mail really leaves, nobody here reads its secrets.

With a mail server the recipient alone gets the secret part of a link; without one the store is the
mailbox, so the mail is shown as it is.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from tradewind.notifications.actions.context import NotificationsContext
from tradewind.notifications.contract import MessageErased, MessageNotFound
from tradewind.notifications.model.facts import decode, masked
from tradewind.notifications.model.letters import Letter, Letters
from tradewind.notifications.model.messages import Filters, Message
from tradewind.notifications.store import messages as store
from tradewind.platform.idempotency import Once

_ERASED = Letter("(erased)", "", "")


class MessageView(msgspec.Struct, frozen=True, rename="camel"):
    """One mail. `recipient` is null, and the words are gone, once the recipient was erased.

    `error` is the last failure, in the mail server's own words. `html` is in single views only.
    """

    id: UUID
    recipient: str | None
    kind: str
    channel: str
    status: str
    attempts: int
    subject: str
    body: str
    order_id: UUID | None
    error: str | None
    sent_at: datetime | None
    created_at: datetime
    html: str | msgspec.UnsetType = msgspec.UNSET


def letter_of(letters: Letters, message: Message, *, is_masked: bool) -> Letter:
    """What a message says, with or without the secret parts of its links."""
    if message.data is None:
        return _ERASED
    facts = decode(message.data)
    return letters.write(message.kind, masked(facts) if is_masked else facts)


def view_of(letters: Letters, message: Message, *, is_masked: bool, with_html: bool) -> MessageView:
    """As the API shows it."""
    letter = letter_of(letters, message, is_masked=is_masked)
    return MessageView(
        id=message.id,
        recipient=message.recipient,
        kind=message.kind,
        channel=message.channel,
        status=message.status,
        attempts=message.attempts,
        subject=letter.subject,
        body=letter.text,
        order_id=message.order_id,
        error=message.error,
        sent_at=message.sent_at,
        created_at=message.created_at,
        html=letter.html if with_html else msgspec.UNSET,
    )


def _shown(
    context: NotificationsContext, message: Message, *, with_html: bool = False
) -> MessageView:
    is_masked = context.carrier is not None
    return view_of(context.letters, message, is_masked=is_masked, with_html=with_html)


async def list_messages(
    context: NotificationsContext, filters: Filters, before: UUID | None, most: int
) -> list[MessageView]:
    """A page of messages, newest first."""
    async with context.database.reading() as reading:
        found = await store.list_messages(reading, filters, before, most)
    return [_shown(context, message) for message in found]


async def show_message(context: NotificationsContext, message_id: UUID) -> MessageView:
    """One message with its HTML."""
    async with context.database.reading() as reading:
        message = await store.find_message(reading, message_id)
    if message is None:
        raise MessageNotFound("There is no such message.")
    return _shown(context, message, with_html=True)


async def resend_message(
    context: NotificationsContext, message_id: UUID, once: Once
) -> MessageView:
    """Queues a message again; one that is queued already is tried at once."""
    async with context.database.transaction(once) as tx:
        message = await store.update_resent(tx, message_id)
        if message is None:
            if await store.find_message(tx, message_id) is None:
                raise MessageNotFound("There is no such message.")
            raise MessageErased("The recipient was erased: there is nobody to send it to.")
        tx.after_commit(context.mail_bell.ring)
        return once.answer(_shown(context, message))

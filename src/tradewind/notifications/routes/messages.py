"""Messages over HTTP, for staff; one rule: every mail can be found, and read as it was written."""

from typing import Annotated
from uuid import UUID

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from tradewind.notifications.actions import messages
from tradewind.notifications.actions.context import NotificationsContext
from tradewind.notifications.actions.messages import MessageView
from tradewind.notifications.model.kinds import Kind, Status
from tradewind.notifications.model.messages import Filters
from tradewind.platform.idempotency import Once
from tradewind.platform.sessions import staff
from tradewind.platform.web.pages import (
    DEFAULT_LIMIT,
    Cursor,
    Limit,
    Page,
    read_cursor,
    write_cursor,
)

TAGS = ["Notifications"]

OfKind = Annotated[Kind | None, QueryParameter(name="kind")]
OfStatus = Annotated[Status | None, QueryParameter(name="status")]
ToRecipient = Annotated[
    str | None,
    QueryParameter(
        name="recipient",
        max_length=254,
        pattern=r"^[^\x00]*$",
        description="The whole address, in any case.",
    ),
]
AboutOrder = Annotated[UUID | None, QueryParameter(name="orderId")]


@get("/v1/messages", guards=[staff], tags=TAGS)
async def list_messages(
    notifications: NamedDependency[NotificationsContext],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    kind: OfKind = None,
    recipient: ToRecipient = None,
    status: OfStatus = None,
    order_id: AboutOrder = None,
) -> Page[MessageView]:
    """Every mail, newest first."""
    filters = Filters(kind=kind, recipient=recipient, status=status, order_id=order_id)
    before = read_cursor(cursor, UUID)
    found = await messages.list_messages(notifications, filters, before, limit + 1)
    more = len(found) > limit
    return Page(found[:limit], write_cursor(found[limit - 1].id) if more else None)


@get("/v1/messages/{message_id:uuid}", guards=[staff], tags=TAGS)
async def get_message(
    message_id: FromPath[UUID], notifications: NamedDependency[NotificationsContext]
) -> MessageView:
    """One mail, with its HTML."""
    return await messages.show_message(notifications, message_id)


@post("/v1/messages/{message_id:uuid}/resend", guards=[staff], tags=TAGS, status_code=202)
async def resend_message(
    message_id: FromPath[UUID],
    notifications: NamedDependency[NotificationsContext],
    once: NamedDependency[Once],
) -> MessageView:
    """Queue a mail again; one that is queued already is tried at once."""
    return await messages.resend_message(notifications, message_id, once)

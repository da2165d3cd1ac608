"""The inbox and the preferences over HTTP; one rule: everybody sees and changes their own only."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from tradewind.notifications.actions import inbox, preferences
from tradewind.notifications.actions.context import NotificationsContext
from tradewind.notifications.actions.inbox import NotificationView
from tradewind.notifications.actions.preferences import PreferencesView
from tradewind.notifications.model.kinds import Switches
from tradewind.platform.errors import FieldError, Invalid
from tradewind.platform.idempotency import Once
from tradewind.platform.principals import Principal
from tradewind.platform.sessions import signed_in
from tradewind.platform.web.pages import (
    DEFAULT_LIMIT,
    Cursor,
    Limit,
    Page,
    read_cursor,
    write_cursor,
)

TAGS = ["Notifications"]
_POSITION_MOST = 2**63 - 1

Unread = Annotated[bool, QueryParameter(name="unread", description="Only what was not read yet.")]


class PreferencesBody(msgspec.Struct, frozen=True):
    """Everything that is wanted or not. A kind or channel that is left out is on."""

    preferences: Annotated[dict[str, Switches], msgspec.Meta(max_length=100)]


@get("/v1/notifications", guards=[signed_in], tags=TAGS)
async def list_notifications(
    principal: NamedDependency[Principal],
    notifications: NamedDependency[NotificationsContext],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    unread: Unread = False,
) -> Page[NotificationView]:
    """My inbox, newest first; `?unread=true` for what I have not read."""
    before = read_cursor(cursor, int)
    if before is not None and not 0 < before <= _POSITION_MOST:
        fault = FieldError("cursor", "This is not a cursor of this list.")
        raise Invalid("The cursor cannot be read.", errors=[fault])
    found = await inbox.list_entries(
        notifications, principal.user_id, before, limit + 1, only_unread=unread
    )
    more = len(found) > limit
    return Page(
        [inbox.view_of(entry) for entry in found[:limit]],
        write_cursor(found[limit - 1].position) if more else None,
    )


@post(
    "/v1/notifications/{notification_id:uuid}/read",
    guards=[signed_in],
    tags=TAGS,
    status_code=200,
)
async def read_notification(
    notification_id: FromPath[UUID],
    principal: NamedDependency[Principal],
    notifications: NamedDependency[NotificationsContext],
    once: NamedDependency[Once],
) -> NotificationView:
    """Mark a notification as read; again changes nothing."""
    return await inbox.mark_read(notifications, principal.user_id, notification_id, once)


@get("/v1/notification-preferences", guards=[signed_in], tags=TAGS)
async def get_preferences(
    principal: NamedDependency[Principal],
    notifications: NamedDependency[NotificationsContext],
) -> PreferencesView:
    """What I want to be told, by kind and channel; `required` names what is always on."""
    return await preferences.show_preferences(notifications, principal.user_id)


@put("/v1/notification-preferences", guards=[signed_in], tags=TAGS)
async def put_preferences(
    data: JSONBody[PreferencesBody],
    principal: NamedDependency[Principal],
    notifications: NamedDependency[NotificationsContext],
) -> PreferencesView:
    """Replace what I want to be told. What is left out is on.

    Mails that keep an account in its owner's hands (`required`) cannot be switched off: 422.
    """
    return await preferences.set_preferences(notifications, principal.user_id, data.preferences)

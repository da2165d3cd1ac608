"""The event stream over HTTP; one rule: it holds its place only while it is being sent.

Server-Sent Events (WHATWG HTML, 9.2): `id` is the notification's, so that a client that lost the
connection goes on where it was by sending `Last-Event-ID`. Comments keep a quiet stream alive.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final
from uuid import UUID

from litestar import Request, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter

from tradewind.notifications.actions.context import NotificationsContext
from tradewind.notifications.actions.following import follow, start_position
from tradewind.notifications.actions.streams import Stream
from tradewind.platform.errors import Unauthenticated
from tradewind.platform.lifecycle import Health
from tradewind.platform.principals import Principal
from tradewind.platform.sessions import SESSIONS_STATE_KEY, Sessions, signed_in
from tradewind.platform.web.asgi import Receive, Scope, Send

TAGS = ["Notifications"]
MEDIA_TYPE: Final = "text/event-stream"
_SEND_SECONDS: Final = 20.0
"""A client that takes nothing for so long is gone, or might as well be."""

LastSeen = Annotated[
    UUID | None,
    QueryParameter(
        name="lastEventId",
        description="Where to begin, for clients that cannot send Last-Event-ID at first.",
    ),
]


class EventStream:
    """An answer that goes on until the session ends, the process drains or the client leaves."""

    def __init__(
        self,
        context: NotificationsContext,
        user_id: UUID,
        last_seen: UUID | None,
        may_go_on: Callable[[], Awaitable[bool]],
    ) -> None:
        self._context = context
        self._user_id = user_id
        self._last_seen = last_seen
        self._may_go_on = may_go_on

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        context = self._context
        with context.streams.opened(self._user_id, self._may_go_on) as stream:
            position = await start_position(context, self._user_id, self._last_seen)
            watching = asyncio.create_task(_until_gone(receive, stream))
            try:
                await send(
                    {
                        "type": "http.response.start",
                        "status": 200,
                        "headers": [
                            (b"content-type", MEDIA_TYPE.encode()),
                            (b"cache-control", b"private, no-store"),
                            (b"x-accel-buffering", b"no"),
                        ],
                    }
                )
                async for chunk in follow(context, stream, position):
                    await _send_chunk(send, chunk)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)


async def _send_chunk(send: Send, chunk: bytes) -> None:
    async with asyncio.timeout(_SEND_SECONDS):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _until_gone(receive: Receive, stream: Stream) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.end()


def _last_event_id(value: str | None) -> UUID | None:
    """The id in a `Last-Event-ID` header; what is none of ours means nothing."""
    try:
        return UUID(value) if value else None
    except ValueError:
        return None


@get(
    "/v1/notifications/stream",
    guards=[signed_in],
    tags=TAGS,
    media_type=MEDIA_TYPE,
    responses={
        200: ResponseSpec(str, media_type=MEDIA_TYPE, description="Events, one a notification")
    },
)
async def stream_notifications(
    request: Request[Any, Any, Any],
    principal: NamedDependency[Principal],
    notifications: NamedDependency[NotificationsContext],
    health: NamedDependency[Health],
    last_event_id: LastSeen = None,
) -> EventStream:
    """Hear of notifications as they come (Server-Sent Events).

    Each event's `id` is the notification's and its `data` the notification as in the list. With
    `Last-Event-ID` everything after that one comes first, then what is new; without, only that.
    """
    sessions: Sessions = request.app.state[SESSIONS_STATE_KEY]
    shown: Scope = {"method": "GET", "headers": list(request.scope["headers"])}
    user_id = principal.user_id

    async def may_go_on() -> bool:
        if health.draining:
            return False
        try:
            found = await sessions.identify(dict(shown))
        except Unauthenticated:
            return False
        return found is not None and found.user_id == user_id

    header = _last_event_id(request.headers.get("last-event-id"))
    return EventStream(notifications, user_id, header or last_event_id, may_go_on)

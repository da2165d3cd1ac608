"""What an event stream says, and how long it may; one rule: position after position, no gap.

Entries of a person are committed in the order of their positions (`people` is locked for that), so
reading on from the last one that was sent can neither miss nor repeat any.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Final
from uuid import UUID

import msgspec
import structlog

from tradewind.notifications.actions.context import NotificationsContext
from tradewind.notifications.actions.inbox import view_of
from tradewind.notifications.actions.streams import Stream
from tradewind.notifications.model.entries import Entry
from tradewind.notifications.store import entries as store
from tradewind.notifications.store.entries import Ask
from tradewind.platform.database import Database
from tradewind.platform.errors import Unavailable

CHANNEL: Final = "tradewind_notifications"
"""NOTIFY with the ids of users whose inboxes changed."""
CHECK_SECONDS: Final = 0.6
"""How often sessions are looked up: a revoked one loses its stream within a second."""
_CHECK_MOST_SECONDS: Final = 0.8
_CHECKED_AT_ONCE: Final = 50
_PAGE: Final = 20
_IDS_A_PAYLOAD: Final = 200
"""36 characters and a separator each, under the 8,000 bytes that PostgreSQL takes."""
_RETRY: Final = b"retry: 1000\n\n"
_HEARTBEAT: Final = b": still here\n\n"

_log = structlog.get_logger(__name__)
_encoder = msgspec.json.Encoder()


async def read_on(database: Database, asks: Sequence[Ask]) -> list[list[Entry]]:
    """What came for each, at most a page: the flush of the coalescer that all streams read by."""
    async with database.reading() as reading:
        return await store.list_entries_after(reading, asks, _PAGE)


async def start_position(
    context: NotificationsContext, user_id: UUID, last_seen: UUID | None
) -> int:
    """Where a stream begins: after the last entry that its client saw, or with the next one."""
    async with context.database.reading() as reading:
        return await store.find_position(reading, user_id, last_seen)


async def follow(
    context: NotificationsContext, stream: Stream, position: int
) -> AsyncGenerator[bytes, None]:
    """The events of a stream, ready for the wire, until it is over.

    Where the database does not answer it ends too: its client comes back and says where it was.
    """
    yield _RETRY
    while not stream.is_over:
        stream.woken.clear()
        try:
            entries = await context.reads.submit(Ask(stream.user_id, position))
        except Unavailable as error:
            _log.info("event stream ended", error=error.detail)
            return
        for entry in entries:
            if stream.is_over:
                return
            yield _event(entry)
            position = entry.position
        if len(entries) == _PAGE:
            continue
        try:
            async with asyncio.timeout(context.settings.heartbeat_seconds):
                await stream.woken.wait()
        except TimeoutError:
            yield _HEARTBEAT


def _event(entry: Entry) -> bytes:
    return b"id: %b\ndata: %b\n\n" % (str(entry.id).encode(), _encoder.encode(view_of(entry)))


async def check_streams(context: NotificationsContext) -> bool:
    """Ends the streams whose session is over, and all of them where the process drains."""
    open_now = list(context.streams)
    for start in range(0, len(open_now), _CHECKED_AT_ONCE):
        some = open_now[start : start + _CHECKED_AT_ONCE]
        await asyncio.gather(*(_check(stream) for stream in some))
    return False


async def _check(stream: Stream) -> None:
    try:
        async with asyncio.timeout(_CHECK_MOST_SECONDS):
            lives = await stream.may_go_on()
    except Exception as error:  # noqa: BLE001  whoever cannot be checked does not listen on
        _log.info("event stream could not be checked", error=repr(error))
        lives = False
    if not lives:
        stream.end()


async def announce(context: NotificationsContext) -> bool:
    """Tells other processes whose inboxes changed here; kept for the next time where that fails."""
    told, context.streams.untold = context.streams.untold, set()
    if not told:
        return False
    ids = [str(one) for one in told]
    try:
        async with context.database.transaction() as tx:
            for start in range(0, len(ids), _IDS_A_PAYLOAD):
                await tx.notify(CHANNEL, ",".join(ids[start : start + _IDS_A_PAYLOAD]))
    except BaseException:
        context.streams.untold |= told
        raise
    return False


def hear(context: NotificationsContext, payload: str) -> None:
    """Another process changed inboxes, or the connection was down and anything may have come."""
    if payload:
        context.streams.wake(UUID(one) for one in payload.split(","))
    else:
        context.streams.wake_all()

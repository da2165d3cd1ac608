"""From the queues into the inbox; one rule: whatever came is in PostgreSQL before it is acked.

What a service wants is handled; what it cannot read is a dead letter; dead letters are parked, so
that parked things are seen in one place and replayed from there.
"""

from collections.abc import Collection, Sequence

import structlog
from aio_pika.abc import AbstractIncomingMessage

from tradewind.platform.broker.envelope import Unreadable, decode_batch, sort_out
from tradewind.platform.broker.link import Route
from tradewind.platform.broker.taking import Taker
from tradewind.platform.events import Message
from tradewind.platform.inbox import Inbox

_log = structlog.get_logger(__name__)


class Consumer(Taker):
    """The worker that hands a service's queue to its inbox. `routes` are all there are."""

    def __init__(self, url: str, routes: Sequence[Route], queue: str, inbox: Inbox) -> None:
        super().__init__(url, routes, queue, self._handle)
        self._inbox = inbox

    async def _handle(
        self, batch: Sequence[AbstractIncomingMessage]
    ) -> Collection[AbstractIncomingMessage]:
        refused: list[AbstractIncomingMessage] = []
        wanted: list[Message] = []
        types = self._inbox.types
        for one in batch:
            try:
                events = decode_batch(one.content_type, one.body)
            except Unreadable as error:
                _log.warning("unreadable message", service=self._inbox.service, error=str(error))
                refused.append(one)
            else:
                wanted += [event for event in events if event.type in types]
        if wanted:
            await self._inbox.handle(wanted)
        return refused


class DeadLetters(Taker):
    """The worker that parks what could not be delivered from a service's queue."""

    def __init__(self, url: str, routes: Sequence[Route], queue: str, inbox: Inbox) -> None:
        super().__init__(url, routes, Route(queue, frozenset()).dead, self._park)
        self._inbox = inbox

    async def _park(
        self, batch: Sequence[AbstractIncomingMessage]
    ) -> Collection[AbstractIncomingMessage]:
        for one in batch:
            readable, unreadable = sort_out(one.content_type, one.body)
            reason = str(one.headers.get("x-first-death-reason", "unknown"))
            _log.error("dead letter", service=self._inbox.service, reason=reason)
            await self._inbox.park(readable, unreadable, f"dead letter: {reason}")
        return ()

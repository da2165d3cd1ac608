"""Messages in; one rule: a message is acked when what it says is saved, and not before.

While it cannot be saved it is kept, and tried again with growing pauses. To give it back instead
would count as a delivery, and twenty of them would make a dead letter of it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence

import aio_pika
import aiormq
from aio_pika.abc import AbstractIncomingMessage

from tradewind.platform.broker.link import (
    CONNECT_SECONDS,
    Link,
    Route,
    as_broker_down,
    open_link,
)
from tradewind.platform.lifecycle import Worker

BARRIER = "barrier"
"""The type of a message that asks to be answered once all before it are done."""
_PREFETCH = 64
_TAKEN_BYTES = 512 * 1024

Taking = Callable[
    [Sequence[AbstractIncomingMessage]], Awaitable[Collection[AbstractIncomingMessage]]
]
"""Saves what the messages say; answers those that it cannot read."""


class Taker(Worker):
    """Takes the messages of one queue, in their order, as many at once as have arrived."""

    def __init__(self, url: str, routes: Sequence[Route], queue: str, take: Taking) -> None:
        super().__init__(f"take {queue}", self._once, every_seconds=1.0)
        self._url = url
        self._routes = routes
        self._queue = queue
        self._take = take
        self._link: Link | None = None
        self._cancelled = False
        self._arrived: deque[AbstractIncomingMessage] = deque()

    async def stop(self, patience_seconds: float = 5.0) -> None:
        """Finishes what it is saving; the rest goes back to the queue, in its order."""
        await super().stop(patience_seconds)
        await self._leave()

    async def _once(self) -> bool:
        if self._link is None or self._link.is_closed or self._cancelled:
            await self._join()
        batch = self._first()
        if not batch:
            return False
        events = [one for one in batch if one.type != BARRIER]
        refused = await self._take(events) if events else ()
        async with as_broker_down(), asyncio.timeout(CONNECT_SECONDS):
            await self._settle(batch, refused)
        for _ in batch:
            self._arrived.popleft()
        return bool(self._arrived)

    def _first(self) -> list[AbstractIncomingMessage]:
        batch: list[AbstractIncomingMessage] = []
        size = 0
        for one in self._arrived:
            size += len(one.body)
            if batch and size > _TAKEN_BYTES:
                break
            batch.append(one)
        return batch

    async def _settle(
        self,
        batch: Sequence[AbstractIncomingMessage],
        refused: Collection[AbstractIncomingMessage],
    ) -> None:
        for one in refused:
            await one.reject(requeue=False)
        done = [one for one in batch if one not in refused]
        if done:
            await done[-1].ack(multiple=True)
        for one in done:
            if one.type == BARRIER and one.reply_to and self._link is not None:
                answer = aio_pika.Message(b"", correlation_id=one.correlation_id)
                exchange = self._link.channel.default_exchange
                await exchange.publish(answer, one.reply_to, mandatory=False)

    async def _join(self) -> None:
        await self._leave()
        link = await open_link(self._url, self.name, self._routes, confirms=False)
        self._link = link
        async with as_broker_down(), asyncio.timeout(CONNECT_SECONDS):
            await link.channel.set_qos(prefetch_count=_PREFETCH)
            link.channel.close_callbacks.add(self._closed)
            underlay = await link.channel.get_underlay_channel()
            underlay.on_consumer_cancel_callbacks.add(self._cancel)
            queue = await link.channel.get_queue(self._queue, ensure=False)
            await queue.consume(self._receive)

    async def _leave(self) -> None:
        link, self._link = self._link, None
        self._arrived.clear()
        self._cancelled = False
        if link is not None:
            await link.close()

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        self._arrived.append(message)
        self.wake()

    def _closed(self, _channel: object, _error: BaseException | None) -> None:
        self.wake()

    def _cancel(self, _frame: aiormq.spec.Basic.Cancel) -> None:
        """The broker took the queue away from us."""
        self._cancelled = True
        self.wake()

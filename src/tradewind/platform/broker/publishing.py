"""Events out; one rule: whatever the broker has not confirmed was not published.

The messages of a batch go one after the other: were one refused while a later one was taken, the
events of a key would change places when the outbox tells them again.
"""

import asyncio
from collections.abc import Sequence

import aio_pika

from tradewind.platform.broker.envelope import CONTENT_TYPE, encode_batches
from tradewind.platform.broker.link import (
    EVENTS,
    BrokerDown,
    Link,
    Route,
    as_broker_down,
    open_link,
)
from tradewind.platform.events import Message


class RabbitBus:
    """Publishes one service's events. `routes` are all there are, so that all are declared."""

    def __init__(
        self, url: str, publisher: str, routes: Sequence[Route], *, patience_seconds: float = 10.0
    ) -> None:
        """`patience_seconds` bounds a whole `publish`; a database transaction waits for it."""
        self._url = url
        self._publisher = publisher
        self._routes = routes
        self._heard = any(publisher in route.hears for route in routes)
        self._patience_seconds = patience_seconds
        self._turn = asyncio.Lock()
        self._link: Link | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Returns when every queue that wants them has them on disk; raises BrokerDown otherwise.

        Where nobody hears this publisher there is nothing to do. One that raised may yet be
        carried out: consumers know an event that comes twice by its id.
        """
        if not messages or not self._heard:
            return
        async with as_broker_down(), asyncio.timeout(self._patience_seconds), self._turn:
            try:
                await self._send(messages)
            except BaseException:
                await self._after_failure()
                raise

    async def close(self) -> None:
        """Ends the connection; harmless when repeated."""
        self._drop()
        await asyncio.gather(*self._leaving)

    async def _send(self, messages: Sequence[Message]) -> None:
        if self._link is None or self._link.is_closed:
            self._drop()
            name = f"{self._publisher} publishes"
            self._link = await open_link(self._url, name, self._routes, confirms=True)
        await self._link.until_unblocked()
        exchange = await self._link.channel.get_exchange(EVENTS, ensure=False)
        for body in encode_batches(self._publisher, messages):
            await exchange.publish(
                aio_pika.Message(
                    body,
                    content_type=CONTENT_TYPE,
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                    app_id=self._publisher,
                ),
                self._publisher,
                mandatory=True,
            )

    async def _after_failure(self) -> None:
        """A blocked link is kept: what was sent on it comes first when the alarm is over."""
        if self._link is not None and not await self._link.is_blocked():
            self._drop()

    def _drop(self) -> None:
        if self._link is not None:
            leaving = asyncio.create_task(self._link.close(), name=f"leave {self._publisher}")
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            self._link = None


__all__ = ["BrokerDown", "RabbitBus"]

"""A connection to RabbitMQ; one rule: a link that failed is dropped, and the next one made anew.

Whoever makes a link declares everything first, so that an event published before its consumer ever
ran is kept. Nothing here waits without an end, whatever the broker does: it may be stopped, blocked
by an alarm, or gone. aio-pika's own "robust" connections are not used: they reconnect behind one's
back, and one cannot tell whether what was sent meanwhile arrived.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import aio_pika
import msgspec
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelNotFoundEntity, DeliveryError

from tradewind.platform.errors import Unavailable

EVENTS = "tradewind.events"
"""The topic exchange; the routing key is the publisher's name."""
DEAD = "tradewind.dead"
"""The exchange for what could not be delivered; the routing key is the queue it comes from."""
DELIVERIES_MOST = 20
HEARTBEAT_SECONDS = 10
CONNECT_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
_NEW_QUEUE_SECONDS = 1.0


class BrokerDown(Unavailable):
    """The broker does not answer, not in time, or not as it should."""

    code = "broker_unavailable"


class Route(msgspec.Struct, frozen=True):
    """A queue, and the names of the publishers whose events it takes."""

    queue: str
    hears: frozenset[str]

    @property
    def dead(self) -> str:
        """The queue for what could not be delivered from it."""
        return f"{self.queue}.dead"


@dataclass(frozen=True, slots=True)
class Link:
    """A connection with one channel."""

    connection: aio_pika.Connection
    channel: AbstractChannel

    @property
    def is_closed(self) -> bool:
        """Whether it is of no more use."""
        return self.connection.is_closed or self.channel.is_closed

    async def until_unblocked(self) -> None:
        """Returns when the broker takes messages, which it does not during an alarm."""
        if self.connection.transport is not None:
            await self.connection.transport.connection.ready()

    async def is_blocked(self) -> bool:
        """Whether the broker has said that it takes no messages for now."""
        if self.is_closed:
            return False
        ready = asyncio.ensure_future(self.until_unblocked())
        done, _ = await asyncio.wait({ready}, timeout=0.01)
        ready.cancel()
        return not done

    async def close(self) -> None:
        """Says goodbye, if that is heard within a second."""
        with suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self.connection.close()


@asynccontextmanager
async def as_broker_down() -> AsyncGenerator[None]:
    """Whatever the library raises for a lost, refused or silent broker becomes BrokerDown."""
    try:
        yield
    except asyncio.CancelledError as error:
        # The library also cancels whoever waits for an answer on a connection that is lost.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerDown("the connection to the broker was lost") from error
    except DeliveryError as error:
        raise BrokerDown(f"the broker did not take a message: {error!r}") from error
    except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
        raise BrokerDown(f"the broker does not answer: {error!r}") from error


async def open_link(url: str, name: str, routes: Sequence[Route], *, confirms: bool) -> Link:
    """Connects and declares all queues; raises BrokerDown within CONNECT_SECONDS.

    `name` is what the broker calls the connection; with `confirms` it confirms every message, and
    one that no queue takes is an error.
    """
    async with as_broker_down(), asyncio.timeout(CONNECT_SECONDS):
        connection = await aio_pika.connect(url, heartbeat=HEARTBEAT_SECONDS, name=name)
        try:
            new = await _is_any_missing(connection, routes)
            channel = connection.channel(publisher_confirms=confirms, on_return_raises=confirms)
            await channel.initialize()
            await declare(channel, routes)
            if new:
                # RabbitMQ 3.10 writes down that there is a new quorum queue half a second after it
                # has said so (ra's names.dets). One that is killed before then has lost the queue
                # with all that it had confirmed.
                await asyncio.sleep(_NEW_QUEUE_SECONDS)
        except BaseException:
            with suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
                await asyncio.shield(asyncio.wait_for(connection.close(), _CLOSE_SECONDS))
            raise
    return Link(connection, channel)


async def _is_any_missing(connection: aio_pika.Connection, routes: Sequence[Route]) -> bool:
    """Whether a queue is still to be made; asked on a channel of its own, which a no would end."""
    channel = connection.channel(publisher_confirms=False)
    await channel.initialize()
    try:
        for route in routes:
            await channel.declare_queue(route.queue, passive=True)
    except ChannelNotFoundEntity:
        return True
    await channel.close()
    return False


async def declare(channel: AbstractChannel, routes: Sequence[Route]) -> None:
    """Exchanges, queues and bindings; harmless when repeated."""
    events = await channel.declare_exchange(EVENTS, aio_pika.ExchangeType.TOPIC, durable=True)
    dead = await channel.declare_exchange(DEAD, aio_pika.ExchangeType.DIRECT, durable=True)
    for route in routes:
        buried = await channel.declare_queue(
            route.dead, durable=True, arguments={"x-queue-type": "quorum"}
        )
        await buried.bind(dead, route.queue)
        queue = await channel.declare_queue(
            route.queue,
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                # One consumer at a time, so that a key's events keep their order.
                "x-single-active-consumer": True,
                "x-delivery-limit": DELIVERIES_MOST,
                "x-dead-letter-exchange": DEAD,
                "x-dead-letter-routing-key": route.queue,
                # Otherwise a dead letter is lost with the broker that moves it; needs the overflow.
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            },
        )
        for publisher in sorted(route.hears):
            await queue.bind(events, f"{publisher}.#")

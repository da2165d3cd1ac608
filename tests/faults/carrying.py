"""Events of one service carried to itself by a real broker; one rule: as the store carries them.

Publisher and hearer share one spine. Any number of processes stand beside each other, each with
connections, a relay, a consumer and a taker of dead letters of its own.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel

from faults.spine import Happened, Spine
from shop import eventually
from tradewind.platform.broker.consuming import Consumer, DeadLetters
from tradewind.platform.broker.link import Route, declare
from tradewind.platform.broker.publishing import RabbitBus
from tradewind.platform.database import Database, Transaction
from tradewind.platform.ids import new_id
from tradewind.platform.inbox import Inbox, list_parked
from tradewind.platform.lifecycle import Worker
from tradewind.platform.outbox import Outbox, relay


class Process:
    """One process: its reaction leaves a mark for each event."""

    def __init__(self, lane: "Lane", database: Database, patience_seconds: float) -> None:
        self.database = database
        self.outbox = Outbox()
        self.poison: set[str] = set()
        self.slow_seconds = 0.0
        self.inbox = Inbox("trial", database, {Happened: (self.note,)})
        routes, queue = [lane.route], lane.route.queue
        self.bus = RabbitBus(lane.url, lane.publisher, routes, patience_seconds=patience_seconds)
        self.relay = relay("trial", database, self.bus)
        self.consumer = Consumer(lane.url, routes, queue, self.inbox)
        self.dead_letters = DeadLetters(lane.url, routes, queue, self.inbox)
        self.outbox.wake = self.relay.wake
        self._started: list[Worker] = []

    async def note(self, tx: Transaction, events: Sequence[Happened]) -> None:
        """Leaves a mark for each."""
        whats = [event.what for event in events]
        if self.slow_seconds:
            await asyncio.sleep(self.slow_seconds)
        await tx.execute("INSERT INTO effects (what) SELECT unnest($1::text[])", whats)
        if self.poison & set(whats):
            raise ValueError("poison")

    async def tell(self, *whats: str) -> None:
        """Saves events, in one transaction."""
        async with self.database.transaction() as tx:
            await self.outbox.add(tx, [Happened(what=what) for what in whats])

    def start(self, *workers: Worker) -> None:
        """Starts these workers, or all of them."""
        for worker in workers or (self.relay, self.consumer, self.dead_letters):
            worker.start()
            self._started.append(worker)

    async def end(self) -> None:
        """Ends whatever runs."""
        for worker in self._started:
            await worker.stop()
        await self.bus.close()

    async def kill_consumer(self) -> None:
        """The consumer is gone in the middle of whatever it does, without a goodbye."""
        task, link = self.consumer._task, self.consumer._link
        assert task is not None
        assert link is not None
        self.consumer._link = None
        self._started.remove(self.consumer)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await link.close()


class Lane:
    """A publisher of its own name, its queue, and the processes that use them."""

    def __init__(self, spine: Spine, url: str) -> None:
        self.spine = spine
        self.url = url
        self.publisher = f"trial-{new_id().hex}"
        self.route = Route(f"tradewind.{self.publisher}", frozenset({self.publisher}))
        self._processes: list[Process] = []

    async def process(self, *, patience_seconds: float = 10.0) -> Process:
        """One more process; nothing of it runs yet."""
        one = Process(self, await self.spine.database(), patience_seconds)
        self._processes.append(one)
        return one

    async def begin(self) -> None:
        """Makes the queues; they are a second old before anybody uses them."""
        await (await self.declared()).close()

    async def end(self) -> None:
        """Ends all processes."""
        for one in self._processes:
            await one.end()

    async def waiting(self) -> int:
        """How many events are in the outbox."""
        return (await self.spine.superuser("SELECT count(*) FROM outbox"))[0][0]

    async def effects(self, count: int, patience: float = 40.0) -> list[str]:
        """The marks that were left, in order, once there are so many."""

        async def all_there() -> list[str] | None:
            found = await self.spine.effects()
            return found if len(found) >= count else None

        return await eventually(all_there, patience)

    async def parked(self, count: int = 1) -> list[tuple[Any, ...]]:
        """What is parked, once there is so much."""
        database = await self.spine.database(most=1)

        async def all_there() -> list[tuple[Any, ...]] | None:
            async with database.transaction() as tx:
                found = await list_parked(tx)
            return found if len(found) >= count else None

        return await eventually(all_there)

    async def declared(self) -> aio_pika.Connection:
        """A connection of the test's own, with everything declared."""
        connection = await aio_pika.connect(self.url)
        await declare(await connection.channel(), [self.route])
        return connection

    async def delete_queue(self) -> None:
        """The queue is gone, with all that was in it."""
        connection = await self.declared()
        await (await connection.channel()).queue_delete(self.route.queue)
        await connection.close()

    async def put(
        self, channel: AbstractChannel, *bodies: bytes, content_type: str | None = None
    ) -> None:
        """Messages in the queue, whatever they are."""
        for body in bodies:
            message = aio_pika.Message(body, content_type=content_type)
            await channel.default_exchange.publish(message, self.route.queue)

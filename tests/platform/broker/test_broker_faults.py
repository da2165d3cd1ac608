"""The broker killed, stopped, blocked, refusing; consumers killed: nothing lost, effects once."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage

from faults.carrying import Lane, Process
from faults.spine import Happened, messages_of
from servers import Broker
from shop import eventually
from tradewind.platform.broker.link import EVENTS, BrokerDown, as_broker_down
from tradewind.platform.broker.publishing import RabbitBus
from tradewind.platform.broker.taking import Taker
from tradewind.platform.broker.watching import count_queued
from tradewind.platform.database import DatabaseDown
from tradewind.platform.outbox import relay_once

pytestmark = pytest.mark.asyncio


def kill(broker: Broker, number: signal.Signals) -> None:
    """Sends the broker a signal."""
    assert broker.server.pid is not None
    os.kill(broker.server.pid, number)


async def test_killed_while_it_carries(lane: Lane, broker: Broker) -> None:
    """Killed by -9 while publishing and consuming, it comes back on the same data."""
    processes = [await lane.process(patience_seconds=3.0) for _ in range(2)]
    await asyncio.sleep(1.0)  # a queue that is new is lost: see test_what_was_confirmed_survives
    for process in processes:
        process.start()

    gone = asyncio.Event()

    async def write(process: Process, name: str) -> None:
        for number in range(100):
            if number == 90:
                await gone.wait()
            await process.tell(*(f"{name}:{number:03}.{part}" for part in range(5)))
            await asyncio.sleep(0.01)

    writing = [
        asyncio.create_task(write(one, name)) for one, name in zip(processes, "ab", strict=True)
    ]
    await lane.effects(50)
    kill(broker, signal.SIGKILL)
    await broker.server.wait()
    gone.set()
    await asyncio.gather(*writing)
    assert await lane.waiting() >= 100, "the store goes on meanwhile"
    await broker.server.start()
    effects = await lane.effects(1000)
    assert len(effects) == len(set(effects)) == 1000
    for name in "ab":
        told = [what for what in effects if what.startswith(name)]
        assert told == sorted(told)

    async def empty() -> bool:
        return not await lane.waiting()

    await eventually(empty)


async def test_what_was_confirmed_survives(lane: Lane, broker: Broker) -> None:
    """Events that left the outbox are on the broker's disk, in a queue made just now as well."""
    await lane.delete_queue()
    process = await lane.process()
    await process.tell("a", "b")
    assert await relay_once(process.database, process.bus) == 2
    kill(broker, signal.SIGKILL)
    await broker.server.wait()
    await broker.server.start()
    process.start(process.consumer)
    assert await lane.effects(2) == ["a", "b"]


async def test_a_stopped_broker(lane: Lane, broker: Broker) -> None:
    """It takes connections and says nothing: publishing ends in time, and drains afterwards."""
    process = await lane.process()
    process.start(process.consumer)
    await process.tell("0")
    assert await relay_once(process.database, process.bus) == 1
    await lane.effects(1)
    process.bus._patience_seconds = 1.5  # for nothing that is to come to an end
    kill(broker, signal.SIGSTOP)
    try:
        for number in range(1, 4):
            await process.tell(str(number))
            # Long before a heartbeat would be missed.
            async with asyncio.timeout(10):
                with pytest.raises(BrokerDown):
                    await relay_once(process.database, process.bus)
        assert await lane.waiting() == 3
        fresh = RabbitBus(lane.url, lane.publisher, [lane.route], patience_seconds=1.0)
        with pytest.raises(BrokerDown):
            await fresh.publish(messages_of([Happened(what="never")]))
        await fresh.close()
    finally:
        kill(broker, signal.SIGCONT)
    process.bus._patience_seconds = 10.0
    process.start(process.relay)
    assert (await lane.effects(4))[:4] == ["0", "1", "2", "3"]


async def test_an_alarm_blocks_publishers_alone(lane: Lane, broker: Broker) -> None:
    """Short of memory the broker takes nothing: the outbox keeps all, consumers go on."""
    process = await lane.process()
    process.start(process.consumer)
    await process.tell("before")
    assert await relay_once(process.database, process.bus) == 1
    process.bus._patience_seconds = 1.0  # for nothing that is to come to an end
    control(broker, "set_vm_memory_high_watermark", "0.00001")
    try:
        await process.tell("during")

        async def is_blocked() -> bool:
            """The broker has said so within a try; a link that heard nothing by then is dropped."""
            with pytest.raises(BrokerDown):
                await relay_once(process.database, process.bus)
            return process.bus._link is not None and await process.bus._link.is_blocked()

        await eventually(is_blocked)
        link = process.bus._link
        with pytest.raises(BrokerDown):
            await relay_once(process.database, process.bus)
        assert process.bus._link is link, "one link waits for the end, not a new one for each try"
        assert await lane.waiting() == 1
        assert await lane.effects(1) == ["before"]
    finally:
        control(broker, "set_vm_memory_high_watermark", "absolute", "256MiB")
    process.bus._patience_seconds = 10.0
    process.start(process.relay)
    await process.tell("after")
    assert await lane.effects(3) == ["before", "during", "after"]


def control(broker: Broker, *words: str) -> None:
    """rabbitmqctl, on this broker."""
    environment = broker.server.program.environment
    subprocess.run(
        ["/usr/lib/rabbitmq/bin/rabbitmqctl", "-n", environment["RABBITMQ_NODENAME"], *words],
        env={"PATH": os.defpath, **environment},
        check=True,
        capture_output=True,
        timeout=120,
    )


async def test_no_queue_takes_it(lane: Lane) -> None:
    """A message that no queue takes is no message: the outbox keeps it, and the next try works."""
    process = await lane.process()
    await process.tell("a")
    await relay_once(process.database, process.bus)
    connection = await lane.declared()
    channel = await connection.channel()
    queue = await channel.get_queue(lane.route.queue, ensure=False)
    await queue.unbind(EVENTS, f"{lane.publisher}.#")
    await process.tell("b")
    with pytest.raises(BrokerDown):
        await relay_once(process.database, process.bus)
    assert await lane.waiting() == 1
    assert await relay_once(process.database, process.bus) == 1, (
        "all is declared on each connection"
    )
    assert await count_queued(lane.url, [lane.route.queue]) == 2
    await connection.close()


async def test_events_told_before_anyone_ever_heard(lane: Lane) -> None:
    """The publisher declares the queues of those who hear it, so nothing waits for them."""
    await lane.delete_queue()
    process = await lane.process()
    await process.tell("early")
    assert await relay_once(process.database, process.bus) == 1
    process.start(process.consumer)
    assert await lane.effects(1) == ["early"]


async def test_killed_between_effect_and_ack(lane: Lane) -> None:
    """Another consumer takes over what was not acked, and the effect is applied once."""
    first, second = await lane.process(), await lane.process()
    holds = asyncio.Event()

    async def never(batch: object, refused: object) -> None:
        holds.set()
        await asyncio.Event().wait()

    first.consumer._settle = never
    first.start(first.consumer)
    await first.tell("a", "b")
    await relay_once(first.database, first.bus)
    async with asyncio.timeout(20):
        await holds.wait()
    second.start(second.consumer)
    await first.kill_consumer()
    await first.tell("c")
    await relay_once(first.database, first.bus)
    assert await lane.effects(3) == ["a", "b", "c"]


async def test_killed_before_its_effect(lane: Lane) -> None:
    """A reaction that was under way is done by another consumer, with all that came after it."""
    first, second = await lane.process(), await lane.process()
    first.slow_seconds = 60.0
    first.start(first.consumer)
    await first.tell("a")
    await relay_once(first.database, first.bus)

    async def taken() -> bool:
        return await count_queued(lane.url, [lane.route.queue]) == 0

    await eventually(taken)
    second.start(second.consumer)
    await first.tell("b")
    await relay_once(first.database, first.bus)
    await first.kill_consumer()
    assert await lane.effects(2) == ["a", "b"]


async def test_messages_are_held_while_the_database_is_away(lane: Lane) -> None:
    """They are not given back, which would count as a delivery, and go on in their order."""
    tries: list[list[tuple[int | None, bool | None]]] = []
    done: list[bytes] = []

    async def take(batch: Sequence[AbstractIncomingMessage]) -> Sequence[Any]:
        tries.append([(one.delivery_tag, one.redelivered) for one in batch])
        if len(tries) < 4:
            raise DatabaseDown("away")
        done.extend(one.body for one in batch)
        return ()

    connection = await lane.declared()
    channel = await connection.channel()
    await lane.put(channel, b"1", b"2", b"3")
    taker = Taker(lane.url, [lane.route], lane.route.queue, take)
    taker.start()

    async def all_done() -> bool:
        return done == [b"1", b"2", b"3"]

    await eventually(all_done)
    assert {one for batch in tries for one in batch} <= {(1, False), (2, False), (3, False)}
    await taker.stop()
    await connection.close()


async def test_what_is_not_acked_goes_back(lane: Lane) -> None:
    """A consumer that ends in order gives back what it has not handled, in its order."""
    first, second = await lane.process(), await lane.process()
    first.slow_seconds = 0.3
    first.start(first.consumer)
    for number in range(5):
        await first.bus.publish(messages_of([Happened(what=str(number))]))
    await lane.effects(1)
    await first.consumer.stop()
    second.start(second.consumer)
    assert await lane.effects(5) == ["0", "1", "2", "3", "4"]


async def test_a_queue_that_was_deleted(lane: Lane) -> None:
    """A consumer whose queue is taken away declares it again and goes on."""
    process = await lane.process()
    process.start()
    await process.tell("a")
    await lane.effects(1)
    await lane.delete_queue()
    await process.tell("b")
    assert await lane.effects(2) == ["a", "b"]


async def test_an_answer_that_never_comes() -> None:
    """The library cancels whoever waits on a lost connection; that must not end a worker."""
    answer = asyncio.get_running_loop().create_future()
    answer.cancel()
    with pytest.raises(BrokerDown):
        async with as_broker_down():
            await answer

    async def work() -> None:
        async with as_broker_down():
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_a_queue_of_another_shape(lane: Lane) -> None:
    """A refusal of the broker ends no worker: once the fault is mended, all goes on by itself."""
    await lane.delete_queue()
    connection = await aio_pika.connect(lane.url)
    channel = await connection.channel()
    await channel.declare_queue(lane.route.queue, durable=True)
    process = await lane.process()
    with pytest.raises(BrokerDown, match="PRECONDITION_FAILED"):
        await process.bus.publish(messages_of([Happened(what="never")]))
    process.start()
    await process.tell("a")

    async def refused() -> bool:
        return process.relay.failures > 0 and process.consumer.failures > 0

    await eventually(refused)
    await channel.queue_delete(lane.route.queue)
    assert await lane.effects(1) == ["a"]
    await connection.close()

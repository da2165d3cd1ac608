"""Events over a real broker: many in one message, in their order, whoever carries them."""

import asyncio

import pytest

from faults.carrying import Lane
from faults.spine import Happened, messages_of
from shop import eventually
from tradewind.platform.broker.envelope import LIMIT_BYTES
from tradewind.platform.broker.watching import count_queued, wait_passed
from tradewind.platform.outbox import find_newest_position, relay_once

pytestmark = pytest.mark.asyncio


async def test_many_events_are_one_message(lane: Lane) -> None:
    """A batch of the relay is one message, and arrives in its order."""
    process = await lane.process()
    whats = [f"{number:03}" for number in range(500)]
    await process.tell(*whats)
    assert await relay_once(process.database, process.bus) == 500
    assert await count_queued(lane.url, [lane.route.queue]) == 1
    process.start(process.consumer)
    assert await lane.effects(500) == whats


async def test_a_message_is_bounded_in_bytes(lane: Lane) -> None:
    """What would be larger than half a MiB is several messages, and an event is never cut."""
    process = await lane.process()
    whats = [f"{number}" * size for number, size in ((1, 90_000), (2, 90_000), (3, 600_000))]
    assert len(whats[2]) > LIMIT_BYTES
    await process.tell(*whats, "last")
    await relay_once(process.database, process.bus)
    assert await count_queued(lane.url, [lane.route.queue]) == 3
    process.start(process.consumer)
    assert await lane.effects(4) == [*whats, "last"]


async def test_one_consumer_at_a_time(lane: Lane) -> None:
    """Two instances hear the same queue, and the order is kept all the same."""
    processes = [await lane.process() for _ in range(2)]
    for process in processes:
        process.slow_seconds = 0.005
        process.start(process.consumer)
    await asyncio.sleep(0.3)
    whats = [f"{number:03}" for number in range(60)]
    for what in whats:
        await processes[0].bus.publish(messages_of([Happened(what=what)]))
    assert await lane.effects(60) == whats


async def test_two_relays_and_two_consumers_keep_the_order(lane: Lane) -> None:
    """Both instances save, relay and hear; a key's events arrive as they were saved."""
    processes = [await lane.process() for _ in range(2)]
    for process in processes:
        process.start()

    async def write(process_number: int) -> None:
        process = processes[process_number]
        for number in range(40):
            await process.tell(*(f"{process_number}:{number:02}.{part:02}" for part in range(20)))

    await asyncio.gather(write(0), write(1))
    effects = await lane.effects(1600)
    assert len(effects) == 1600
    for key in ("0", "1"):
        told = [what for what in effects if what.startswith(f"{key}:")]
        assert told == sorted(told)


async def test_nobody_hears(lane: Lane) -> None:
    """What nobody wants is published to nobody, and the outbox is empty: no broker is needed."""
    from tradewind.platform.broker.publishing import RabbitBus

    process = await lane.process()
    await process.tell("a")
    bus = RabbitBus("amqp://nobody:@127.0.0.1:1/", "unheard", [lane.route])
    assert await relay_once(process.database, bus) == 1
    assert await lane.waiting() == 0


async def test_waiting_until_a_queue_is_through(lane: Lane) -> None:
    """What is being handled is in no queue any more; who waits is told when it is saved."""
    process = await lane.process()
    process.slow_seconds = 0.4
    process.start(process.consumer)
    await process.tell("a")
    await relay_once(process.database, process.bus)

    async with asyncio.timeout(20):
        while await count_queued(lane.url, [lane.route.queue]):
            await asyncio.sleep(0.01)
        await wait_passed(lane.url, [lane.route.queue])
    assert await lane.spine.effects() == ["a"]
    async with process.database.reading() as reading:
        assert await find_newest_position(reading) == 1


async def test_the_answer_comes_after_the_effect(lane: Lane) -> None:
    """Also where both are taken at once, what came before is saved before who waits is told."""
    process = await lane.process()
    process.slow_seconds = 0.2
    await process.tell("a")
    await relay_once(process.database, process.bus)
    waiting = asyncio.create_task(wait_passed(lane.url, [lane.route.queue]))

    async def both_there() -> bool:
        return await count_queued(lane.url, [lane.route.queue]) == 2

    await eventually(both_there)
    process.start(process.consumer)
    async with asyncio.timeout(20):
        await waiting
    assert await lane.spine.effects() == ["a"]

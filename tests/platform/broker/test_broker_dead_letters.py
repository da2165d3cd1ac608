"""What cannot be delivered: parked in PostgreSQL, replayed or dropped, and nobody waits (P8)."""

import asyncio

import msgspec
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from faults.carrying import Lane
from faults.spine import Happened, messages_of
from tradewind.platform.broker.envelope import CONTENT_TYPE, encode_batches
from tradewind.platform.broker.link import DELIVERIES_MOST
from tradewind.platform.inbox import UNREADABLE, delete_parked, update_replayed

pytestmark = pytest.mark.asyncio
GARBAGE = [
    b"",
    b"\x00\xff\xfe",
    b"[" * 5000,
    b'{"specversion": "1.0"}',
    b'[{"specversion": "1.0", "id": "x"}]',
]


def bodies(lane: Lane, *whats: str) -> list[bytes]:
    """One body for each event."""
    return [
        next(encode_batches(lane.publisher, messages_of([Happened(what=what)]))) for what in whats
    ]


async def give_back(channel: AbstractChannel, queue: str) -> None:
    """A consumer takes a message and dies, again and again, until it gets none."""
    taken: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
    one = await channel.get_queue(queue, ensure=False)
    await one.consume(taken.put)
    for _ in range(DELIVERIES_MOST + 1):
        async with asyncio.timeout(20):
            message = await taken.get()
        await message.nack(requeue=True)


async def test_too_many_deliveries(lane: Lane) -> None:
    """A message that kills whoever takes it is parked after its deliveries; a replay applies it."""
    connection = await lane.declared()
    channel = await connection.channel()
    await lane.put(channel, *bodies(lane, "deadly"), content_type=CONTENT_TYPE)
    await give_back(channel, lane.route.queue)
    await connection.close()
    process = await lane.process()
    process.start()
    await process.tell("good")
    assert await lane.effects(1) == ["good"]
    [one] = await lane.parked()
    assert one[1:3] == ("note", Happened.TYPE)
    assert "delivery_limit" in one[5]
    async with process.database.transaction() as tx:
        assert await update_replayed(tx, [one[0]]) == 1
    await process.inbox.retry_once()
    assert await lane.effects(2) == ["good", "deadly"]
    assert await lane.spine.superuser("SELECT 1 FROM deliveries") == []


async def test_garbage_is_parked_and_the_others_flow(lane: Lane) -> None:
    """Whatever lies in the queue, what can be read is handled, and the rest is kept as it is."""
    connection = await lane.declared()
    channel = await connection.channel()
    first, last = bodies(lane, "first", "last")
    nul = first.replace(b"first", b"fi\\u0000rst")
    await lane.put(channel, first, *GARBAGE, nul, content_type=CONTENT_TYPE)
    await lane.put(channel, b"no events", content_type="text/plain")
    await lane.put(channel, last, content_type=CONTENT_TYPE)
    process = await lane.process()
    process.start()
    assert await lane.effects(2) == ["first", "last"]
    kept = await lane.parked(len(GARBAGE) + 2)
    assert {one[1:3] for one in kept} == {(UNREADABLE, UNREADABLE)}
    rows = await lane.spine.superuser("SELECT payload FROM deliveries")
    # Of a batch that is one, the piece that cannot be read is kept without its brackets.
    pieces = {GARBAGE[-1][1:-1], nul[1:-1]}
    assert {row[0] for row in rows} == {*GARBAGE[:-1], *pieces, b"no events"}
    async with process.database.transaction() as tx:
        assert await update_replayed(tx) == 0, "nobody can handle it"
        assert await delete_parked(tx, [kept[0][0]]) == 1
        assert await delete_parked(tx) == len(kept) - 1
    await connection.close()


async def test_the_good_ones_beside_a_bad_one(lane: Lane) -> None:
    """A batch with one event that is none is parked in pieces, and a replay applies the rest."""
    connection = await lane.declared()
    channel = await connection.channel()
    done, fresh = messages_of([Happened(what="done"), Happened(what="fresh")])
    process = await lane.process()
    await process.inbox.handle([done])
    [body] = encode_batches(lane.publisher, [done, fresh])
    await lane.put(channel, body[:-1] + b', {"id": 7}]', content_type=CONTENT_TYPE)
    process.start()
    kept = await lane.parked(2)
    assert {one[1] for one in kept} == {"note", UNREADABLE}, "what was done before is not parked"
    async with process.database.transaction() as tx:
        assert await update_replayed(tx) == 1
    await process.inbox.retry_once()
    assert await lane.effects(2) == ["done", "fresh"]
    await connection.close()


async def test_what_was_parked_twice_is_there_once(lane: Lane) -> None:
    """A taker of dead letters that dies before its ack parks them again, which changes nothing."""
    process = await lane.process()
    messages = messages_of([Happened(what="a"), Happened(what="b")])
    poisoned = msgspec.structs.replace(messages[1], payload=b"{}")
    await process.inbox.handle([poisoned])  # waits for its next try, and is not parked meanwhile
    for _ in range(2):
        await process.inbox.park([messages[0], poisoned], [b"?", b"?", b"!"], "dead letter")
    kept = await lane.parked(3)
    assert sorted(one[1] for one in kept) == ["note", UNREADABLE, UNREADABLE]
    assert len(await lane.spine.superuser("SELECT 1 FROM deliveries")) == 4

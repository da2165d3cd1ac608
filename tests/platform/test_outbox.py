"""The outbox: no event without its change, no change without its event, and none is lost (P6)."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextvars import Context
from pathlib import Path

import pytest
import pytest_asyncio

from faults.spine import Happened, HappenedToo, Spine, open_spine
from shop import eventually
from tradewind.platform.bus import LocalBus
from tradewind.platform.database import Address, Database, Transaction
from tradewind.platform.events import Cause, Event, Message, decode
from tradewind.platform.outbox import CHANNEL, Outbox, relay, relay_once
from tradewind.platform.web.context import Trace, enter

pytestmark = pytest.mark.asyncio


class Carried:
    """A bus that notes what it was given, or refuses it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.refuses = 0
        self.slow = False

    async def publish(self, messages: Sequence[Message]) -> None:
        """As the protocol says."""
        if self.slow:
            await asyncio.sleep(0.05)
        if self.refuses:
            self.refuses -= 1
            raise ConnectionError("no bus")
        self.messages += messages

    @property
    def told(self) -> list[str]:
        """What the events said, in order."""
        return [decode(Happened, message.payload).what for message in self.messages]


@pytest_asyncio.fixture(loop_scope="session")
async def spine(postgres: Address, tmp_path: Path) -> AsyncGenerator[Spine]:
    """A spine on a database of the test's own."""
    async with open_spine(postgres, tmp_path) as one:
        yield one


async def change(database: Database, outbox: Outbox, what: str, *, fails: bool = False) -> None:
    """A change and its event, in one transaction."""
    async with database.transaction() as tx:
        await tx.execute("INSERT INTO effects (what) VALUES ($1)", what)
        await outbox.add(tx, [Happened(what=what)])
        if fails:
            raise ValueError(what)


async def waiting(spine: Spine) -> int:
    """How many events are in the outbox."""
    return (await spine.superuser("SELECT count(*) FROM outbox"))[0][0]


async def test_an_event_stands_or_falls_with_its_change(spine: Spine) -> None:
    """A transaction that is rolled back tells nothing; one that is saved tells all."""
    database, outbox, bus = await spine.database(), Outbox(), Carried()
    await change(database, outbox, "kept")
    with pytest.raises(ValueError, match="gone"):
        await change(database, outbox, "gone", fails=True)
    assert await relay_once(database, bus) == 1
    assert bus.told == ["kept"] == await spine.effects()
    assert await relay_once(database, bus) == 0


async def test_events_leave_in_the_order_in_which_they_were_saved(spine: Spine) -> None:
    """Also across transactions and batches."""
    database, outbox, bus = await spine.database(), Outbox(), Carried()
    for number in range(3):
        async with database.transaction() as tx:
            await outbox.add(tx, [Happened(what=f"{number}.{part}") for part in range(250)])
    while await relay_once(database, bus):
        pass
    assert bus.told == [f"{number}.{part}" for number in range(3) for part in range(250)]


async def test_nothing_to_say_is_nothing(spine: Spine) -> None:
    """An empty list of events costs no statement and wakes nobody."""
    database, outbox = await spine.database(), Outbox()
    outbox.wake = lambda: pytest.fail("woken for nothing")
    async with database.transaction() as tx:
        await outbox.add(tx, [])


async def test_a_bus_that_refuses_loses_nothing(spine: Spine) -> None:
    """The events stay, in order, until the bus has taken them."""
    database, outbox, bus = await spine.database(), Outbox(), Carried()
    for what in ("a", "b"):
        await change(database, outbox, what)
    bus.refuses = 2
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await relay_once(database, bus)
        assert await waiting(spine) == 2
    assert await relay_once(database, bus) == 2
    assert bus.told == ["a", "b"]
    assert await waiting(spine) == 0


async def test_a_relay_that_dies_before_its_commit_sends_again(spine: Spine) -> None:
    """At least once: what the bus took and the outbox did not forget goes again, with its id."""
    database, outbox, bus = await spine.database(), Outbox(), Carried()
    await change(database, outbox, "a")

    async def dies(messages: Sequence[Message]) -> None:
        await bus.publish(messages)
        raise asyncio.CancelledError

    class Dying:
        publish = staticmethod(dies)

    with pytest.raises(asyncio.CancelledError):
        await relay_once(database, Dying())
    assert await relay_once(database, bus) == 1
    assert len(bus.messages) == 2
    assert bus.messages[0].event_id == bus.messages[1].event_id


async def test_many_relays_send_each_event_once(spine: Spine) -> None:
    """Any number of processes relay the same outbox, and none takes what another has."""
    outbox, bus = Outbox(), Carried()
    bus.slow = True
    processes = [await spine.database(most=2) for _ in range(4)]
    async with processes[0].transaction() as tx:
        await outbox.add(tx, [Happened(what=str(number)) for number in range(1200)])
    while await waiting(spine):
        await asyncio.gather(*(relay_once(one, bus) for one in processes))
    assert sorted(bus.told, key=int) == [str(number) for number in range(1200)]


async def test_a_killed_relay_gives_its_events_back_at_once(spine: Spine) -> None:
    """The claim is a lock and no lease: with its connection it is gone."""
    first, second = await spine.database(), await spine.database()
    outbox, bus = Outbox(), Carried()
    await change(first, outbox, "a")
    holds = asyncio.Event()

    class Hanging:
        async def publish(self, messages: Sequence[Message]) -> None:
            assert messages
            holds.set()
            await asyncio.Event().wait()

    hanging = asyncio.create_task(relay_once(first, Hanging()))
    await holds.wait()
    assert await relay_once(second, bus) == 0
    await spine.superuser(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE state = 'idle in transaction' AND datname = current_database()"
    )

    async def taken() -> bool:
        return await relay_once(second, bus) == 1

    await eventually(taken)
    assert bus.told == ["a"]
    hanging.cancel()
    await asyncio.wait([hanging])


async def test_one_relay_at_a_time(spine: Spine) -> None:
    """While one relay is at work no other takes what comes next: it might arrive before."""
    first, second = await spine.database(), await spine.database()
    outbox, bus = Outbox(), Carried()
    async with first.transaction() as tx:
        await outbox.add(tx, [Happened(what=str(number)) for number in range(700)])
    at_work, go_on = asyncio.Event(), asyncio.Event()

    class Waiting:
        async def publish(self, messages: Sequence[Message]) -> None:
            at_work.set()
            await go_on.wait()
            await bus.publish(messages)

    working = asyncio.create_task(relay_once(first, Waiting()))
    await at_work.wait()
    await change(second, outbox, "700")
    assert await relay_once(second, bus) == 0
    go_on.set()
    assert await working == 500
    assert await relay_once(second, bus) == 201
    assert bus.told == [str(number) for number in range(701)]


async def test_a_relay_looks_again_soon_where_another_is_at_work(spine: Spine) -> None:
    """What was saved meanwhile does not wait for the next round, and nothing to do is no work."""
    first, second = await spine.database(), await spine.database()
    outbox, bus = Outbox(), Carried()
    await change(first, outbox, "a")
    looks: list[bool] = []
    other = relay("trial", second, bus)

    class Looking:
        async def publish(self, messages: Sequence[Message]) -> None:
            assert messages
            looks.append(await other._step())

    await relay_once(first, Looking())
    assert looks == [True]
    assert await other._step() is False


async def test_the_request_travels_with_the_event(spine: Spine) -> None:
    """The id and the trace of the request being answered, or those that are given, or none."""
    database, outbox, bus = await spine.database(), Outbox(), Carried()
    nobody = asyncio.create_task(change(database, outbox, "nobody's"), context=Context())
    await nobody

    async def request() -> None:
        enter("request-1", Trace("a" * 32, "b" * 16, sampled=True), 0.0)
        await change(database, outbox, "a request's")

    await asyncio.create_task(request())
    async with database.transaction() as tx:
        await outbox.add(tx, [Happened(what="given")], [Cause("request-2")])
    assert await relay_once(database, bus) == 3
    assert [(one.request_id, one.traceparent) for one in bus.messages] == [
        ("", ""),
        ("request-1", f"00-{'a' * 32}-{'b' * 16}-01"),
        ("request-2", ""),
    ]


async def test_the_worker_is_woken_by_the_commit(spine: Spine) -> None:
    """Where a relay runs in this process, it starts when the transaction is saved, not before."""
    database, outbox, bus = await spine.database(), Outbox(), Carried()
    worker = relay("trial", database, bus)
    woken: list[str] = []

    def wake() -> None:
        woken.append("woken")
        worker.wake()

    outbox.wake = wake
    worker.start()
    try:
        async with database.transaction() as tx:
            await outbox.add(tx, [Happened(what="a")])
            assert not woken

        async def told() -> bool:
            return bus.told == ["a"]

        await eventually(told)
        assert woken == ["woken"]
    finally:
        await worker.stop()


async def test_another_process_hears_of_it(spine: Spine) -> None:
    """Where no relay runs here, a NOTIFY at commit tells the process that has one."""
    here, there = await spine.database(), await spine.database()
    heard: list[str] = []
    await there.listen(CHANNEL, heard.append)
    await there.keep_listening()
    before = len(heard)  # "whatever was missed meanwhile"
    await change(here, Outbox(), "a")

    async def told() -> bool:
        return len(heard) > before

    await eventually(told)


async def test_every_consumer_gets_what_it_wants() -> None:
    """The local bus hands each subscriber its types only, and one that fails stops no other."""
    from faults.spine import messages_of

    class Consumer:
        def __init__(self, kind: type[Event], *, fails: bool = False) -> None:
            self.types = frozenset({kind.TYPE})
            self.fails = fails
            self.got: list[str] = []

        async def handle(self, messages: Sequence[Message]) -> None:
            await asyncio.sleep(0)
            if self.fails:
                raise ConnectionError("away")
            self.got += [message.type for message in messages]

    bus = LocalBus()
    bad, good, other = (
        Consumer(Happened, fails=True),
        Consumer(Happened),
        Consumer(HappenedToo),
    )
    for consumer in (bad, good, other):
        bus.subscribe(consumer)
    with pytest.raises(ConnectionError):
        await bus.publish(messages_of([Happened(what="a"), HappenedToo(what="b")]))
    assert good.got == [Happened.TYPE]
    assert other.got == [HappenedToo.TYPE]
    bad.fails = False
    await bus.publish(messages_of([Happened(what="c")]))
    assert bad.got == [Happened.TYPE]


async def test_an_outbox_is_written_in_its_own_transaction_only(spine: Spine) -> None:
    """`add` needs a transaction: there is no way to publish without one."""
    database, outbox = await spine.database(), Outbox()
    async with database.transaction() as tx:
        assert isinstance(tx, Transaction)
        await outbox.add(tx, [Happened(what="a")])
        assert await tx.fetch_value("SELECT count(*) FROM outbox") == 1
    assert await waiting(spine) == 1

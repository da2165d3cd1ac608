"""The inbox: an effect is applied once (P6), and a poison message stops nobody else (P8)."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from faults.spine import Happened, HappenedToo, Spine, messages_of, open_spine, silence
from tradewind.platform.bus import LocalBus
from tradewind.platform.database import Address, Contended, Database, DatabaseDown, Transaction
from tradewind.platform.events import Cause
from tradewind.platform.inbox import (
    ATTEMPTS_MOST,
    Inbox,
    delete_old,
    delete_parked,
    list_parked,
    update_replayed,
)
from tradewind.platform.outbox import Outbox, relay_once

pytestmark = pytest.mark.asyncio


class Reactions:
    """What the service of the test does about events; `poison` makes it fail for these."""

    def __init__(self) -> None:
        self.poison: set[str] = set()
        self.contended: set[str] = set()
        self.calls: list[list[str]] = []

    async def note(self, tx: Transaction, events: Sequence[Happened]) -> None:
        """Leaves a mark for each."""
        whats = [event.what for event in events]
        self.calls.append(whats)
        await tx.execute(
            "INSERT INTO effects (what) SELECT unnest($1::text[])",
            [f"note {what}" for what in whats],
        )
        if self.contended & set(whats):
            raise Contended("locked")
        if self.poison & set(whats):
            raise ValueError("poison")

    async def note_too(self, tx: Transaction, events: Sequence[Any]) -> None:
        """A second reaction, which never fails."""
        await tx.execute(
            "INSERT INTO effects (what) SELECT unnest($1::text[])",
            [f"too {event.what}" for event in events],
        )

    def inbox(self, database: Database) -> Inbox:
        """One process's inbox."""
        return Inbox(
            "trial",
            database,
            {Happened: (self.note, self.note_too), HappenedToo: (self.note_too,)},
        )


@pytest_asyncio.fixture(loop_scope="session")
async def spine(postgres: Address, tmp_path: Path) -> AsyncGenerator[Spine]:
    """A spine on a database of the test's own."""
    async with open_spine(postgres, tmp_path) as one:
        with silence():
            yield one


async def an_hour_passes(spine: Spine) -> None:
    """Whatever is due within the hour is due now."""
    await spine.superuser("UPDATE deliveries SET due_at = due_at - interval '1 hour'")


async def pauses_noted(spine: Spine) -> None:
    """From now on the pause that a failed delivery is given is noted in a table of its own, as it
    is given: asked for later it is shorter, by however long that took.
    """
    for statement in (
        "CREATE TABLE pauses (number int GENERATED ALWAYS AS IDENTITY, seconds float8)",
        """
        CREATE FUNCTION note_pause() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
            INSERT INTO trial.pauses (seconds) VALUES (extract(epoch FROM NEW.due_at - now()));
            RETURN NULL;
        END $$
        """,
        """
        CREATE TRIGGER noting AFTER INSERT OR UPDATE OF attempts ON deliveries
        FOR EACH ROW EXECUTE FUNCTION note_pause()
        """,
    ):
        await spine.superuser(statement)


async def retry_all(spine: Spine, inbox: Inbox) -> None:
    """Failed deliveries are tried again until none is due any more."""
    for _ in range(ATTEMPTS_MOST + 2):
        await an_hour_passes(spine)
        await inbox.retry_once()


async def test_the_effect_of_an_event_is_applied_once(spine: Spine) -> None:
    """However often a message comes, alone, doubled in a batch, or to another process."""
    first, second = Reactions(), Reactions()
    here, there = first.inbox(await spine.database()), second.inbox(await spine.database())
    [message] = messages_of([Happened(what="a")])
    await here.handle([message])
    await here.handle([message, message])
    await there.handle([message])
    assert sorted(await spine.effects()) == ["note a", "too a"]


async def test_a_message_twice_in_one_batch(spine: Spine) -> None:
    """Its publisher was not sure whether the first had arrived; the effect is applied once."""
    inbox = Reactions().inbox(await spine.database())
    first, second = messages_of([Happened(what="a"), Happened(what="b")])
    await inbox.handle([first, second, first, second])
    assert sorted(await spine.effects()) == ["note a", "note b", "too a", "too b"]


async def test_the_same_message_at_two_processes_at_once(spine: Spine) -> None:
    """The inbox row decides between two that are handed the same message at the same time."""
    inboxes = [Reactions().inbox(await spine.database()) for _ in range(4)]
    messages = messages_of([Happened(what=str(number)) for number in range(20)])
    await asyncio.gather(*(one.handle(list(messages)) for one in inboxes))
    effects = await spine.effects()
    assert sorted(effects) == sorted(
        [f"{word} {number}" for number in range(20) for word in ("note", "too")]
    )


async def test_a_batch_is_one_call_of_each_reaction(spine: Spine) -> None:
    """Written for many: a hundred messages are one transaction and one call."""
    reactions = Reactions()
    inbox = reactions.inbox(await spine.database())
    await inbox.handle(messages_of([Happened(what=str(number)) for number in range(100)]))
    assert reactions.calls == [[str(number) for number in range(100)]]


async def test_a_poison_message_stops_nobody_else(spine: Spine) -> None:
    """In a batch with a bad one all others are applied, and the bad one's other reaction too."""
    reactions = Reactions()
    reactions.poison = {"13"}
    inbox = reactions.inbox(await spine.database())
    await inbox.handle(messages_of([Happened(what=str(number)) for number in range(32)]))
    effects = set(await spine.effects())
    assert {f"note {number}" for number in range(32) if number != 13} <= effects
    assert {f"too {number}" for number in range(32)} <= effects
    assert "note 13" not in effects


async def test_a_poison_message_is_parked_and_replayed_once(spine: Spine) -> None:
    """After ATTEMPTS_MOST tries it rests, with its error, until somebody replays it."""
    reactions = Reactions()
    reactions.poison = {"bad"}
    database = await spine.database()
    inbox = reactions.inbox(database)
    await inbox.handle(messages_of([Happened(what="bad")]))
    tries = [1]
    while not (await spine.superuser("SELECT 1 FROM deliveries WHERE parked_at IS NOT NULL")):
        await an_hour_passes(spine)
        await inbox.retry_once()
        tries.append(tries[-1] + 1)
        assert tries[-1] <= ATTEMPTS_MOST
    assert tries[-1] == ATTEMPTS_MOST
    async with database.transaction() as tx:
        [parked] = await list_parked(tx)
    assert (parked[1], parked[2], parked[4]) == ("note", Happened.TYPE, ATTEMPTS_MOST)
    assert "poison" in parked[5]
    calls = len(reactions.calls)
    await retry_all(spine, inbox)
    assert len(reactions.calls) == calls, "a parked delivery rests"
    reactions.poison = set()
    async with database.transaction() as tx:
        assert await update_replayed(tx) == 1
    await inbox.retry_once()
    async with database.transaction() as tx:
        assert await update_replayed(tx) == 0
    await retry_all(spine, inbox)
    assert (await spine.effects()).count("note bad") == 1
    assert await spine.superuser("SELECT 1 FROM deliveries") == []


async def test_a_delivery_that_fails_for_a_while_is_applied_once(spine: Spine) -> None:
    """The pauses grow, and the message that comes once more meanwhile changes nothing."""
    reactions = Reactions()
    reactions.poison = {"bad"}
    inbox = reactions.inbox(await spine.database())
    messages = messages_of([Happened(what="bad")])
    await pauses_noted(spine)
    await inbox.handle(messages)
    for _ in range(3):
        await an_hour_passes(spine)
        await inbox.retry_once()
    pauses = await spine.superuser("SELECT seconds FROM pauses ORDER BY number")
    assert [row["seconds"] for row in pauses] == [1, 2, 4, 8]
    reactions.poison = set()
    await inbox.handle(messages)  # the relay died before its commit, and sends again
    await an_hour_passes(spine)
    await inbox.retry_once()
    assert (await spine.effects()).count("note bad") == 1
    assert await spine.superuser("SELECT 1 FROM deliveries") == []


async def test_two_processes_retry_the_same_delivery_once(spine: Spine) -> None:
    """The inbox row decides here too."""
    reactions = Reactions()
    reactions.poison = {"bad"}
    inboxes = [reactions.inbox(await spine.database()) for _ in range(4)]
    await inboxes[0].handle(messages_of([Happened(what="bad")]))
    reactions.poison = set()
    await an_hour_passes(spine)
    await asyncio.gather(*(one.retry_once() for one in inboxes))
    assert (await spine.effects()).count("note bad") == 1


async def test_contention_is_saved_and_tried_again_like_any_failure(spine: Spine) -> None:
    """A lock that somebody else holds is nobody's poison: the next try applies it."""
    reactions = Reactions()
    reactions.contended = {"a"}
    inbox = reactions.inbox(await spine.database())
    await inbox.handle(messages_of([Happened(what="a")]))
    reactions.contended = set()
    await an_hour_passes(spine)
    await inbox.retry_once()
    assert (await spine.effects()).count("note a") == 1


async def test_a_payload_of_another_shape_is_poison(spine: Spine) -> None:
    """What cannot be decoded is parked like the rest, and stops nobody."""
    import msgspec

    inbox = Reactions().inbox(await spine.database())
    good, bad = messages_of([Happened(what="good"), Happened(what="bad")])
    bad = msgspec.structs.replace(bad, payload=b'{"what": 7}')
    await inbox.handle([good, bad])
    assert set(await spine.effects()) == {"note good", "too good"}
    assert len(await spine.superuser("SELECT 1 FROM deliveries")) == 2


async def test_the_database_being_down_is_the_bus_s_business(spine: Spine) -> None:
    """Where nothing can be saved, not even the failure, the message stays with its publisher."""
    database = await spine.database()
    inbox = Reactions().inbox(database)
    await database.close()
    with pytest.raises(DatabaseDown):
        await inbox.handle(messages_of([Happened(what="a")]))


async def test_an_unknown_reaction_keeps_nobody_waiting(spine: Spine) -> None:
    """A delivery that this version knows no reaction to rests; the others are still tried."""
    reactions = Reactions()
    inbox = reactions.inbox(await spine.database())
    await spine.superuser(
        """
        INSERT INTO deliveries (event_id, reaction, type, key, payload, due_at, error)
        SELECT gen_random_uuid(), 'of_another_version', 'trial.gone.v1', '', '',
            now() - interval '1 h', 'never tried' FROM generate_series(1, 60)
        """
    )
    reactions.poison = {"a"}
    await inbox.handle(messages_of([Happened(what="a")]))
    reactions.poison = set()
    await spine.superuser("UPDATE deliveries SET due_at = now() WHERE reaction = 'note'")
    async with asyncio.timeout(30):
        while await inbox.retry_once():
            pass
    assert (await spine.effects()).count("note a") == 1


async def test_what_was_handled_is_forgotten_after_a_week_and_not_before(spine: Spine) -> None:
    """The memory of the inbox outlives every redelivery, and does not grow for ever."""
    database = await spine.database()
    inbox = Reactions().inbox(database)
    await inbox.handle(messages_of([Happened(what="old"), Happened(what="new")]))
    await spine.superuser(
        "UPDATE inbox SET handled_at = handled_at - interval '8 days' WHERE event_id = "
        "(SELECT min(event_id::text)::uuid FROM inbox)"
    )
    async with database.transaction() as tx:
        assert await delete_old(tx, 100) == 2
    assert len(await spine.superuser("SELECT 1 FROM inbox")) == 2


async def test_some_are_replayed_or_dropped(spine: Spine) -> None:
    """One event may be named, so that the others rest; what is dropped is never done."""
    reactions = Reactions()
    database = await spine.database()
    inbox = reactions.inbox(database)
    messages = messages_of([Happened(what=what) for what in ("a", "b", "c")])
    await inbox.park(messages, [], "dead letter")
    async with database.transaction() as tx:
        assert len(await list_parked(tx)) == 6
        assert await update_replayed(tx, [messages[0].event_id]) == 2
        assert await delete_parked(tx, [messages[1].event_id]) == 2
    await inbox.retry_once()
    assert sorted(await spine.effects()) == ["note a", "too a"]
    async with database.transaction() as tx:
        assert await update_replayed(tx) == 2
    await inbox.retry_once()
    assert sorted(await spine.effects()) == ["note a", "note c", "too a", "too c"]


async def test_the_request_is_kept_with_what_failed(spine: Spine) -> None:
    """A failed delivery names the request that it comes from, in its row and to the next try."""
    reactions = Reactions()
    reactions.poison = {"bad"}
    database, outbox = await spine.database(), Outbox()
    inbox = reactions.inbox(database)
    bus = LocalBus()
    bus.subscribe(inbox)
    cause = Cause("request-1", f"00-{'a' * 32}-{'b' * 16}-01")
    async with database.transaction() as tx:
        await outbox.add(tx, [Happened(what="bad")], [cause])
    assert await relay_once(database, bus) == 1
    await retry_all(spine, inbox)
    async with database.transaction() as tx:
        [parked] = await list_parked(tx)
    assert parked[7] == cause.request_id
    [row] = await spine.superuser("SELECT traceparent FROM deliveries")
    assert row["traceparent"] == cause.traceparent


async def test_from_outbox_to_effect_and_once(spine: Spine) -> None:
    """The whole way, with a relay that dies after the effect: still one effect for each event."""
    database, outbox = await spine.database(), Outbox()
    reactions = Reactions()
    inbox = reactions.inbox(database)
    bus = LocalBus()
    bus.subscribe(inbox)
    async with database.transaction() as tx:
        await outbox.add(tx, [Happened(what="a"), HappenedToo(what="b"), Happened(what="c")])

    class Dying:
        async def publish(self, messages: Sequence[Any]) -> None:
            await bus.publish(messages)
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await relay_once(database, Dying())
    assert await relay_once(database, bus) == 3
    assert sorted(await spine.effects()) == ["note a", "note c", "too a", "too b", "too c"]

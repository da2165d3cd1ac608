"""Events out; one rule: an event is saved in the transaction of the change that it tells of.

`add` is the only way to publish. One relay at a time, of any number of processes, takes saved
events, hands them to the bus, and deletes them when the bus has them for good: at least once, and
in their order.
"""

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from tradewind.platform.bus import Bus
from tradewind.platform.database import Database, Reading, Transaction
from tradewind.platform.events import Cause, Event, Message, encode
from tradewind.platform.ids import new_id
from tradewind.platform.lifecycle import Worker
from tradewind.platform.web.context import current

CHANNEL = "tradewind_outbox"
_BATCH = 500
_LOCK = 0x6F75_7462
"""The first half of the advisory lock of a relay; the second half is its schema."""
_TURN_SECONDS = 0.05
_GATHER_SECONDS = 0.02
"""Between two batches that were not full: no customer waits for an event, and few large batches
cost less than many small ones."""
_caused_by: ContextVar[Cause | None] = ContextVar("caused_by", default=None)


class Outbox:
    """One service's outbox. `wake` is set where a relay runs in this process."""

    def __init__(self) -> None:
        self.wake: Callable[[], None] | None = None

    async def add(
        self, tx: Transaction, events: Sequence[Event], causes: Sequence[Cause] | None = None
    ) -> None:
        """Saves the events; they leave after the commit, in this order.

        `causes` says for each event which request it comes from. Without it that is the request
        being answered here, or none: a batch of many requests belongs to none of them.
        """
        if not events:
            return
        if causes is None:
            causes = [current_cause()] * len(events)
        await tx.execute(
            """
            INSERT INTO outbox (event_id, type, key, payload, request_id, traceparent)
            SELECT * FROM unnest(
                $1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::text[])
            """,
            [new_id() for _ in events],
            [event.TYPE for event in events],
            [event.key for event in events],
            [encode(event) for event in events],
            [cause.request_id for cause in causes],
            [cause.traceparent for cause in causes],
        )
        if self.wake is not None:
            tx.after_commit(self.wake)
        else:
            # NOTIFY takes a cluster-wide lock at commit, so it is kept off the hot path.
            await tx.notify(CHANNEL)


def current_cause() -> Cause:
    """The request being answered, or whose event is reacted to; empty outside of both."""
    context = current()
    if context is None:
        return _caused_by.get() or Cause()
    trace = context.trace
    if trace is None:
        return Cause(context.request_id)
    flags = "01" if trace.sampled else "00"
    return Cause(context.request_id, f"00-{trace.trace_id}-{trace.parent_id}-{flags}")


@contextmanager
def caused_by(cause: Cause) -> Generator[None]:
    """What is told in here, and outside of a request, comes from this one."""
    token = _caused_by.set(cause)
    try:
        yield
    finally:
        _caused_by.reset(token)


def relay(name: str, database: Database, bus: Bus) -> Worker:
    """The worker that empties one service's outbox onto the bus."""

    async def step() -> bool:
        count = await relay_once(database, bus)
        if 0 < count < _BATCH:
            await asyncio.sleep(_GATHER_SECONDS)
        if count:
            return count == _BATCH
        async with database.reading() as reading:
            others_turn = await find_any(reading)
        if others_turn:
            # What was saved since the other relay looked is left to whoever looks next.
            await asyncio.sleep(_TURN_SECONDS)
        return others_turn

    return Worker(f"relay {name}", step, every_seconds=1.0)


async def relay_once(database: Database, bus: Bus) -> int:
    """Relays one batch; answers how many events it held. They stay if the bus refuses.

    None where another relay of the same schema is at work: two could make events of one key change
    places. The lock ends with the transaction, and so with the connection of one that was killed.
    """
    async with database.claim() as tx:
        rows = await tx.fetch(
            """
            DELETE FROM outbox WHERE position = ANY (ARRAY(
                SELECT position FROM outbox
                WHERE (SELECT pg_try_advisory_xact_lock($2, hashtext(current_schema())))
                ORDER BY position LIMIT $1))
            RETURNING position, event_id, type, key, payload, created_at, request_id, traceparent
            """,
            _BATCH,
            _LOCK,
        )
        if rows:
            rows.sort(key=lambda row: row["position"])
            await bus.publish([Message(*row[1:]) for row in map(tuple, rows)])
    return len(rows)


async def find_any(tx: Reading) -> bool:
    """Whether any event waits to be told."""
    return await tx.fetch_value("SELECT EXISTS (SELECT FROM outbox)")


async def find_newest_position(tx: Reading) -> int:
    """The position of the newest event ever saved (or given up); 0 before the first."""
    query = "SELECT coalesce(pg_sequence_last_value('outbox_position_seq'), 0)"
    return await tx.fetch_value(query)

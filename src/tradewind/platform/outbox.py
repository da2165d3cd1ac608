"""Events out; one rule: an event is saved in the transaction of the change that it tells of.

`add` is the only way to publish. A relay in any number of processes takes saved events with
SKIP LOCKED, hands them to the bus, and deletes them when the bus has them for good: at least once.
"""

from collections.abc import Callable, Sequence

from tradewind.platform.bus import Bus
from tradewind.platform.database import Database, Transaction
from tradewind.platform.events import Event, Message, encode
from tradewind.platform.ids import new_id
from tradewind.platform.lifecycle import Worker

CHANNEL = "tradewind_outbox"
_BATCH = 500


class Outbox:
    """One service's outbox. `wake` is set where a relay runs in this process."""

    def __init__(self) -> None:
        self.wake: Callable[[], None] | None = None

    async def add(self, tx: Transaction, events: Sequence[Event]) -> None:
        """Saves the events; they leave after the commit, in this order."""
        if not events:
            return
        await tx.execute(
            """
            INSERT INTO outbox (event_id, type, key, payload)
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[])
            """,
            [new_id() for _ in events],
            [event.TYPE for event in events],
            [event.key for event in events],
            [encode(event) for event in events],
        )
        if self.wake is not None:
            tx.after_commit(self.wake)
        else:
            # NOTIFY takes a cluster-wide lock at commit, so it is kept off the hot path.
            await tx.notify(CHANNEL)


def relay(name: str, database: Database, bus: Bus) -> Worker:
    """The worker that empties one service's outbox onto the bus."""

    async def step() -> bool:
        return await relay_once(database, bus) == _BATCH

    return Worker(f"relay {name}", step, every_seconds=1.0)


async def relay_once(database: Database, bus: Bus) -> int:
    """Relays one batch; answers how many events it held. They stay if the bus refuses."""
    async with database.claim() as tx:
        rows = await tx.fetch(
            """
            DELETE FROM outbox WHERE position = ANY (ARRAY(
                SELECT position FROM outbox ORDER BY position LIMIT $1 FOR UPDATE SKIP LOCKED))
            RETURNING position, event_id, type, key, payload, created_at
            """,
            _BATCH,
        )
        if rows:
            rows.sort(key=lambda row: row["position"])
            await bus.publish([Message(*row[1:]) for row in map(tuple, rows)])
    return len(rows)

"""Events in; one rule: an effect and the note that it was done are one transaction.

A reaction is a function of a list of events of one type, in order. The inbox runs all reactions to
a batch of messages in one transaction with their notes. Where that fails, it halves the batch until
the (event, reaction) pair that spoils it is alone; that pair is saved as a failed delivery, tried
again with growing pauses, and parked after ATTEMPTS_MOST: the others keep flowing (P8).
"""

import hashlib
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import msgspec
import structlog

from tradewind.platform.database import Contended, Database, DatabaseDown, Reading, Transaction
from tradewind.platform.events import Cause, Event, Message, decode
from tradewind.platform.lifecycle import Worker
from tradewind.platform.outbox import caused_by

ATTEMPTS_MOST = 8
KEEP_DAYS = 7
UNREADABLE = "unreadable"
"""Type and reaction of a parked message of which nobody knows what it says."""
_FORGET_MOST = 5000
_RETRIED_MOST = 50
_IDS_NAMED_MOST = 50

Reaction = Callable[[Transaction, Sequence[Any]], Awaitable[None]]
_log = structlog.get_logger(__name__)


class _Unit(msgspec.Struct, frozen=True):
    """One reaction to one message."""

    message: Message
    reaction: str


class Inbox:
    """One service's inbox: what it reacts to, and the memory of what it has done."""

    def __init__(
        self, service: str, database: Database, reactions: Mapping[type[Any], Sequence[Reaction]]
    ) -> None:
        self.service = service
        self._database = database
        self._kinds: dict[str, type[Event]] = {kind.TYPE: kind for kind in reactions}
        self._names = {kind.TYPE: [_name(one) for one in many] for kind, many in reactions.items()}
        self._reactions = {
            (kind.TYPE, _name(one)): one for kind, many in reactions.items() for one in many
        }

    @property
    def types(self) -> frozenset[str]:
        """The event types that it wants."""
        return frozenset(self._kinds)

    async def handle(self, messages: Sequence[Message]) -> None:
        """Takes each message once; raises DatabaseDown where nothing could be taken."""
        units = [_Unit(message, name) for message in messages for name in self._names[message.type]]
        await self._settle(units)

    async def _settle(self, units: list[_Unit]) -> None:
        try:
            async with self._database.transaction() as tx:
                await self._react(tx, units)
        except DatabaseDown:
            raise
        except Exception as error:  # noqa: BLE001  saved with the delivery that it spoils
            if len(units) > 1:
                half = len(units) // 2
                await self._settle(units[:half])
                await self._settle(units[half:])
                return
            _log.warning(
                "reaction failed",
                service=self.service,
                reaction=units[0].reaction,
                event_id=str(units[0].message.event_id),
                **_cause_of(units[0].message),
                error=repr(error),
                exc_info=not isinstance(error, Contended),
            )
            await self._save_failure(units[0], error)

    async def _react(self, tx: Transaction, units: list[_Unit]) -> None:
        fresh = await insert_handled(tx, units)
        groups: dict[tuple[str, str], list[Event]] = {}
        for unit in units:
            pair = unit.message.event_id, unit.reaction
            if pair in fresh:
                fresh.remove(pair)  # it may be in the batch twice: its publisher tried again
                kind = self._kinds[unit.message.type]
                group = groups.setdefault((unit.message.type, unit.reaction), [])
                group.append(decode(kind, unit.message.payload))
        with _named([unit.message for unit in units]):
            for name, events in groups.items():
                await self._reactions[name](tx, events)
                _log.debug("reacted", service=self.service, reaction=name[1], events=len(events))

    async def _save_failure(self, unit: _Unit, error: Exception) -> None:
        async with self._database.transaction() as tx:
            await upsert_failure(tx, unit, repr(error)[:2000])

    async def park(
        self, messages: Sequence[Message], unreadable: Sequence[bytes], error: str
    ) -> None:
        """Parks what could not be delivered, for every reaction that has not had it yet.

        A body that cannot be read is parked as it is. Harmless when repeated; raises DatabaseDown.
        """
        units = [
            _Unit(message, name)
            for message in messages
            for name in self._names.get(message.type, ())
        ]
        async with self._database.transaction() as tx:
            await insert_parked(tx, units, error)
            await insert_unreadable(tx, unreadable, error)

    async def retry_once(self) -> bool:
        """Tries failed deliveries that are due; answers whether there may be more."""
        async with self._database.reading() as reading:
            rows = await reading.fetch(
                """
                SELECT event_id, reaction, type, key, payload, created_at, request_id, traceparent
                FROM deliveries
                WHERE parked_at IS NULL AND due_at <= now()
                    AND (type, reaction) IN (SELECT * FROM unnest($1::text[], $2::text[]))
                ORDER BY due_at LIMIT $3
                """,
                # Another version's reactions are left to it: they would stand in the way of ours.
                [type_ for type_, _ in self._reactions],
                [reaction for _, reaction in self._reactions],
                _RETRIED_MOST,
            )
        for row in rows:
            event_id, reaction, *rest = tuple(row)
            message = Message(event_id, *rest)
            unit = _Unit(message, reaction)
            try:
                async with self._database.transaction() as tx:
                    # The inbox row decides between two processes that try the same delivery.
                    await self._react(tx, [unit])
                    await tx.execute(
                        "DELETE FROM deliveries WHERE event_id = $1 AND reaction = $2",
                        message.event_id,
                        unit.reaction,
                    )
            except DatabaseDown:
                raise
            except Exception as error:  # noqa: BLE001  whatever it was, it is saved with the delivery
                await self._save_failure(unit, error)
        return len(rows) == _RETRIED_MOST

    async def forget_once(self) -> bool:
        """Forgets what was handled long ago; answers whether there may be more."""
        async with self._database.transaction() as tx:
            return await delete_old(tx, _FORGET_MOST) == _FORGET_MOST

    def forgetting(self) -> Worker:
        """The worker that keeps the memory of handled events short."""
        return Worker(f"forget {self.service}", self.forget_once, every_seconds=300.0)

    def retries(self) -> Worker:
        """The worker that tries failed deliveries again."""
        return Worker(f"retries {self.service}", self.retry_once, every_seconds=1.0)


def _name(reaction: Any) -> str:
    return str(getattr(reaction, "func", reaction).__name__)


@contextmanager
def _named(messages: Sequence[Message]) -> Generator[None]:
    """Log lines in here name the requests that these events come from.

    Where that is one request, what is told in here comes from it as well.
    """
    causes = {Cause(one.request_id, one.traceparent) for one in messages if one.request_id}
    ids = sorted({one.request_id for one in causes})
    bound = {"request_id": ids[0]} if len(ids) == 1 else {}
    if len(ids) > 1:
        bound["request_ids"] = ",".join(ids[:_IDS_NAMED_MOST])
    traces = {one.traceparent.split("-")[1] for one in causes if one.traceparent}
    if len(traces) == 1 and len(causes) == 1:
        bound["trace_id"] = traces.pop()
    with (
        structlog.contextvars.bound_contextvars(**bound),
        caused_by(causes.pop() if len(causes) == 1 else Cause()),
    ):
        yield


def _cause_of(message: Message) -> dict[str, str]:
    """What a log line says of the request that an event comes from."""
    said = {"request_id": message.request_id, "traceparent": message.traceparent}
    return {name: value for name, value in said.items() if value}


async def insert_handled(tx: Transaction, units: Sequence[_Unit]) -> set[tuple[Any, str]]:
    """Notes the pairs as done; answers those that were not before."""
    rows = await tx.fetch(
        """
        INSERT INTO inbox (event_id, reaction)
        SELECT * FROM unnest($1::uuid[], $2::text[]) AS given (e, r) ORDER BY e, r
        ON CONFLICT DO NOTHING RETURNING event_id, reaction
        """,
        [unit.message.event_id for unit in units],
        [unit.reaction for unit in units],
    )
    return {(row[0], row[1]) for row in rows}


async def upsert_failure(tx: Transaction, unit: _Unit, error: str) -> None:
    """Saves or counts a failed delivery; the pause doubles from 1 s to 5 min."""
    message = unit.message
    await tx.execute(
        """
        INSERT INTO deliveries
            (event_id, reaction, type, key, payload, due_at, error, request_id, traceparent)
        VALUES ($1, $2, $3, $4, $5, now() + interval '1 second', $6, $8, $9)
        ON CONFLICT (event_id, reaction) DO UPDATE SET
            attempts = deliveries.attempts + 1,
            error = excluded.error,
            due_at = now() + least(300, 2 ^ deliveries.attempts) * interval '1 second',
            parked_at = CASE WHEN deliveries.attempts + 1 >= $7 THEN now() END
        """,
        message.event_id,
        unit.reaction,
        message.type,
        message.key,
        message.payload,
        error,
        ATTEMPTS_MOST,
        message.request_id,
        message.traceparent,
    )


async def insert_parked(tx: Transaction, units: Sequence[_Unit], error: str) -> None:
    """Parks pairs that were not handled; one that is waiting for its next try is left to that."""
    messages = [unit.message for unit in units]
    await tx.execute(
        """
        INSERT INTO deliveries
            (event_id, reaction, type, key, payload, request_id, traceparent,
            due_at, parked_at, error)
        SELECT given.*, now(), now(), $8
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[],
            $7::text[]) AS given (event_id, reaction)
        WHERE NOT EXISTS (
            SELECT FROM inbox
            WHERE inbox.event_id = given.event_id AND inbox.reaction = given.reaction)
        ON CONFLICT (event_id, reaction) DO NOTHING
        """,
        [message.event_id for message in messages],
        [unit.reaction for unit in units],
        [message.type for message in messages],
        [message.key for message in messages],
        [message.payload for message in messages],
        [message.request_id for message in messages],
        [message.traceparent for message in messages],
        error,
    )


async def insert_unreadable(tx: Transaction, bodies: Sequence[bytes], error: str) -> None:
    """Parks bodies under an id that is made from them, so that each is there once."""
    await tx.execute(
        """
        INSERT INTO deliveries (event_id, reaction, type, key, payload, due_at, parked_at, error)
        SELECT id, $3, $3, '', body, now(), now(), $4
        FROM unnest($1::uuid[], $2::bytea[]) AS given (id, body)
        ON CONFLICT (event_id, reaction) DO NOTHING
        """,
        [UUID(bytes=hashlib.sha256(body).digest()[:16], version=5) for body in bodies],
        bodies,
        UNREADABLE,
        error,
    )


async def list_parked(tx: Transaction) -> list[tuple[Any, ...]]:
    """Parked deliveries: event id, reaction, type, key, attempts, error, parked at, request id."""
    rows = await tx.fetch(
        """
        SELECT event_id, reaction, type, key, attempts, error, parked_at, request_id
        FROM deliveries
        WHERE parked_at IS NOT NULL ORDER BY parked_at
        """
    )
    return [tuple(row) for row in rows]


async def count_waiting(tx: Reading) -> int:
    """Events that are not told yet, and failed deliveries that are to be tried again."""
    return await tx.fetch_value(
        """
        SELECT (SELECT count(*) FROM outbox)
            + (SELECT count(*) FROM deliveries WHERE parked_at IS NULL)
        """
    )


async def update_replayed(tx: Transaction, events: Sequence[UUID] | None = None) -> int:
    """Makes parked deliveries due again, all or those of some events; answers how many.

    Safe: effects are applied once. What nobody can read stays where it is.
    """
    tag = await tx.execute(
        """
        UPDATE deliveries SET parked_at = NULL, attempts = 1, due_at = now()
        WHERE parked_at IS NOT NULL AND reaction <> $2
            AND ($1::uuid[] IS NULL OR event_id = ANY ($1))
        """,
        events,
        UNREADABLE,
    )
    return int(tag.split()[1])


async def delete_parked(tx: Transaction, events: Sequence[UUID] | None = None) -> int:
    """Gives parked deliveries up for good, all or those of some events; answers how many."""
    tag = await tx.execute(
        """
        DELETE FROM deliveries
        WHERE parked_at IS NOT NULL AND ($1::uuid[] IS NULL OR event_id = ANY ($1))
        """,
        events,
    )
    return int(tag.split()[1])


async def delete_old(tx: Transaction, most: int) -> int:
    """Forgets handled events older than KEEP_DAYS; no publisher sends any so late."""
    tag = await tx.execute(
        """
        DELETE FROM inbox WHERE (event_id, reaction) IN (
            SELECT event_id, reaction FROM inbox
            WHERE handled_at < now() - make_interval(days => $2) LIMIT $1)
        """,
        most,
        KEEP_DAYS,
    )
    return int(tag.split()[1])

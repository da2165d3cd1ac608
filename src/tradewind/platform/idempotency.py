"""Idempotency keys; one rule: the key, its answer and the effect are one transaction.

A request that is one transaction takes its key inside it (`Database.transaction(once)`): the
primary key makes a second one wait for the first and then meet its stored answer. A request that
needs several (a checkout) opens its key in its first transaction (`insert_open`) and stores the
answer in its last (`update_answers`); in between a second one is told that it is in progress.

After the IETF draft "The Idempotency-Key HTTP Header Field"; answers are kept for KEEP_HOURS.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from tradewind.platform.database import Contended, Reading, Transaction
from tradewind.platform.errors import Conflict, Invalid

KEEP_HOURS = 48
ANONYMOUS = "anonymous"
LENGTH_MOST = 255


class KeyRequired(Invalid):
    """This request takes money or stock, so it needs a key."""

    code = "idempotency_key_required"
    title = "Idempotency-Key required"


class KeyReused(Invalid):
    """The key was used with another request."""

    code = "idempotency_key_reused"
    title = "Idempotency-Key reused"


class KeyInProgress(Conflict):
    """The first request with this key is still being worked on."""

    code = "idempotency_key_in_progress"
    title = "Still being worked on"


class Key(msgspec.Struct, frozen=True):
    """One principal's key, and a fingerprint of the request that it came with."""

    principal: str
    key: str
    fingerprint: bytes


class Stored(msgspec.Struct, frozen=True):
    """What is known of a key; `status` is None while its request is under way."""

    fingerprint: bytes
    status: int | None
    body: bytes


class Replay(Exception):
    """The request was answered before; here is that answer."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def fingerprint(method: str, path: str, body: bytes) -> bytes:
    """SHA-256 of what makes two requests the same."""
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).digest()


def judge(stored: Stored, key: Key) -> Replay | KeyReused | KeyInProgress:
    """What to answer a request whose key is known already."""
    if stored.fingerprint != key.fingerprint:
        return KeyReused("this Idempotency-Key came with another request before; use a new one")
    if stored.status is None:
        return KeyInProgress(
            "the first request with this Idempotency-Key is still being worked on",
            retry_after_seconds=1,
        )
    return Replay(stored.status, stored.body)


class Once:
    """One request's wish to be carried out once, passed to `Database.transaction`.

    Without a key it does nothing. `status` is what the route answers when all goes well.
    """

    __slots__ = ("_body", "key", "status")

    def __init__(self, key: Key | None, status: int) -> None:
        self.key = key
        self.status = status
        self._body: bytes | None = None

    async def take(self, tx: Transaction) -> None:
        """Takes the key, waiting for a transaction that holds it; raises what `judge` says."""
        if self.key is None:
            return
        try:
            opened = await insert_open(tx, [self.key])
        except Contended as error:
            raise KeyInProgress(
                "the first request with this Idempotency-Key is still being worked on",
                retry_after_seconds=1,
            ) from error
        if not opened:
            stored = (await find_stored(tx, [self.key]))[0]
            if stored is not None:
                raise judge(stored, self.key)
            raise KeyInProgress("the key is being given up just now", retry_after_seconds=1)

    def answer(self, view: Any) -> Any:
        """The view, noted as this key's answer."""
        if self.key is not None:
            self._body = msgspec.json.encode(view)
        return view

    async def keep(self, tx: Transaction) -> None:
        """Stores the noted answer; called before the commit."""
        if self.key is not None:
            if self._body is None:
                raise RuntimeError("an action took an idempotency key and noted no answer")
            await update_answers(tx, [(self.key, self.status, self._body)])


async def insert_open(tx: Transaction, keys: Sequence[Key]) -> set[tuple[str, str]]:
    """Opens the keys that nobody has; answers those (principal, key) that are ours now."""
    rows = await tx.fetch(
        """
        INSERT INTO idempotency_keys (principal, key, fingerprint)
        SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[]) AS given (p, k, f)
        ORDER BY p, k
        ON CONFLICT DO NOTHING
        RETURNING principal, key
        """,
        [key.principal for key in keys],
        [key.key for key in keys],
        [key.fingerprint for key in keys],
    )
    return {(row[0], row[1]) for row in rows}


async def find_stored(tx: Reading, keys: Sequence[Key]) -> list[Stored | None]:
    """What is known of each key, in order."""
    rows = await tx.fetch(
        """
        SELECT principal, key, fingerprint, status, body FROM idempotency_keys
        WHERE (principal, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))
        """,
        [key.principal for key in keys],
        [key.key for key in keys],
    )
    known = {(row[0], row[1]): Stored(row[2], row[3], row[4] or b"") for row in rows}
    return [known.get((key.principal, key.key)) for key in keys]


async def update_answers(tx: Transaction, answers: Sequence[tuple[Key, int, bytes]]) -> None:
    """Stores the answers of keys that we opened."""
    await tx.execute(
        """
        UPDATE idempotency_keys AS kept SET status = given.s, body = given.b
        FROM unnest($1::text[], $2::text[], $3::int[], $4::bytea[]) AS given (p, k, s, b)
        WHERE kept.principal = given.p AND kept.key = given.k
        """,
        [key.principal for key, _, _ in answers],
        [key.key for key, _, _ in answers],
        [status for _, status, _ in answers],
        [body for _, _, body in answers],
    )


async def delete_open(tx: Transaction, keys: Sequence[Key]) -> None:
    """Gives up keys whose request had no effect, so that they may be sent again."""
    await tx.execute(
        """
        DELETE FROM idempotency_keys
        WHERE status IS NULL AND (principal, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))
        """,
        [key.principal for key in keys],
        [key.key for key in keys],
    )


async def delete_old(tx: Transaction, most: int) -> int:
    """Forgets answers older than KEEP_HOURS, at most so many; answers how many."""
    tag = await tx.execute(
        """
        DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM idempotency_keys
            WHERE created_at < now() - make_interval(hours => $2) AND status IS NOT NULL
            ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED))
        """,
        most,
        KEEP_HOURS,
    )
    return int(tag.split()[1])

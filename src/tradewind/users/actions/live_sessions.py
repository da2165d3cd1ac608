"""Whose token this is; one rule: what was ended is not believed a moment longer than it must be.

Many lookups are one query, and what was found is kept for less than a second. Who ends a session
drops it here right after the commit, in every other process by NOTIFY, and where instances share
what they found (`platform/redis/sessions.py`) also there, before the answer goes out; where that is
lost, the second is over before anybody is wronged (P9). A lookup that began before a drop is not
kept: it may have read what the drop was about.
"""

import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

from tradewind.platform.coalesce import Coalescer
from tradewind.platform.database import Database, Transaction
from tradewind.platform.ids import digest
from tradewind.platform.principals import Principal
from tradewind.users.model.shapes import LiveSession
from tradewind.users.store import sessions

Tell = Callable[[Sequence[bytes]], Awaitable[None]]
"""Tells all instances to look these token hashes up anew; bounded, and raises nothing."""
CHANNEL = "tradewind_sessions"
"""NOTIFY with the token hashes to drop, in hexadecimal; empty: all."""
_SEEN_EVERY = timedelta(minutes=1)
_SEEN_MOST = 20_000
_NAMED_MOST = 100
"""Token hashes in one NOTIFY, whose payload is 8,000 bytes at most."""


class SessionCache:
    """Principals by token hash, for a moment; bounded, the oldest goes first."""

    def __init__(
        self, *, seconds: float, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.generation = 0
        """Counts drops."""
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()

    def get(self, token_hash: bytes) -> Principal | None:
        """Whose it was a moment ago."""
        found = self._kept.get(token_hash)
        if found is None:
            return None
        if self._clock() < found[1]:
            return found[0]
        del self._kept[token_hash]
        return None

    def keep(
        self, token_hash: bytes, principal: Principal, generation: int, asked_at: float
    ) -> None:
        """Keeps what a lookup found that began in this generation, at that time of the clock."""
        if generation != self.generation:
            return
        self._kept.pop(token_hash, None)
        self._kept[token_hash] = (principal, asked_at + self._seconds)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def drop(self, token_hashes: Iterable[bytes]) -> None:
        """Forgets these, and whatever is being looked up just now."""
        self.generation += 1
        for token_hash in token_hashes:
            self._kept.pop(token_hash, None)

    def clear(self) -> None:
        """Forgets everything."""
        self.generation += 1
        self._kept.clear()

    def now(self) -> float:
        """The cache's clock."""
        return self._clock()


class Ending:
    """The sessions that one transaction ends or changes."""

    def __init__(self, cache: SessionCache) -> None:
        self.token_hashes: list[bytes] = []
        self._cache = cache

    async def forget(self, tx: Transaction, token_hashes: Sequence[bytes]) -> None:
        """Once the transaction is saved, these sessions are looked up anew, in every process."""
        if not token_hashes:
            return
        self.token_hashes += token_hashes
        few = len(token_hashes) <= _NAMED_MOST
        payload = " ".join(token_hash.hex() for token_hash in token_hashes) if few else ""
        await tx.notify(CHANNEL, payload)
        tx.after_commit(lambda: self._cache.drop(token_hashes))


class LiveSessions:
    """One process's view of the sessions that live; `tell` reaches what instances share of it."""

    def __init__(self, database: Database, cache: SessionCache, tell: Tell | None = None) -> None:
        self._database = database
        self._cache = cache
        self._tell = tell
        self._finding = Coalescer("sessions", self._find, most=512, at_once=2)
        self._seen: set[UUID] = set()

    async def authenticate(self, token: str) -> Principal | None:
        """Who a token belongs to, or None where it is unknown, over or revoked."""
        token_hash = digest(token)
        known = self._cache.get(token_hash)
        if known is not None:
            return known
        generation, asked_at = self._cache.generation, self._cache.now()
        found = await self._finding.submit(token_hash)
        if found is None:
            return None
        principal = Principal(
            user_id=found.user_id,
            role=found.role,
            session_id=found.id,
            email_verified=found.email_verified,
        )
        self._cache.keep(token_hash, principal, generation, asked_at)
        unseen = self._database.clock.now() - found.last_seen_at
        if unseen >= _SEEN_EVERY and len(self._seen) < _SEEN_MOST:
            self._seen.add(found.id)
        return principal

    @asynccontextmanager
    async def ending(self) -> AsyncGenerator[Ending]:
        """Around a transaction that ends sessions: on leaving, every instance has been told."""
        ending = Ending(self._cache)
        try:
            yield ending
        finally:
            # Also where nobody knows whether it was saved: who is told only asks the record.
            if self._tell is not None and ending.token_hashes:
                await self._tell(ending.token_hashes)

    def hear(self, payload: str) -> None:
        """Another process ended sessions, or there may be some that were missed (empty)."""
        try:
            named = [bytes.fromhex(word) for word in payload.split()]
        except ValueError:
            named = []
        if named:
            self._cache.drop(named)
        else:
            self._cache.clear()

    async def save_seen(self) -> bool:
        """A worker's step: notes in one statement which sessions were used, off the hot path."""
        if self._seen:
            seen, self._seen = self._seen, set()
            async with self._database.transaction() as tx:
                await sessions.update_seen(tx, list(seen))
        return False

    async def _find(self, token_hashes: list[bytes]) -> Sequence[LiveSession | None]:
        async with self._database.reading() as reading:
            found = await sessions.find_live(reading, token_hashes)
        return [found.get(token_hash) for token_hash in token_hashes]

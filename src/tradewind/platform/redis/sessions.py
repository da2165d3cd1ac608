"""Whose token this is, known to all instances; one rule: the record is asked, or was just now.

An entry is believed for less than a second from the moment (database time, kept in the entry under
its MAC) at which the lookup began that found it. A session that ends leaves a tombstone, which no
lookup begun before can overwrite; where that is lost (a fail-over, a Redis that is away), the
second is over before anybody is wronged (P9).
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from tradewind.platform.clock import Clock
from tradewind.platform.coalesce import Coalescer
from tradewind.platform.errors import Unavailable
from tradewind.platform.ids import digest
from tradewind.platform.principals import Authenticator, Principal
from tradewind.platform.redis.connection import RedisLink, Reply, listed
from tradewind.platform.redis.sealed import Seal

VERSION: Final = 1
"""Of what an entry holds; to be raised with every change of it."""
ENDED: Final = b"ended"
"""The tombstone. Whoever forges one makes us ask the record, and nothing else."""
_TOMBSTONE_SECONDS = 5.0
"""Longer than any lookup that may still be kept was under way."""
_CLOCKS_APART_SECONDS = 0.1
"""What two processes may differ in what they take for the database's time."""
_MOST = 512
_KEEP = """
for i, key in ipairs(KEYS) do
  if redis.pcall('GET', key) ~= ARGV[1] then
    redis.call('SET', key, ARGV[2 * i], 'PX', ARGV[2 * i + 1])
  end
end
"""


class SessionEntry(msgspec.Struct, frozen=True, array_like=True):
    """What a lookup found that began at this moment (database time, seconds since 1970)."""

    asked_at: float
    principal: Principal


class SessionCounts(msgspec.Struct):
    """What came of the lookups so far."""

    hits: int = 0
    misses: int = 0
    ended: int = 0
    """Met a tombstone."""


class RedisAuthenticator:
    """An `Authenticator` in front of another one, `users`, which knows the record.

    `seconds`: how long an answer of `users` is believed; below 1.
    """

    def __init__(
        self,
        users: Authenticator,
        redis: RedisLink,
        secret: bytes,
        clock: Clock,
        *,
        seconds: float = 0.8,
    ) -> None:
        self.counts = SessionCounts()
        self._users = users
        self._redis = redis
        self._seal = Seal(secret, "sessions", VERSION)
        self._clock = clock
        self._seconds = seconds
        self._entries = msgspec.msgpack.Decoder(SessionEntry)
        self._reading = Coalescer("redis sessions", self._read, most=_MOST, at_once=2)
        self._keeping = Coalescer("redis sessions kept", self._keep, most=_MOST, at_once=2)

    async def authenticate(self, token: str) -> Principal | None:
        """As `Authenticator` says. Raises only what `users` does."""
        key = session_key(digest(token))
        found = await self._find(key)
        known = self._believed(key, found)
        if known is not None:
            self.counts.hits += 1
            return known
        # Nobody joins another's lookup: it may have begun before a session ended, and would be
        # answered to somebody who came after.
        asked_at = self._clock.now().timestamp()
        principal = await self._users.authenticate(token)
        if found == ENDED:
            self.counts.ended += 1
        else:
            self.counts.misses += 1
            if principal is not None:
                await self._offer(key, SessionEntry(asked_at, principal))
        return principal

    async def _find(self, key: bytes) -> Reply:
        try:
            return await self._reading.submit(key)
        except Unavailable:
            return None

    def _believed(self, key: bytes, found: Reply) -> Principal | None:
        content = self._seal.unseal(key, found)
        if content is None:
            return None
        try:
            entry = self._entries.decode(content)
        except msgspec.MsgspecError:
            return None  # ours, of a schema that was changed without raising its version
        return entry.principal if self._left(entry.asked_at) > 0 else None

    def _left(self, asked_at: float) -> float:
        """Seconds for which a lookup of that moment is still believed."""
        age = self._clock.now().timestamp() - asked_at
        return self._seconds - age if age > -_CLOCKS_APART_SECONDS else 0.0

    async def _offer(self, key: bytes, entry: SessionEntry) -> None:
        if self._left(entry.asked_at) <= 0:
            return
        try:
            await self._keeping.submit((key, entry))
        except Unavailable:
            return  # slower, nothing else; the link has counted it

    async def _read(self, keys: list[bytes]) -> Sequence[Reply]:
        (found,) = await self._redis.ask([("MGET", *keys)])
        return listed(found, len(keys))

    async def _keep(self, offered: list[tuple[bytes, SessionEntry]]) -> Sequence[None]:
        keys, arguments = list[bytes](), list[bytes | int]()
        for key, entry in offered:
            left_ms = int(self._left(entry.asked_at) * 1000)
            if left_ms > 0:
                keys.append(key)
                arguments += [self._seal.seal(key, msgspec.msgpack.encode(entry)), left_ms]
        if keys:
            await self._redis.ask([("EVAL", _KEEP, len(keys), *keys, ENDED, *arguments)])
        return [None] * len(offered)


class SessionRevoker:
    """Tells every instance that sessions have ended, or are to be looked up anew.

    `seconds`: how long an instance believes what it kept (as in `RedisAuthenticator`).
    """

    def __init__(self, redis: RedisLink, *, seconds: float = 0.8) -> None:
        self.failures = 0
        """Sessions whose end was not told; what was kept of them ends by itself."""
        self._redis = redis
        self._seconds = seconds
        self._telling = Coalescer("redis tombstones", self._tell, most=_MOST, at_once=2)

    async def forget(self, token_hashes: Sequence[bytes]) -> None:
        """To be awaited after the commit and before its answer goes out; bounded, raises nothing.

        Where Redis does not take the word, others may still reach it and believe what it holds: the
        answer then waits until nobody does any more. The hashes are those of `platform.ids.digest`.
        """
        try:
            told = await self._telling.submit_all(token_hashes)
        except Unavailable:
            told = [False] * len(token_hashes)
        if untold := told.count(False):
            self.failures += untold
            await asyncio.sleep(self._seconds + _CLOCKS_APART_SECONDS)

    async def _tell(self, token_hashes: list[bytes]) -> Sequence[bool]:
        keys = [session_key(token_hash) for token_hash in token_hashes]
        milliseconds = int(_TOMBSTONE_SECONDS * 1000)
        # A Redis that is full still deletes.
        deleting = ("DEL", *keys)
        marking = [("SET", key, ENDED, "PX", milliseconds) for key in keys]
        _, *marked = await self._redis.ask([deleting, *marking])
        return [reply == b"OK" for reply in marked]


def session_key(token_hash: bytes) -> bytes:
    """Where the entry of a token stands."""
    return b"session:" + token_hash

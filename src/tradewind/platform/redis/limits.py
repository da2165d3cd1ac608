"""How much one client may ask of all instances together; one rule: who asks never waits for it.

The generic cell rate algorithm (ITU-T I.371): of each client one moment is kept, at which its
bucket will be full again, by the clock of Redis, and it expires by itself. Many checks are one
round trip. Where Redis is away each process counts for itself.
"""

import hmac
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from tradewind.platform.coalesce import Coalescer
from tradewind.platform.errors import Unavailable
from tradewind.platform.ids import derive
from tradewind.platform.limits import RateLimit
from tradewind.platform.redis.connection import RedisLink, listed

_CLIENTS_MOST = 20_000
_KEY_BYTES = 16
_MICROSECONDS = 1_000_000
# A moment that no bucket can have is garbage, or of a clock that was set back: then the bucket is
# full, lest somebody be locked out for ever. It is compared so that what is no number is none.
_TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, whole = tonumber(ARGV[1]), tonumber(ARGV[2])
local waits = {}
for i, key in ipairs(KEYS) do
  local full = tonumber(redis.pcall('GET', key)) or now
  if not (full >= now and full <= now + whole) then full = now end
  full = full + interval
  local wait = full - now - whole
  if wait > 0 then
    waits[i] = math.ceil(wait)
  else
    local lives = math.ceil((full - now) / 1000)
    redis.call('SET', key, string.format('%.0f', full), 'PX', lives)
    waits[i] = 0
  end
end
return waits
"""


class RedisRateLimit:
    """`per_second` requests on average, `burst` at once, wherever a client asks.

    `secret` hides the clients' addresses: Redis holds keyed digests of them.
    """

    def __init__(self, redis: RedisLink, secret: bytes, per_second: float, burst: int) -> None:
        self.alone = 0
        """Checks that this process made by itself, Redis being away."""
        self._redis = redis
        self._secret = derive(secret, "redis limits")
        self._interval = max(1, round(_MICROSECONDS / per_second))
        self._whole = self._interval * burst
        self._own = RateLimit(per_second, burst)
        self._refused: OrderedDict[str, float] = OrderedDict()
        self._taking = Coalescer("redis limits", self._take, most=512, at_once=2)

    async def take(self, client: str, now: float) -> float:
        """Seconds until this client may ask again; 0 if it may now, and then it did.

        `now` is a reading of `time.monotonic`.
        """
        # Until then Redis could only say the same: a flood is refused here, for next to nothing.
        until = self._refused.get(client, now)
        if until > now:
            return until - now
        seconds = await self._asked(client)
        if seconds is None:
            self.alone += 1
            return self._own.take(client, now)
        self._refused.pop(client, None)
        if seconds:
            self._refused[client] = now + seconds
            if len(self._refused) > _CLIENTS_MOST:
                self._refused.popitem(last=False)
        return seconds

    async def _asked(self, client: str) -> float | None:
        try:
            waiting = await self._taking.submit(self._key(client))
        except Unavailable:
            return None
        if not isinstance(waiting, int) or not 0 <= waiting <= self._interval:
            return None
        return waiting / _MICROSECONDS

    def _key(self, client: str) -> bytes:
        return b"limit:" + hmac.digest(self._secret, client.encode(), "sha256")[:_KEY_BYTES]

    async def _take(self, keys: list[bytes]) -> Sequence[object]:
        command = ("EVAL", _TAKE, len(keys), *keys, self._interval, self._whole)
        (waits,) = await self._redis.ask([command])
        # An error among them would be raised, not answered.
        return [None if isinstance(wait, Exception) else wait for wait in listed(waits, len(keys))]

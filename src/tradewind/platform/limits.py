"""How much one client may ask; one rule: a refusal costs next to nothing.

A token bucket for each client address, in this process: `per_second` requests on average, `burst`
at once. The least recently seen are forgotten, so that addresses without number cost no memory.
"""

from collections import OrderedDict
from typing import Protocol

_CLIENTS_MOST = 20_000


class WideLimit(Protocol):
    """A limit that counts what a client asks of all instances (`platform/redis/limits.py`)."""

    async def take(self, client: str, now: float) -> float:
        """As `RateLimit.take`; bounded in time, and raises nothing."""
        ...


class RateLimit:
    """One listener's limit."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now: float) -> float:
        """Seconds until this client may ask again; 0 if it may now, and then it did.

        `now` is a reading of `time.monotonic`.
        """
        tokens, seen = self._buckets.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - seen) * self._per_second)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > _CLIENTS_MOST:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._per_second

"""Where a service answers, and whether it is worth trying; one rule: none waits for the dead twice.

Each address has a breaker (Nygard, "Release It!"): after FAILURES_MOST failures in a row it is left
alone, for longer each time; then one call at a time tries it, and the first that succeeds closes
it. Retries of one dependency draw on one budget, a share of its first tries, so that a part that
is down is not asked many times more often than one that is up.
"""

import random
import time
from collections.abc import Callable, Sequence

import msgspec

FAILURES_MOST = 3
_OPEN_FIRST_SECONDS = 0.5
_OPEN_LONGEST_SECONDS = 3.0
_BUDGET_MOST = 20.0
_BUDGET_SHARE = 0.2


class Endpoint:
    """One address and its breaker."""

    def __init__(self, url: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self.failures = 0
        """In a row."""
        self.at_work = 0
        self._monotonic = monotonic
        self._open_until = 0.0
        self._open_seconds = _OPEN_FIRST_SECONDS
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether the breaker keeps calls away."""
        return self.failures >= FAILURES_MOST

    def may_try(self) -> bool:
        """Whether a call may go there now: always if it is well, one at a time if it is not."""
        if not self.is_open:
            return True
        return not self._probing and self._monotonic() >= self._open_until

    def begin(self) -> None:
        """A call goes there."""
        self.at_work += 1
        self._probing = self.is_open

    def succeeded(self) -> None:
        """It answered."""
        self.at_work -= 1
        self.failures = 0
        self._probing = False
        self._open_seconds = _OPEN_FIRST_SECONDS

    def failed(self) -> None:
        """It did not, or said that it cannot."""
        self.at_work -= 1
        self.failures += 1
        self._probing = False
        if self.is_open:
            spread = random.uniform(0.75, 1.25)  # noqa: S311  jitter
            self._open_until = self._monotonic() + self._open_seconds * spread
            self._open_seconds = min(_OPEN_LONGEST_SECONDS, self._open_seconds * 2)

    def abandoned(self) -> None:
        """The caller left before there was an end."""
        self.at_work -= 1
        self._probing = False


class Budget:
    """How many retries there may be: a share of first tries, and a few to begin with."""

    def __init__(self) -> None:
        self.left = _BUDGET_MOST

    def first_try(self) -> None:
        """Somebody asks for the first time."""
        self.left = min(_BUDGET_MOST, self.left + _BUDGET_SHARE)

    def take(self) -> bool:
        """Whether one more retry may be made; then it is paid for."""
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Gauges(msgspec.Struct):
    """What happened so far, for metrics."""

    calls: int = 0
    retries: int = 0
    failures: int = 0
    refused: int = 0
    """Calls that were not made: every breaker open, or the bulkhead full."""


def choose(endpoints: Sequence[Endpoint], tried: Sequence[Endpoint]) -> Endpoint | None:
    """The one with the least at work among those not tried yet, else among all; None: all open."""
    able = [one for one in endpoints if one.may_try()]
    fresh = [one for one in able if one not in tried]
    least = min((one.at_work for one in fresh or able), default=None)
    if least is None:
        return None
    return random.choice([one for one in fresh or able if one.at_work == least])  # noqa: S311  spread

"""Where a service answers, and whether it is worth trying; one rule: none waits for the dead twice.

An address that failed is left alone while another one is well, until it has answered a knock, which
keeps no caller waiting. After FAILURES_MOST failures in a row its breaker is open (Nygard,
"Release It!"): nobody goes there, and once it has answered a knock one call tries it; the first
that succeeds closes it. Retries of one dependency draw on one budget, a share of its first tries,
so that a part that is down is not asked many times more often than one that is up.
"""

import random
import time
from collections.abc import Callable, Sequence
from enum import IntEnum

import msgspec

FAILURES_MOST = 3
_PAUSE_FIRST_SECONDS = 0.25
_PAUSE_LONGEST_SECONDS = 3.0
_BUDGET_MOST = 20.0
_BUDGET_SHARE = 0.2


class Worth(IntEnum):
    """How much an address is worth trying, the best first."""

    TRIAL = 0
    """Its breaker is open, it answered a knock, and a call is to see whether it is well again."""
    WELL = 1
    DOUBTED = 2
    """It failed, or is about to end."""
    CLOSED_TO_ALL = 3
    """Its breaker is open."""


class Endpoint:
    """One address and its breaker."""

    def __init__(self, url: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self.failures = 0
        """In a row."""
        self.at_work = 0
        self._monotonic = monotonic
        self._doubted = False
        self._answered_knock = False
        self._knocking = False
        self._on_trial = False
        self._knock_at = 0.0
        self._pause_seconds = _PAUSE_FIRST_SECONDS

    @property
    def is_open(self) -> bool:
        """Whether the breaker keeps calls away."""
        return self.failures >= FAILURES_MOST

    @property
    def worth(self) -> Worth:
        """Whether a call should go there now."""
        if self.is_open:
            free = self._answered_knock and not self._on_trial
            return Worth.TRIAL if free else Worth.CLOSED_TO_ALL
        return Worth.DOUBTED if self._doubted else Worth.WELL

    def begin(self) -> bool:
        """A call goes there; answers whether it is the one that tries an open breaker."""
        self.at_work += 1
        trial = self.is_open
        self._on_trial = self._on_trial or trial
        return trial

    def succeeded(self, *, trial: bool = False) -> None:
        """It answered."""
        self._end(trial=trial)
        if self.failures:
            self.failures = 0
            self._doubted = self._answered_knock = False
        self._pause_seconds = _PAUSE_FIRST_SECONDS

    def failed(self, *, trial: bool = False) -> None:
        """It did not, or said that it cannot."""
        self._end(trial=trial)
        # Those that left before the breaker opened say nothing new when they end.
        if trial or not self.is_open:
            self.failures += 1
            self._leave_alone()

    def abandoned(self, *, trial: bool = False) -> None:
        """The caller left before there was an end."""
        self._end(trial=trial)

    def leaving(self) -> None:
        """It answered, and said that it is about to end."""
        if not self._doubted:
            self._leave_alone()

    def may_knock(self) -> bool:
        """Whether it is time to ask whether it is well."""
        waits = self._doubted and not self._knocking and not self._answered_knock
        return waits and self._monotonic() >= self._knock_at

    def knock(self) -> None:
        """Somebody asks."""
        self._knocking = True

    def knocked(self, *, answered: bool | None) -> None:
        """What came of it; None: it is alive, and about to end."""
        self._knocking = False
        if not answered:
            if answered is False:
                self.failures += 1
            self._leave_alone()
        elif self.is_open:
            self._answered_knock = True
        else:
            # Failures are kept: whoever answers knocks and fails at calls gets its breaker opened.
            self._doubted = False

    def _end(self, *, trial: bool) -> None:
        self.at_work -= 1
        if trial:
            self._on_trial = False

    def _leave_alone(self) -> None:
        self._doubted = True
        self._answered_knock = False
        spread = random.uniform(0.75, 1.25)  # noqa: S311  jitter
        self._knock_at = self._monotonic() + self._pause_seconds * spread
        self._pause_seconds = min(_PAUSE_LONGEST_SECONDS, self._pause_seconds * 2)


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
    """Calls that were not made: every breaker open, the bulkhead full, or no time left."""


def choose(
    endpoints: Sequence[Endpoint], tried: Sequence[Endpoint], *, twice: bool = True
) -> Endpoint | None:
    """The best among those not tried yet, else among all: worth first, then the least at work.

    A call that must not be carried out twice is no trial. None: every breaker is open.
    """
    worth = {one: one.worth for one in endpoints}
    closed = {Worth.CLOSED_TO_ALL} if twice else {Worth.CLOSED_TO_ALL, Worth.TRIAL}
    able = [one for one in endpoints if worth[one] not in closed]
    if not able:
        able = [one for one in endpoints if worth[one] is not Worth.CLOSED_TO_ALL]
    if not able:
        return None
    among = [one for one in able if one not in tried] or able
    best = min((worth[one], one.at_work) for one in among)
    return random.choice([one for one in among if (worth[one], one.at_work) == best])  # noqa: S311  spread

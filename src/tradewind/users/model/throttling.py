"""How many failed sign-ins are too many; one rule: a verdict counts in the order it is reached.

A password is tried first and the attempt is decided after, under the locks of both counters: while
one of them is full, right and wrong are refused alike. So however many attempts run at once, in
however many processes, nobody learns of more guesses than the limit; and right ones that are under
way at the same time, however many, never stand in each other's way.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum

import msgspec

WINDOW = timedelta(minutes=15)
_FREE_ACCOUNT_FAILURES = 4
_FREE_CLIENT_FAILURES = 30
_DELAY_STEP_SECONDS = 0.02


class Limits(msgspec.Struct, frozen=True):
    """Failures in a window before attempts are refused.

    The last `reserved` of an account's are kept for clients that have a session of it, so that
    strangers cannot lock its owner out.
    """

    account: int
    reserved: int
    client: int

    def of_account(self, *, familiar: bool) -> int:
        """How many failures of the account this client may see before it is refused."""
        return self.account if familiar else max(1, self.account - self.reserved)


class Counter(msgspec.Struct, frozen=True):
    """Failures since the window began; the window is over at `ends_at`."""

    failures: int
    ends_at: datetime

    def at(self, now: datetime) -> "Counter":
        """The counter as it stands now: empty where its window is over."""
        return self if now < self.ends_at else Counter(0, now + WINDOW)


class Verdict(msgspec.Struct, frozen=True):
    """One attempt whose password was tried. `account` and `client` name its counters."""

    account: bytes
    client: bytes
    familiar: bool
    right: bool


class Decision(Enum):
    """What comes of an attempt."""

    LET_IN = "let in"
    TURNED_AWAY = "turned away"
    REFUSED = "refused"


def decide(
    verdicts: Sequence[Verdict], counters: Mapping[bytes, Counter], limits: Limits, now: datetime
) -> tuple[list[Decision], dict[bytes, Counter]]:
    """A decision for each verdict, in order, and the counters that change.

    An account's window is over 15 minutes after its last failure, so that no 15 minutes hold more
    than the limit; a client's, which many people may share, 15 minutes after its first. A success
    empties the account's counter and leaves the client's.
    """
    standing = {subject: counter.at(now) for subject, counter in counters.items()}
    changed: dict[bytes, Counter] = {}
    decisions: list[Decision] = []
    empty = Counter(0, now + WINDOW)
    for one in verdicts:
        account = standing.get(one.account, empty)
        client = standing.get(one.client, empty)
        if is_full(account, client, limits, familiar=one.familiar):
            decisions.append(Decision.REFUSED)
            continue
        if one.right:
            decisions.append(Decision.LET_IN)
            if account.failures:
                changed[one.account] = standing[one.account] = empty
            continue
        decisions.append(Decision.TURNED_AWAY)
        account = Counter(account.failures + 1, now + WINDOW)
        client = Counter(client.failures + 1, client.ends_at)
        changed[one.account] = standing[one.account] = account
        changed[one.client] = standing[one.client] = client
    return decisions, changed


def is_full(account: Counter, client: Counter, limits: Limits, *, familiar: bool) -> bool:
    """Whether attempts are refused, right or wrong."""
    most = limits.of_account(familiar=familiar)
    return account.failures >= most or client.failures >= limits.client


def retry_after_seconds(
    account: Counter, client: Counter, limits: Limits, now: datetime, *, familiar: bool
) -> int:
    """When a refused one may try again."""
    ends = [now + timedelta(seconds=1)]
    if account.failures >= limits.of_account(familiar=familiar):
        ends.append(account.ends_at)
    if client.failures >= limits.client:
        ends.append(client.ends_at)
    return int((max(ends) - now).total_seconds()) + 1


def delay_seconds(account: Counter, client: Counter, most: float) -> float:
    """How long the next attempt waits before its password is tried; grows with every failure."""
    failures = max(
        account.failures - _FREE_ACCOUNT_FAILURES, client.failures - _FREE_CLIENT_FAILURES, 0
    )
    return min(most, failures * _DELAY_STEP_SECONDS)

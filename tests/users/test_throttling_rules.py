"""How failed sign-ins are counted, without a database."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tradewind.users.model.throttling import (
    WINDOW,
    Counter,
    Decision,
    Limits,
    Verdict,
    decide,
    delay_seconds,
    retry_after_seconds,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = Limits(account=10, reserved=2, client=15)
EMPTY = Counter(0, NOW + WINDOW)

verdicts = st.builds(
    Verdict,
    account=st.sampled_from([b"ann", b"bob", b"eve"]),
    client=st.sampled_from([b"home", b"work"]),
    familiar=st.booleans(),
    right=st.booleans(),
)


def _verdict(*, right: bool, account: bytes = b"ann", familiar: bool = True) -> Verdict:
    return Verdict(account, b"home", familiar, right)


@given(st.lists(st.tuples(st.integers(0, 600), st.lists(verdicts, max_size=12)), max_size=40))
def test_no_fifteen_minutes_hold_more_than_the_limit(
    batches: list[tuple[int, list[Verdict]]],
) -> None:
    """However attempts come in batches over time, failures that were answered stay within the limit
    of an account unless it was signed in to between, and none is answered beyond the limit.
    """
    counters: dict[bytes, Counter] = {}
    now = NOW
    answered: list[list[datetime]] = [[] for _ in range(3)]
    names = [b"ann", b"bob", b"eve"]
    for pause_seconds, batch in batches:
        now += timedelta(seconds=pause_seconds)
        decisions, changed = decide(batch, counters, LIMITS, now)
        counters |= changed
        for one, decision in zip(batch, decisions, strict=True):
            mine = answered[names.index(one.account)]
            if decision is Decision.LET_IN:
                assert one.right
                mine.clear()
            elif decision is Decision.TURNED_AWAY:
                assert not one.right
                mine.append(now)
                recent = [when for when in mine if now - when < WINDOW]
                assert len(recent) <= LIMITS.account
    assert all(counter.failures <= LIMITS.client for counter in counters.values())


def test_a_full_counter_refuses_right_and_wrong_alike() -> None:
    """Beyond the limit nothing is learned, not even that a guess was right."""
    tries = [_verdict(right=False)] * 12 + [_verdict(right=True)]
    decisions, changed = decide(tries, {}, LIMITS, NOW)
    assert decisions == [Decision.TURNED_AWAY] * 10 + [Decision.REFUSED] * 3
    assert changed[b"ann"].failures == 10


def test_right_ones_at_once_are_all_let_in() -> None:
    """Attempts that are under way count for nothing: a rush of right ones is no attack."""
    decisions, changed = decide([_verdict(right=True)] * 500, {}, LIMITS, NOW)
    assert decisions == [Decision.LET_IN] * 500
    assert not changed


def test_strangers_cannot_use_up_the_owners_tries() -> None:
    """The last failures are kept for clients that the account knows."""
    strange = [_verdict(right=False, familiar=False)] * 20
    decisions, changed = decide(strange, {}, LIMITS, NOW)
    assert decisions.count(Decision.TURNED_AWAY) == 8
    owner, _ = decide([_verdict(right=True)], changed, LIMITS, NOW)
    assert owner == [Decision.LET_IN]


def test_a_success_empties_the_accounts_counter_only() -> None:
    """Who knows one account's password cannot wash off guesses at others."""
    tries = [_verdict(right=False)] * 5 + [_verdict(right=True)]
    _, changed = decide(tries, {}, LIMITS, NOW)
    assert (changed[b"ann"].failures, changed[b"home"].failures) == (0, 5)


def test_a_clients_window_ends_though_failures_go_on() -> None:
    """Many people behind one address are not locked out by a few slips an hour."""
    counters = {b"home": Counter(14, NOW)}
    decisions, changed = decide([_verdict(right=False)], counters, LIMITS, NOW)
    assert decisions == [Decision.TURNED_AWAY]
    assert changed[b"home"] == Counter(1, NOW + WINDOW)


def test_delays_grow_and_have_an_end() -> None:
    """The first slips wait for nothing, each further one longer, none beyond the most."""
    waits = [delay_seconds(Counter(n, NOW), EMPTY, 1.0) for n in range(100)]
    assert waits[:5] == [0] * 5
    assert waits == sorted(waits)
    assert 0 < waits[5] < waits[20] < waits[40] < waits[-1] == 1.0
    assert delay_seconds(EMPTY, Counter(200, NOW), 1.0) == 1.0


def test_retry_after_is_when_the_window_ends() -> None:
    """A refused client learns when it may come back."""
    full = Counter(10, NOW + timedelta(seconds=90))
    assert retry_after_seconds(full, EMPTY, LIMITS, NOW, familiar=True) == 91
    assert retry_after_seconds(EMPTY, EMPTY, LIMITS, NOW, familiar=True) == 2

"""Addresses and their breakers, on a clock that the test moves."""

import pytest

from tradewind.platform.remote.endpoints import FAILURES_MOST, Budget, Endpoint, Worth, choose


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Its reading."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A new one."""
    return Clock()


def fail(endpoint: Endpoint, times: int = 1) -> None:
    """So many calls go there and fail."""
    for _ in range(times):
        endpoint.failed(trial=endpoint.begin())


def knock(endpoint: Endpoint, clock: Clock, *, answered: bool | None) -> None:
    """It is asked, when it is time, whether it is well."""
    clock.now += 10
    assert endpoint.may_knock()
    endpoint.knock()
    assert not endpoint.may_knock()
    endpoint.knocked(answered=answered)


def test_one_failure_is_a_doubt(clock: Clock) -> None:
    """It is the second choice until it answered a knock, and may still be chosen."""
    one = Endpoint("one", clock)
    fail(one)
    assert one.worth is Worth.DOUBTED
    assert not one.may_knock()
    knock(one, clock, answered=True)
    assert one.worth is Worth.WELL


def test_who_answers_knocks_and_no_calls(clock: Clock) -> None:
    """Answered knocks do not make failed calls forgotten: the breaker opens."""
    one = Endpoint("one", clock)
    for _ in range(FAILURES_MOST - 1):
        fail(one)
        knock(one, clock, answered=True)
    fail(one)
    assert one.worth is Worth.CLOSED_TO_ALL


def test_an_open_breaker_lets_one_call_try(clock: Clock) -> None:
    """After an answered knock one call goes there; meanwhile, and if it fails, nobody else."""
    one = Endpoint("one", clock)
    fail(one, FAILURES_MOST)
    knock(one, clock, answered=False)
    assert one.worth is Worth.CLOSED_TO_ALL
    knock(one, clock, answered=True)
    assert one.worth is Worth.TRIAL
    assert one.begin() is True
    assert one.worth is Worth.CLOSED_TO_ALL
    one.failed(trial=True)
    assert one.worth is Worth.CLOSED_TO_ALL
    knock(one, clock, answered=True)
    trial = one.begin()
    one.succeeded(trial=trial)
    assert one.worth is Worth.WELL
    assert one.at_work == 0


def test_a_trial_that_was_abandoned_is_free_again(clock: Clock) -> None:
    """The caller that left says nothing, and the next one may try."""
    one = Endpoint("one", clock)
    fail(one, FAILURES_MOST)
    knock(one, clock, answered=True)
    one.abandoned(trial=one.begin())
    assert one.worth is Worth.TRIAL


def test_calls_that_left_before_say_nothing_new(clock: Clock) -> None:
    """Fifty calls that end badly together neither end a trial nor make the pause longer."""
    one = Endpoint("one", clock)
    begun = [one.begin() for _ in range(50)]
    for trial in begun[:FAILURES_MOST]:
        one.failed(trial=trial)
    knock(one, clock, answered=True)
    trying = one.begin()
    for trial in begun[FAILURES_MOST:]:
        one.failed(trial=trial)
    assert one.worth is Worth.CLOSED_TO_ALL
    assert one.failures == FAILURES_MOST
    one.succeeded(trial=trying)
    assert one.worth is Worth.WELL


def test_pauses_grow_and_have_an_end(clock: Clock) -> None:
    """An address that stays dead is asked less and less often, but at least every four seconds."""
    one = Endpoint("one", clock)
    fail(one)
    pauses: list[float] = []
    for _ in range(8):
        before = clock.now
        while not one.may_knock():
            clock.now += 0.01
        pauses.append(clock.now - before)
        one.knock()
        one.knocked(answered=False)
    assert pauses[0] < 0.4
    assert all(2.0 < pause < 4.0 for pause in pauses[5:])


def test_one_that_is_about_to_end_has_not_failed(clock: Clock) -> None:
    """It is doubted, is no failure however often it says so, and is well when it is back."""
    one = Endpoint("one", clock)
    one.succeeded(trial=one.begin())
    one.leaving()
    for _ in range(5):
        knock(one, clock, answered=None)
        assert one.worth is Worth.DOUBTED
    assert one.failures == 0
    knock(one, clock, answered=True)
    assert one.worth is Worth.WELL


def test_the_choice(clock: Clock) -> None:
    """The well before the doubted, the idle before the busy, the new before the tried."""
    well, busy, doubted, closed = (Endpoint(name, clock) for name in "wbdc")
    busy.begin()
    fail(doubted)
    fail(closed, FAILURES_MOST)
    every = [closed, doubted, busy, well]
    assert choose(every, []) is well
    assert choose(every, [well]) is busy
    assert choose(every, [well, busy]) is doubted
    assert choose(every, [well, busy, doubted]) is well
    assert choose([closed], []) is None
    knock(closed, clock, answered=True)
    assert choose(every, []) is closed, "a trial is the first choice: who else would find out?"
    assert choose(every, [], twice=False) is well, "but not of what must not be done twice"
    assert choose([closed], [], twice=False) is closed


def test_the_budget() -> None:
    """So many retries to begin with, and one for every five first tries."""
    budget = Budget()
    first = 0
    while budget.take():
        first += 1
    assert first == 20
    for _ in range(5):
        budget.first_try()
    assert budget.take()
    assert not budget.take()

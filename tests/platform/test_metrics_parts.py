"""The parts of metrics by themselves: histograms, requests, the page, questions at a scrape."""

import asyncio
from collections.abc import Iterable

import pytest
from prometheus_client.core import Metric

from tradewind.platform.coalesce import Coalescer, noticed_coalescers
from tradewind.platform.lifecycle import Worker
from tradewind.platform.metrics.durations import BOUNDS, Durations
from tradewind.platform.metrics.page import Page
from tradewind.platform.metrics.requests import Requests, owner_of
from tradewind.platform.metrics.samples import Sample


def values(metrics: Iterable[Metric], name: str) -> dict[tuple[str, ...], float]:
    """What a page says of a name, by the values of its labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for metric in metrics
        for sample in metric.samples
        if sample.name == name
    }


def test_a_bound_belongs_to_its_bucket() -> None:
    """What took exactly as long as a bound is counted up to that bound."""
    durations = Durations()
    for seconds in (0.1, 0.100001, 60.0):
        durations.note(seconds)
    within = dict(zip(BOUNDS, durations.up_to(), strict=False))
    assert (within[0.05], within[0.1], within[0.25], within[10.0]) == (0, 1, 2, 2)
    assert durations.up_to()[-1] == 3
    assert durations.seconds == pytest.approx(60.200001)


def test_made_up_methods_are_one() -> None:
    """However many methods clients make up, there is one series for them."""
    requests = Requests()
    for number in range(1000):
        requests.note(f"METHOD{number}", "", 405, 0.001)
    requests.note("GET", "", 404, 0.001)
    assert {(one.method, one.status) for one in requests.all()} == {
        ("other", "4xx"),
        ("GET", "4xx"),
    }
    assert sum(one.durations.up_to()[-1] for one in requests.all()) == 1001


def test_what_failed() -> None:
    """The store failed what it answered with 5xx, and what it did not answer at all."""
    requests = Requests()
    for status in (0, 200, 304, 404, 429, 500, 503):
        requests.note("GET", "/", status, 0.001)
    assert {one.status: one.failed for one in requests.all()} == {
        "none": True,
        "2xx": False,
        "3xx": False,
        "4xx": False,
        "5xx": True,
    }


def test_a_route_belongs_to_who_serves_its_path() -> None:
    """A path stands for itself and all below it, and not for others that begin like it."""
    paths = {"one": ("/v1/things",), "two": ("/v1/others", "/v1/more")}
    routes = ("/v1/things", "/v1/things/{id}", "/v1/thingsome", "/v1/more/{id}/x", "/", "")
    assert [owner_of(route, paths) for route in routes] == ["one", "one", "", "two", "", ""]


def test_the_page_takes_only_what_is_declared() -> None:
    """An undeclared name, or labels that are not the declared ones, is an error at once."""
    page = Page()
    with pytest.raises(KeyError):
        page.add("tradewind_something", 1)
    with pytest.raises(ValueError, match="labels"):
        page.add("tradewind_redis_away", 1)
    page.add("tradewind_remote_calls_total", 2, "there")
    page.add("tradewind_remote_calls_total", 3, "there")
    assert values(page.collect(), "tradewind_remote_calls_total") == {("there",): 5}


@pytest.mark.asyncio
async def test_a_question_that_hangs_is_given_up() -> None:
    """Whoever does not answer in time is told as unknown, and asked anew at the next scrape."""
    hangs = True

    async def ask() -> int:
        if hangs:
            await asyncio.Event().wait()
        return 7

    sample = Sample("something", ask, within_seconds=0.02)
    async with asyncio.timeout(5):
        assert await sample.take() is None
    assert (sample.known, sample.failures) == (False, 1)
    hangs = False
    assert await sample.take() == 7
    assert (sample.known, sample.failures) == (True, 1)
    await sample.close()


@pytest.mark.asyncio
async def test_a_question_that_fails_is_unknown() -> None:
    """An error is counted, and is not the scrape's."""

    async def ask() -> int:
        raise RuntimeError("no such thing")

    sample = Sample("something", ask)
    assert await sample.take() is None
    assert (sample.known, sample.failures) == (False, 1)


@pytest.mark.asyncio
async def test_scrapes_at_the_same_time_ask_once() -> None:
    """However many scrape, one question is under way."""
    asked = 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)
        return asked

    sample = Sample("something", ask)
    assert await asyncio.gather(*(sample.take() for _ in range(5))) == [1] * 5


@pytest.mark.asyncio
async def test_coalescers_are_noticed_where_they_are_made() -> None:
    """A store knows its own coalescers, and no other store's."""

    async def flush(requests: list[int]) -> list[int]:
        return requests

    before: Coalescer[int, int] = Coalescer("before", flush)
    with noticed_coalescers() as one:
        first: Coalescer[int, int] = Coalescer("first", flush, waiting_most=2)
        with noticed_coalescers() as two:
            second: Coalescer[int, int] = Coalescer("second", flush)
    assert (one, two) == ([first], [second])
    assert before not in one
    answers = await asyncio.gather(*map(first.submit, range(3)), return_exceptions=True)
    assert isinstance(answers[2], Exception)
    assert (first.batches, first.members, first.refused, first.waiting) == (1, 2, 1, 0)


@pytest.mark.asyncio
async def test_workers_count_their_steps() -> None:
    """What went and what failed is counted for good, failures in a row until a step goes."""
    outcomes = [RuntimeError("once"), RuntimeError("twice"), True]
    done = asyncio.Event()

    async def step() -> bool:
        outcome = outcomes.pop(0) if outcomes else False
        if isinstance(outcome, Exception):
            raise outcome
        if not outcomes:
            done.set()
        return False

    worker = Worker("trial", step, every_seconds=60)
    worker.start()
    async with asyncio.timeout(10):
        await done.wait()
    await worker.stop()
    assert (worker.failed, worker.failures) == (2, 0)
    assert worker.steps >= 1

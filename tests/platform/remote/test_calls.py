"""Calls to instances that go wrong: each has an end, and none is carried out more often than told.

Calls are counted, not timed.
"""

import asyncio
import time
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from contracts.internal import House
from contracts.stand_ins import (
    Script,
    Stand,
    answering,
    babbling,
    breaking_off,
    hanging,
    hanging_up,
    trickling,
)
from contracts.trial import HASTY, NAMED, PATIENT, PROBLEM, first_goes_to, way
from shop import eventually, free_port
from tradewind.platform import telemetry
from tradewind.platform.errors import Conflict
from tradewind.platform.remote.client import (
    CallNotUnderstood,
    DependencyDown,
    Remote,
)
from tradewind.platform.remote.endpoints import Worth
from tradewind.platform.web.context import enter

pytestmark = pytest.mark.asyncio


WRONG: dict[str, Script] = {
    "hangs": hanging,
    "trickles": trickling,
    "answers 500": PROBLEM,
    "breaks off": breaking_off,
    "hangs up": hanging_up,
    "speaks no HTTP": babbling,
    "answers no JSON": answering(b"<html>"),
    "answers without end": answering(b"[" * 100_000),
    "fails without end": answering(b"[" * 100_000, 500),
    "answers another shape": answering(b'[{"value":7}]'),
    "answers too much": answering(b'[{"value":"a"},{"value":"b"}]'),
    "answers neither value nor error": answering(b"[{}]"),
    "answers a list": answering(b'[[{"value":"a"}]]'),
    "sends elsewhere": answering(b"", 307, "location: http://127.0.0.1:9/"),
    "says that it is not ready": answering(b'{"code":"unavailable"}', 503),
}


@pytest.mark.parametrize("script", WRONG.values(), ids=WRONG)
async def test_another_instance_makes_it_good(house: House, stand: Stand, script: Script) -> None:
    """Whatever one instance does instead of answering, another one is asked, and the caller has
    an answer.
    """
    bad, good = await stand(script), await stand(NAMED)
    remote = way(house, bad.url, good.url)
    first_goes_to(remote, 0)
    assert await remote.call("name", 7) == "seven"
    assert (len(bad.calls), len(good.calls)) == (1, 1)
    assert remote.gauges.retries == 1


@pytest.mark.parametrize("script", WRONG.values(), ids=WRONG)
async def test_what_may_have_arrived_is_not_sent_twice(
    house: House, stand: Stand, script: Script
) -> None:
    """A call that must not be carried out twice is given up as soon as it may have been once."""
    bad, good = await stand(script), await stand(NAMED)
    remote = way(house, bad.url, good.url)
    first_goes_to(remote, 0)
    with pytest.raises(DependencyDown) as told:
        await remote.call("name", 7, twice=False)
    assert told.value.retry_after_seconds == 1
    assert (len(bad.calls), len(good.calls)) == (1, 0)


async def test_what_never_arrived_is_sent_once_more(house: House, stand: Stand) -> None:
    """Nobody listens, or whoever does says that nothing was done: even such a call goes on to
    another instance.
    """
    full, good = await stand(answering(b'{"code":"rate_limited"}', 429)), await stand(NAMED)
    remote = way(house, f"http://127.0.0.1:{free_port()}", good.url)
    first_goes_to(remote, 0)
    assert await remote.call("name", 7, twice=False) == "seven"
    remote = way(house, full.url, good.url)
    first_goes_to(remote, 0)
    assert await remote.call("name", 7, twice=False) == "seven"
    assert (len(full.calls), len(good.calls)) == (1, 2)


async def test_all_dead_fails_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nobody there the caller hears so, and when to come back; soon nobody is even tried."""
    monkeypatch.setattr(telemetry, "SELDOM_SECONDS", 600.0)  # however long the calls take here
    remote = way(house, *(f"http://127.0.0.1:{free_port()}" for _ in range(2)))
    with capture_logs() as logs:
        for _ in range(20):
            with pytest.raises(DependencyDown) as told:
                await remote.call("name", 7)
            assert told.value.retry_after_seconds == 1
    assert all(one.is_open for one in remote.endpoints)
    assert remote.gauges.refused > 10
    assert remote.gauges.retries <= 8
    # An outage is told once for each address and once for the service, not once a call.
    urls = [one.url for one in remote.endpoints]
    assert {one["url"] for one in logs if one["event"] == "address left alone"} == set(urls)
    ours = ("address left alone", "calls failed")
    said = [one["event"] for one in logs if one["event"] in ours]
    assert said == ["address left alone"] * 2 + ["calls failed"]


async def test_a_breaker_closes_again(house: House, stand: Stand) -> None:
    """After it answered a knock one call tries it, and then all may go there."""
    only = await stand(PROBLEM)
    remote = way(house, only.url)

    async def fails() -> bool:
        with pytest.raises(DependencyDown):
            await remote.call("name", 7)
        return remote.endpoints[0].is_open

    await eventually(fails)
    asked = len(only.calls)
    with pytest.raises(DependencyDown):
        await remote.call("name", 7)
    assert len(only.calls) == asked, "nobody goes through an open breaker"
    only.script = NAMED

    async def answers() -> bool:
        try:
            return await remote.call("name", 7) == "seven"
        except DependencyDown:
            return False

    await eventually(answers)
    assert only.knocks
    assert not remote.endpoints[0].is_open
    assert remote.endpoints[0].worth is Worth.WELL


async def test_a_stopped_instance_is_asked_once(house: House, stand: Stand) -> None:
    """After the first time-out new calls avoid an instance that hangs, and no caller waits for
    it again: it has to answer a knock first.
    """
    stopped, good = await stand(hanging, ready=False), await stand(NAMED)
    remote = way(house, stopped.url, good.url)
    first_goes_to(remote, 0)
    await remote.call("name", 7)
    for _ in range(200):
        assert await remote.call("name", 7) == "seven"
    assert len(stopped.calls) == 1

    async def knocked() -> int:
        await remote.call("name", 7)
        return stopped.knocks

    await eventually(knocked)
    assert len(stopped.calls) == 1
    stopped.script, stopped.ready = NAMED, True

    async def taken_back() -> bool:
        await asyncio.gather(*(remote.call("name", 7) for _ in range(4)))
        return len(stopped.calls) > 1

    await eventually(taken_back)


async def test_one_slow_call_takes_nobody_out(house: House, stand: Stand) -> None:
    """Where all instances failed once, they are still asked: a doubt is no open breaker."""
    first, second = await stand(hanging), await stand(hanging)
    remote = way(house, first.url, second.url)
    task = asyncio.create_task(remote.call("name", 7))
    await eventually(lambda: asyncio.sleep(0, all(len(one.calls) for one in (first, second))))
    first.script = second.script = NAMED
    assert await remote.call("name", 7) == "seven"
    assert await task == "seven"


async def test_retries_are_paid_from_a_budget(house: House, stand: Stand) -> None:
    """However many calls fail, retries are few: a share of the calls and a handful besides."""
    bad, good = await stand(PROBLEM), await stand(NAMED)
    remote = way(house, bad.url, good.url)
    failed = 0
    for _ in range(60):
        # As if it had just answered a knock, so that it is tried each time.
        remote.endpoints[0].failures, remote.endpoints[0]._doubted = 0, False
        first_goes_to(remote, 0)
        try:
            await remote.call("name", 7)
        except DependencyDown:
            failed += 1
    assert failed
    assert remote.gauges.retries <= 20 + 60 * 0.2 + 1


async def test_no_try_outlives_its_caller(house: House, stand: Stand) -> None:
    """What is left of the request's time is what a try gets and what the other side is told."""
    only = await stand(hanging)
    remote = way(house, only.url, settings=PATIENT)

    async def asked() -> list[str]:
        """A caller that was held up for so long that it asked nobody is followed by another."""
        async with asyncio.timeout(20):
            with pytest.raises(DependencyDown):
                await asyncio.create_task(_called_with(remote, 0.1))
        return only.heads

    for head in await eventually(asked):
        told = next(line for line in head.splitlines() if line.lower().startswith("x-deadline-ms"))
        assert 0 < int(told.partition(":")[2]) <= 100
    assert remote.endpoints[0].failures == 0, "who waits so short cannot say that it is not well"


async def test_a_pause_that_took_too_long(
    house: House, stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is held up between two tries for too long still comes to an end."""
    first, second = await stand(PROBLEM), await stand(hanging)
    remote = way(house, first.url, second.url)
    first_goes_to(remote, 0)

    async def late(_tries: int, deadline: float) -> bool:
        while time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        return len(second.calls) == 0

    monkeypatch.setattr(remote, "_may_retry", late)
    async with asyncio.timeout(20):
        with pytest.raises(DependencyDown):
            await asyncio.create_task(_called_with(remote, 0.1))
    assert len(second.calls) <= 1


async def test_no_time_left(house: House, stand: Stand) -> None:
    """Who does not wait any longer asks nobody."""
    only = await stand(NAMED)
    remote = way(house, only.url)
    with pytest.raises(DependencyDown):
        await asyncio.create_task(_called_with(remote, -1.0))
    assert only.calls == []
    assert (remote.gauges.failures, remote.endpoints[0].failures) == (0, 0)


async def _called_with(remote: Remote, seconds: float) -> Any:
    enter("request", None, time.monotonic() + seconds)
    return await remote.call("name", 7)


async def test_the_bulkhead(house: House, stand: Stand) -> None:
    """So many are under way, so many wait, and whoever comes then is refused at once."""
    only = await stand(hanging)
    bounds = msgspec.structs.replace(PATIENT, at_once=2, waiting_most=3)
    remote = way(house, only.url, settings=bounds)
    tasks = [asyncio.create_task(remote.call("name", one)) for one in range(5)]
    await eventually(lambda: asyncio.sleep(0, len(only.calls) == 2))
    with pytest.raises(DependencyDown, match="too much"):
        await remote.call("name", 7)
    assert len(only.calls) == 2
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    only.script = NAMED
    assert await remote.call("name", 7) == "seven"
    assert [one.at_work for one in remote.endpoints] == [0]


async def test_a_caller_that_leaves_spoils_nothing(house: House, stand: Stand) -> None:
    """A cancelled call gives its place back and says nothing about the instance."""
    only = await stand(hanging)
    remote = way(house, only.url, settings=msgspec.structs.replace(PATIENT, at_once=1))
    for number in range(5):
        task = asyncio.create_task(remote.call("name", 7))
        await eventually(lambda number=number: asyncio.sleep(0, len(only.calls) > number))
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    assert (remote.endpoints[0].failures, remote.endpoints[0].at_work) == (0, 0)


async def test_an_instance_that_leaves(house: House, stand: Stand) -> None:
    """One that says with an answer that it is about to end gets no more while another is well."""
    leaving = await stand(answering(b'[{"value":"bye"}]', 200, "x-leaving: 1"), ready=False)
    good = await stand(NAMED)
    remote = way(house, leaving.url, good.url)
    first_goes_to(remote, 0)
    assert await remote.call("name", 7) == "bye"
    for _ in range(20):
        assert await remote.call("name", 7) == "seven"
    assert len(leaving.calls) == 1
    assert remote.gauges.failures == remote.gauges.retries == 0


async def test_nothing_secret_is_logged(house: House, stand: Stand) -> None:
    """Neither our token nor what another service answered is in a log line or an error."""
    for script in WRONG.values():
        bad = await stand(script)
        remote = way(house, bad.url, settings=HASTY)
        with capture_logs() as logs, pytest.raises(DependencyDown) as told:
            await remote.call("name", 7)
        said = repr((logs, told.value, told.value.__cause__, told.value.__context__))
        assert "Bearer" not in said
        assert "eyJ" not in said
        assert "Ann" not in said
        assert logs, script


async def test_a_call_that_is_not_understood(house: House, stand: Stand) -> None:
    """It is our own fault: not asked again, and nothing against the instance."""
    only = await stand(answering(b'{"code":"call_not_understood"}', 400))
    remote = way(house, only.url)
    with pytest.raises(CallNotUnderstood, match="call_not_understood"):
        await remote.call("name", 7)
    assert len(only.calls) == 1
    assert remote.endpoints[0].failures == 0


async def test_an_error_that_only_newer_code_has(house: House, stand: Stand) -> None:
    """It keeps its code, and is still one of its kind, so that its status is right."""
    newer = {"code": "sold_by_lot", "detail": "sold in lots", "extra": {"lot": 6}}
    body = msgspec.json.encode([{"error": {**newer, "kind": "conflict", "hint": "new"}}])
    only = await stand(answering(body))
    with pytest.raises(Conflict) as told:
        await way(house, only.url).call("name", 7)
    error = told.value
    assert (error.code, error.detail, error.extra) == tuple(newer.values())


async def test_a_call_is_not_sent_elsewhere(house: House, stand: Stand) -> None:
    """An instance cannot send a call, and with it our token, to another address."""
    thief = await stand(NAMED)
    sending = answering(b"", 307, f"location: {thief.url}/internal/products/name")
    only = await stand(sending)
    with pytest.raises(DependencyDown):
        await way(house, only.url).call("name", 7)
    assert thief.heads == []
    assert only.calls

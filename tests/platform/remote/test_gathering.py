"""Concurrent calls become one request: it is made once, and each member has its own end."""

import asyncio
import time
from uuid import UUID

import msgspec
import pytest

from contracts.internal import House
from contracts.stand_ins import Stand, answering, hanging
from contracts.trial import NAMED, PATIENT, way
from shop import Shop
from tradewind.platform.errors import Unavailable
from tradewind.platform.ids import new_id
from tradewind.platform.remote.client import CallNotUnderstood, DependencyDown
from tradewind.platform.remote.gathering import Gathered
from tradewind.platform.web.context import enter

pytestmark = pytest.mark.asyncio


async def test_a_gathered_batch_is_asked_once(house: House, stand: Stand) -> None:
    """Contention over there was waited out over there: it is handed on, and not tried again."""
    contended = b'[{"error":{"code":"contended","detail":"busy","extra":{},"kind":"unavailable"}}]'
    only = await stand(answering(contended))
    gathered = Gathered[UUID, bool](way(house, only.url), "tell")
    answers = await asyncio.gather(
        *(gathered.submit(new_id()) for _ in range(8)), return_exceptions=True
    )
    assert {type(one).__name__ for one in answers} == {"Contended"}
    assert len(only.calls) == 1
    with pytest.raises(Unavailable) as told:
        await gathered.submit_all([new_id(), new_id()])
    assert told.value.code == "contended"
    assert len(only.calls) == 2


async def test_a_gathered_batch_with_too_few_answers(house: House, stand: Stand) -> None:
    """Outcomes that cannot be told apart are nobody's, and are not asked for again."""
    only = await stand(answering(b'[[{"value":true}]]'))
    gathered = Gathered[UUID, bool](way(house, only.url), "tell")
    with pytest.raises(DependencyDown):
        await gathered.submit_all([new_id(), new_id()])
    assert len(only.calls) == 1


async def test_gathered_members_leave_at_their_own_time(house: House, stand: Stand) -> None:
    """A member with little time left is told so then, whatever its neighbours wait for."""
    only = await stand(hanging)
    remote = way(house, only.url, settings=PATIENT)
    gathered = Gathered[UUID, bool](remote, "tell")

    async def ask(seconds: float) -> bool:
        enter("request", None, time.monotonic() + seconds)
        return await gathered.submit(new_id())

    patient = asyncio.create_task(ask(30.0))
    with pytest.raises(DependencyDown, match="too slow"):
        await asyncio.create_task(ask(0.05))
    assert not patient.done()
    patient.cancel()
    await asyncio.gather(patient, return_exceptions=True)


async def test_who_waits_no_longer(house: House, stand: Stand) -> None:
    """A member whose caller has no time left is not asked for."""
    only = await stand(NAMED)
    gathered = Gathered[UUID, bool](way(house, only.url), "tell")

    async def ask() -> bool:
        enter("request", None, time.monotonic() - 1)
        return await gathered.submit(new_id())

    with pytest.raises(DependencyDown):
        await asyncio.create_task(ask())
    assert only.calls == []


async def test_never_in_a_transaction(house: House, stand: Stand, store: Shop) -> None:
    """A gathered call is made from a task of its own, and still refused inside a transaction."""
    only = await stand(NAMED)
    gathered = Gathered[UUID, bool](way(house, only.url), "tell")
    async with store.database("orders").transaction():
        with pytest.raises(RuntimeError, match=r"products\.tell"):
            await gathered.submit(new_id())
    assert only.calls == []


async def test_a_member_that_is_not_understood_fails_alone(house: House, stand: Stand) -> None:
    """What the other side refuses to read is halved until the member that spoils it is alone."""
    spoilt, good = new_id(), [new_id() for _ in range(7)]

    async def read(writer: asyncio.StreamWriter) -> None:
        [[members]] = msgspec.json.decode(only.calls[-1])
        if str(spoilt) in members:
            await answering(b'{"code":"call_not_understood"}', 400)(writer)
        else:
            outcomes = [{"value": True} for _ in members]
            await answering(msgspec.json.encode([outcomes]))(writer)

    only = await stand(read)
    gathered = Gathered[UUID, bool](way(house, only.url), "tell")
    asked = [*good[:3], spoilt, *good[3:]]
    answers = await asyncio.gather(*(gathered.submit(one) for one in asked), return_exceptions=True)
    assert isinstance(answers.pop(3), CallNotUnderstood)
    assert answers == [True] * 7

"""A person's right to see what is held and to be forgotten."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from notifications.parts import Service
from notifications.samples import one_of_each, order_placed, user_erased
from tradewind.notifications.actions.erasure import sweep
from tradewind.notifications.actions.preferences import set_preferences
from tradewind.notifications.model.kinds import Switches
from tradewind.platform.ids import new_id

pytestmark = pytest.mark.asyncio

Make = Callable[..., Awaitable[Service]]
Serving = Callable[[Service], Awaitable[Service]]


async def everything_held(service: Service) -> str:
    """Every row of every table, as text, with what is JSON inside."""
    tables = await service.rows(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'notifications'"
    )
    rows = [await service.rows(f"SELECT * FROM {table['tablename']}") for table in tables]
    return repr(rows)


async def test_nothing_is_left(service: Service, serving: Serving) -> None:
    """After an erasure no table holds the person's address, name or messages, and counts stay."""
    await serving(service)
    user_id, address = new_id(), "ann.lee@example.com"
    events = one_of_each(user_id, address)
    await service.handle(*events)
    await service.handle(order_placed(email=address.upper()))  # as a guest, before
    await set_preferences(service.context, user_id, {"order_shipped": Switches(email=False)})
    client = service.customer(user_id)
    [entry, *_] = (await client.get("/v1/notifications")).json()["items"]
    await client.post(f"/v1/notifications/{entry['id']}/read", headers={"Idempotency-Key": "key"})
    other = order_placed(user_id=new_id())
    await service.handle(other)
    before = len(await service.mails())
    await service.handle(user_erased(user_id=user_id, email=address))
    left = (await everything_held(service)).lower()
    assert "ann" not in left.replace("channel", "") and "verify-" not in left
    assert len(await service.mails()) == before
    assert left.count(str(user_id)) == 1, "only that it was erased is kept, for a while"
    assert other.email in left and str(other.user_id) in left
    assert len(await service.rows("SELECT id FROM entries")) == 1
    assert (await client.get("/v1/notifications")).json()["items"] == []


async def test_erased_twice(service: Service) -> None:
    """An erasure that comes again changes nothing."""
    event = order_placed(user_id=new_id())
    await service.handle(event)
    for _ in range(2):
        await service.handle(user_erased(user_id=event.user_id, email=None))
    [person] = await service.rows("SELECT erased_at FROM people")
    assert person["erased_at"] is not None


async def test_the_mark_goes_too(service: Service) -> None:
    """That somebody was erased is forgotten once no event about them can come any more."""
    await service.handle(user_erased())
    await sweep(service.context)
    assert len(await service.rows("SELECT user_id FROM people")) == 1
    await service.do("UPDATE people SET erased_at = erased_at - interval '9 days'")
    await sweep(service.context)
    assert await service.rows("SELECT user_id FROM people") == []


async def test_old_read_entries(make: Make) -> None:
    """Entries that were read long ago are deleted where that is set, and only those."""
    service, keeping = await make(keep_read_days=30), await make()
    user_id = new_id()
    await service.handle(*one_of_each(user_id, "ann@example.com"))
    await service.do(
        "UPDATE entries SET created_at = now() - interval '40 days', read_at = CASE position"
        " WHEN 1 THEN now() - interval '31 days' WHEN 2 THEN now() - interval '29 days' END"
    )
    await sweep(keeping.context)
    assert len(await service.rows("SELECT id FROM entries")) == 10
    await sweep(service.context)
    rows = await service.rows("SELECT position FROM entries ORDER BY position")
    assert [row["position"] for row in rows] == list(range(2, 11))


async def test_old_notes(service: Service) -> None:
    """What was answered long ago is not remembered for ever."""
    keys = (
        "INSERT INTO idempotency_keys (principal, key, fingerprint, status)"
        " VALUES ($1, $1, '', 200)"
    )
    await service.do(keys, "old")
    await service.do("UPDATE idempotency_keys SET created_at = now() - interval '9 days'")
    await service.do(keys, "new")
    await sweep(service.context)
    [key] = await service.rows("SELECT key FROM idempotency_keys")
    assert key["key"] == "new"


async def test_export(service: Service) -> None:
    """An export holds all that is held about one person, nothing of others, and no live secret."""
    user_id = new_id()
    service.stop_time()
    for _ in range(25):
        await service.handle(*one_of_each(user_id, "ann@example.com"))
    await service.handle(*one_of_each(new_id(), "other@example.com"))
    await set_preferences(service.context, user_id, {"order_shipped": Switches(email=False)})
    held = await service.running.contract.export(user_id)
    entries, mails = msgspec.json.decode(held.notifications), msgspec.json.decode(held.messages)
    # An account is welcomed once, and its address told once an hour that it is registered.
    assert len(entries) == 25 * 9 + 1
    assert len(mails) == 25 * 11 + 2
    assert {mail["recipient"] for mail in mails} == {"ann@example.com"}
    assert all(mail["subject"] and mail["body"] for mail in mails)
    preferences: dict[str, Any] = msgspec.json.decode(held.preferences)
    assert preferences["order_shipped"] == {"email": False, "push": True, "inbox": True}
    assert b"token=verify-" not in bytes(held.messages)
    assert b"token=reset-" not in bytes(held.messages)


async def test_an_export_of_nothing(service: Service) -> None:
    """Somebody of whom nothing is held gets empty lists."""
    held = await service.running.contract.export(new_id())
    assert (bytes(held.notifications), bytes(held.messages)) == (b"[]", b"[]")


async def test_a_stream_of_the_erased_ends(service: Service) -> None:
    """Whoever is erased hears nothing more."""
    user_id = new_id()

    async def always() -> bool:
        return True

    with service.context.streams.opened(user_id, always) as stream:
        await service.handle(user_erased(user_id=user_id))
        assert stream.is_over
        await asyncio.sleep(0)

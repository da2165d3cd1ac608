"""The address book."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from shop import key
from users.conftest import Instance

pytestmark = pytest.mark.asyncio
ADDRESS = {
    "name": "Ann Lee",
    "line1": "1 Main St",
    "city": "Berlin",
    "postalCode": "10115",
    "country": "DE",
}


async def test_an_address_is_added_changed_and_removed(users: Instance) -> None:
    """What is given changes, what is not stays, null empties what may be empty."""
    me = await users.customer()
    added = await me.post("/v1/me/addresses", json={**ADDRESS, "line2": "c/o Bob"})
    assert added.status_code == 201
    id_ = added.json()["id"]
    assert added.json() == {
        **ADDRESS,
        "id": id_,
        "line2": "c/o Bob",
        "region": None,
        "phone": None,
    }
    changed = await me.patch(f"/v1/me/addresses/{id_}", json={"city": "Bonn", "line2": None})
    assert changed.status_code == 200
    assert changed.json() == {**added.json(), "city": "Bonn", "line2": None}
    assert (await me.get("/v1/me/addresses")).json() == {"items": [changed.json()], "next": None}
    assert (await me.delete(f"/v1/me/addresses/{id_}")).status_code == 204
    assert (await me.get("/v1/me/addresses")).json()["items"] == []
    assert (await me.delete(f"/v1/me/addresses/{id_}")).status_code == 404


async def test_anothers_address_is_not_there(users: Instance) -> None:
    """404 for another's address, and nothing happens to it."""
    owner, thief = await users.customer(), await users.customer()
    address = (await owner.post("/v1/me/addresses", json=ADDRESS)).json()
    for id_ in (address["id"], str(uuid4())):
        path = f"/v1/me/addresses/{id_}"
        for answer in (await thief.patch(path, json={"city": "X"}), await thief.delete(path)):
            assert (answer.status_code, answer.json()["code"]) == (404, "address_not_found")
    assert (await thief.get("/v1/me/addresses")).json()["items"] == []
    assert (await owner.get("/v1/me/addresses")).json()["items"] == [address]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"country": "de"}, "country"),
        ({"country": "DEU"}, "country"),
        ({"country": "DE\n"}, "country"),
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": None}, "name"),
        ({"line1": "x" * 201}, "line1"),
        ({"city": "Ber\x07lin"}, "city"),
        ({"line2": "c/o\nBob"}, "line2"),
        ({"phone": "1" * 41}, "phone"),
        ({"postalCode": 10115}, "postalCode"),
    ],
)
async def test_bad_addresses_are_named(users: Instance, change: dict[str, Any], field: str) -> None:
    """422 with the field, when it is added and when it is changed."""
    me = await users.customer()
    answer = await me.post("/v1/me/addresses", json={**ADDRESS, **change})
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]
    id_ = (await me.post("/v1/me/addresses", json=ADDRESS)).json()["id"]
    assert (await me.patch(f"/v1/me/addresses/{id_}", json=change)).status_code == 422


async def test_the_book_holds_a_hundred(users: Instance) -> None:
    """The hundred-and-first is refused, also where many come at once."""
    me = await users.customer()
    for _ in range(80):
        assert (await me.post("/v1/me/addresses", json=ADDRESS)).status_code == 201
    # No more than these: each waits for all before it, and for a connection no longer than 5 s.
    answers = await asyncio.gather(*(me.post("/v1/me/addresses", json=ADDRESS) for _ in range(30)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(201), statuses.count(409)) == (20, 10)
    refused = [answer for answer in answers if answer.status_code == 409]
    assert refused[0].json()["code"] == "too_many_addresses"
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await me.get("/v1/me/addresses", params={"limit": 30, **cursor})).json()
        seen += [one["id"] for one in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert len(seen) == len(set(seen)) == 100
    assert seen == sorted(seen)


async def test_the_same_key_adds_one(users: Instance) -> None:
    """Thirty at once with one key: one address, one answer; another's same key is another's."""
    me, other, headers = await users.customer(), await users.customer(), key()
    answers = await asyncio.gather(
        *(me.post("/v1/me/addresses", json=ADDRESS, headers=headers) for _ in range(30))
    )
    assert {answer.status_code for answer in answers} <= {201, 409}
    ids = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert len(ids) == 1
    assert len((await me.get("/v1/me/addresses")).json()["items"]) == 1
    mine = await other.post("/v1/me/addresses", json=ADDRESS, headers=headers)
    assert mine.status_code == 201
    assert mine.json()["id"] not in ids

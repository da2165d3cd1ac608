"""What staff do with accounts."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tradewind.platform.database import Address
from tradewind.users.service import add_staff
from users.conftest import PASSWORD, Instance, NewInstance, mark, open_instance

pytestmark = pytest.mark.asyncio


async def test_customers_are_not_staff(users: Instance) -> None:
    """A customer gets 403 on every staff route, also about their own account."""
    account = await users.register()
    me = await users.sign_in(account["email"])
    for answer in (
        await me.get("/v1/users"),
        await me.get(f"/v1/users/{account['id']}"),
        await me.patch(f"/v1/users/{account['id']}", json={"role": "admin"}),
    ):
        assert answer.status_code == 403
    assert (await me.get("/v1/me")).json()["role"] == "customer"


async def test_only_an_administrator_changes_roles(users: Instance) -> None:
    """Staff may look and disable customers; roles and other staff are not theirs to change."""
    account = await users.register()
    staff, colleague, admin = (
        await users.staff("staff"),
        await users.staff("staff"),
        await users.staff("admin"),
    )
    path = f"/v1/users/{account['id']}"
    me = (await staff.get("/v1/me")).json()
    other = (await colleague.get("/v1/me")).json()
    for target, change in (
        (account["id"], {"role": "staff"}),
        (me["id"], {"role": "admin"}),
        (other["id"], {"disabled": True}),
        ((await admin.get("/v1/me")).json()["id"], {"disabled": True}),
    ):
        answer = await staff.patch(f"/v1/users/{target}", json=change)
        assert (answer.status_code, answer.json()["code"]) == (403, "denied")
    seen = (await staff.get(path)).json()
    assert (seen["role"], seen["disabled"]) == ("customer", False)
    assert (await staff.patch(path, json={})).json() == seen
    assert (await staff.patch(path, json={"disabled": True})).json()["disabled"] is True
    assert (await staff.patch(path, json={"disabled": False})).json()["disabled"] is False
    assert (await admin.patch(path, json={"role": "staff"})).json()["role"] == "staff"


async def test_a_change_ends_old_sessions(new_instance: NewInstance) -> None:
    """After a role change or a disabling old sessions are refused at once, here and elsewhere."""
    one, two = await new_instance(), await new_instance()
    await two.work()
    admin = await one.staff()
    for change in ({"role": "staff"}, {"role": "customer"}, {"disabled": True}):
        account = await one.register()
        me = await one.sign_in(account["email"])
        if change != {"role": "staff"}:
            path = f"/v1/users/{account['id']}"
            await admin.patch(path, json={"role": "staff"})
            me = await one.sign_in(account["email"])
        there = two.client(Authorization=me.headers["authorization"])
        assert (await me.get("/v1/me")).status_code == 200
        assert (await there.get("/v1/me")).status_code == 200
        answer = await admin.patch(f"/v1/users/{account['id']}", json=change)
        assert answer.status_code == 200
        assert (await me.get("/v1/me")).status_code == 401
        async with asyncio.timeout(30):
            while (await there.get("/v1/me")).status_code != 401:
                await asyncio.sleep(0.01)


async def test_the_disabled_stay_outside(users: Instance) -> None:
    """A disabled account cannot sign in; enabled again it can, with a new session."""
    account, admin = await users.register(), await users.staff()
    me = await users.sign_in(account["email"])
    path = f"/v1/users/{account['id']}"
    await admin.patch(path, json={"disabled": True})
    body = {"username": account["email"], "password": PASSWORD}
    assert (await users.client().post("/v1/login", json=body)).status_code == 401
    await admin.patch(path, json={"disabled": False})
    assert (await me.get("/v1/me")).status_code == 401
    await users.sign_in(account["email"])


async def test_one_administrator_remains(fresh_owner: Address) -> None:
    """The last one can neither step down, be disabled nor be erased; of two at once one can."""
    users = await open_instance(fresh_owner, {})
    try:
        admins: list[tuple[str, httpx.AsyncClient]] = []
        for n in range(2):
            email = f"admin-{n}@example.com"
            made = await add_staff(users.context, email, PASSWORD, "admin")
            admins.append((str(made.user_id), await users.sign_in(email)))
        (first_id, first), (second_id, second) = admins
        async with users.held("SELECT FROM users FOR UPDATE", waiting=2):
            both = [
                asyncio.create_task(client.patch(f"/v1/users/{id_}", json=change))
                for client, id_, change in (
                    (first, second_id, {"role": "customer"}),
                    (second, first_id, {"disabled": True}),
                )
            ]
        answers = await asyncio.gather(*both)
        assert sorted(answer.status_code for answer in answers) in ([200, 403], [200, 401])
        left = first if answers[0].status_code == 200 else second
        left_id = first_id if left is first else second_id
        for change in ({"role": "staff"}, {"disabled": True}):
            answer = await left.patch(f"/v1/users/{left_id}", json=change)
            assert (answer.status_code, answer.json()["code"]) == (409, "last_admin")
        answer = await left.request("DELETE", "/v1/me", json={"password": PASSWORD})
        assert (answer.status_code, answer.json()["code"]) == (409, "last_admin")
        assert (await left.get("/v1/users")).status_code == 200
    finally:
        await users.end()


async def test_accounts_are_found(users: Instance) -> None:
    """By a part of address, user name or name in any case; wildcards mean themselves."""
    word = mark()
    one = await users.register(name=f"Hanna {word}")
    two = await users.register(username=f"Ivo_{word}%")
    staff = await users.staff("staff")

    async def found(q: str, **more: Any) -> list[str]:
        answer = await staff.get("/v1/users", params={"q": q, **more})
        assert answer.status_code == 200
        return [user["id"] for user in answer.json()["items"]]

    assert await found(f"hANNA {word.upper()}") == [one["id"]]
    assert await found(one["email"].upper()) == [one["id"]]
    assert await found(word) == [two["id"], one["id"]]
    assert await found(f"_{word}%") == [two["id"]]
    assert await found(f"a%{word}") == []
    assert await found("\\") == []
    assert await found(word, role="admin") == []
    assert await found("' OR 1=1 --") == []


async def test_accounts_come_in_pages(users: Instance) -> None:
    """Pages follow each other without gap or repeat, newest first."""
    word = mark()
    made = [(await users.register(name=f"P {word} {n}"))["id"] for n in range(5)]
    staff = await users.staff("staff")
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        params = {"q": word, "limit": 2, **cursor}
        page = (await staff.get("/v1/users", params=params)).json()
        seen += [one["id"] for one in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"role": "king"}, 422),
        ({"limit": 0}, 422),
        ({"limit": 101}, 422),
        ({"cursor": "nonsense"}, 422),
        ({"q": "x" * 255}, 422),
        ({"q": "a\0b"}, 422),
    ],
)
async def test_bad_questions_are_named(
    users: Instance, params: dict[str, Any], status: int
) -> None:
    """422 for what the list cannot be asked."""
    staff = await users.staff("staff")
    assert (await staff.get("/v1/users", params=params)).status_code == status


async def test_bad_changes_are_refused(users: Instance) -> None:
    """Unknown roles, wrong types and null are 422; an unknown account 404; no address, no staff."""
    admin = await users.staff()
    account = await users.register()
    path = f"/v1/users/{account['id']}"
    for change in ({"role": "king"}, {"role": None}, {"disabled": "yes"}, {"disabled": None}):
        assert (await admin.patch(path, json=change)).status_code == 422
    answer = await admin.patch(f"/v1/users/{uuid4()}", json={"disabled": True})
    assert (answer.status_code, answer.json()["code"]) == (404, "user_not_found")
    assert (await admin.get(f"/v1/users/{uuid4()}")).status_code == 404
    assert (await admin.get("/v1/users/not-an-id")).status_code == 404
    old = await users.client().post(
        "/register", json={"username": f"old-{mark()}", "password": "s3cret-pw-of-old"}
    )
    answer = await admin.patch(f"/v1/users/{old.json()['userId']}", json={"role": "staff"})
    assert answer.status_code == 422

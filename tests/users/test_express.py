"""The two routes of the old Express service."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from shop import key
from users.conftest import Instance

pytestmark = pytest.mark.asyncio
OLD = "s3cret-pw-of-old"


async def test_an_old_client_goes_on(users: Instance) -> None:
    """201 {userId}, 200 {message}, 401 {message}; an unknown user is 401 too, in the same words."""
    name = f"old-{uuid4().hex[:8]}"
    client = users.client()
    made = await client.post("/register", json={"username": name, "password": OLD})
    assert (made.status_code, made.json().keys()) == (201, {"userId"})
    good = await client.post("/login", json={"username": name, "password": OLD})
    assert (good.status_code, good.json()["message"]) == (200, "Login successful!")
    assert good.json()["userId"] == made.json()["userId"]
    assert "set-cookie" not in good.headers
    assert "token" not in good.text
    wrong = await client.post("/login", json={"username": name, "password": "x"})
    unknown = await client.post("/login", json={"username": "who", "password": "x"})
    told = [{**answer.json(), "requestId": ""} for answer in (wrong, unknown)]
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert told[0] == told[1]
    assert told[0]["message"] == told[0]["error"] == "Invalid credentials"
    assert (await users.sign_in(name, OLD)) is not None


async def test_a_taken_name_is_409(users: Instance) -> None:
    """Of two at once one gets the name."""
    client = users.client()
    body = {"username": f"old-{uuid4().hex[:8]}", "password": OLD}
    answers = await asyncio.gather(*(client.post("/register", json=body) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.json()["error"] == "Username already taken"


async def test_an_address_as_user_name_is_an_address(users: Instance) -> None:
    """An old user name that is an e-mail address becomes the address, and is taken as such."""
    email = f"old-{uuid4().hex[:8]}@example.com"
    client = users.client()
    assert (
        await client.post("/register", json={"username": email, "password": OLD})
    ).status_code == 201
    me = await users.sign_in(email, OLD)
    assert (await me.get("/v1/me")).json()["email"] == email
    again = await client.post("/v1/register", json={"email": email, "password": OLD})
    assert again.status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "ann"},
        {"password": OLD},
        {"username": "", "password": OLD},
        {"username": None, "password": OLD},
        {"username": "ab", "password": OLD},
        {"username": "ann", "password": "password"},
        {"username": "a@b", "password": OLD},
    ],
)
async def test_what_is_missing_or_wrong_is_400(users: Instance, body: dict[str, Any]) -> None:
    """As before, with a message."""
    answer = await users.client().post("/register", json=body)
    assert answer.status_code == 400
    assert answer.json()["message"]
    if "password" not in body or not body.get("username"):
        assert (await users.client().post("/login", json=body)).status_code == 400


async def test_a_key_is_kept_here_too(users: Instance) -> None:
    """The same key and body: the same answer; another body: 422, in the words of every route."""
    client, headers = users.client(), key()
    body = {"username": f"old-{uuid4().hex[:8]}", "password": OLD}
    first = await client.post("/register", json=body, headers=headers)
    second = await client.post("/register", json=body, headers=headers)
    assert (first.status_code, first.content) == (second.status_code, second.content)
    other = await client.post("/register", json={**body, "password": OLD * 2}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")

"""Signing in over HTTP."""

import asyncio
import threading
from typing import Any
from uuid import UUID

import argon2
import pytest

from tradewind.platform.errors import Unavailable
from tradewind.platform.sessions import csrf_token
from users.conftest import PASSWORD, PATIENCE_SECONDS, Instance, NewInstance, mark

pytestmark = pytest.mark.asyncio


async def test_a_session_by_address_or_user_name(users: Instance) -> None:
    """Both names lead to the account, in any case; the answer holds token and end, two cookies."""
    account = await users.register(username=f"Dora-{mark()}")
    for name in (account["email"].upper(), account["username"].upper(), f" {account['email']} "):
        answer = await users.client().post(
            "/v1/login", json={"username": name, "password": PASSWORD}
        )
        body = answer.json()
        assert (body["message"], body["userId"]) == ("Login successful!", account["id"])
        session, csrf = answer.headers.get_list("set-cookie")
        assert session.startswith(f"session={body['token']};")
        assert "httponly" in session.lower()
        assert "SameSite=Lax" in session
        assert csrf.startswith(f"csrf={csrf_token(body['token'])};")
        assert "httponly" not in csrf.lower()


async def test_a_token_is_kept_nowhere(users: Instance) -> None:
    """The database holds the token's hash alone; each sign-in has a token of its own."""
    account = await users.register()
    one = await users.sign_in(account["email"])
    two = await users.sign_in(account["email"])
    tokens = {client.headers["authorization"].split()[1] for client in (one, two)}
    assert len(tokens) == 2
    assert all(len(token) >= 43 for token in tokens)
    rows = await users.rows(
        "SELECT sessions::text AS text, token_hash FROM sessions WHERE user_id = $1",
        UUID(account["id"]),
    )
    assert not any(token in row["text"] for row in rows for token in tokens)


async def test_a_session_shown_before_is_not_taken_over(users: Instance) -> None:
    """A token planted in the browser is not the one that sign-in opens (no fixation)."""
    account = await users.register()
    client = users.client()
    client.cookies.set("session", "planted-by-somebody-else-0123456789abcdef")
    answer = await client.post(
        "/v1/login", json={"username": account["email"], "password": PASSWORD}
    )
    assert answer.status_code == 200
    assert "planted" not in answer.json()["token"]


async def test_unknown_and_wrong_are_the_same(users: Instance) -> None:
    """The answers to an unknown name, a wrong password and a disabled account are alike."""
    account = await users.register()
    disabled = await users.register()
    staff = await users.staff()
    await staff.patch(f"/v1/users/{disabled['id']}", json={"disabled": True})
    client = users.client()
    answers = [
        await client.post("/v1/login", json={"username": name, "password": password})
        for name, password in (
            (account["email"], "a wrong password"),
            ("nobody-" + account["email"], PASSWORD),
            ("nobody", PASSWORD),
            (disabled["email"], PASSWORD),
        )
    ]
    told: list[tuple[int, dict[str, Any], dict[str, str]]] = []
    for answer in answers:
        body = answer.json()
        body.pop("requestId")
        headers = {
            name: value
            for name, value in answer.headers.items()
            if name not in ("x-request-id", "date")
        }
        told.append((answer.status_code, body, headers))
    assert all(one == told[0] for one in told)
    assert told[0][0] == 401
    assert told[0][1]["code"] == "invalid_credentials"


async def test_an_unknown_name_costs_a_hash(
    users: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work of checking a password is done for unknown names too."""
    worked: list[str | None] = []
    verify = users.context.hashing.verify

    async def watched(stored: str | None, password: str) -> bool:
        worked.append(stored)
        return await verify(stored, password)

    monkeypatch.setattr(users.context.hashing, "verify", watched)
    await users.client().post("/v1/login", json={"username": "nobody", "password": PASSWORD})
    assert worked == [None]


async def test_a_failure_is_answered_no_sooner(new_instance: NewInstance) -> None:
    """Every failure takes at least the set time, whatever its hash took."""
    users = await new_instance({"TRADEWIND_USERS_FAILURE_SECONDS": "0.3"})
    loop = asyncio.get_running_loop()
    started = loop.time()
    await users.client().post("/v1/login", json={"username": "nobody", "password": PASSWORD})
    assert loop.time() - started >= 0.3


async def test_a_weak_hash_is_made_anew(new_instance: NewInstance) -> None:
    """A hash of less cost is replaced at the next sign-in, and the password stays good."""
    users = await new_instance(real_hashes=True)
    account = await users.register()
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    async with users.database.transaction() as tx:
        await tx.execute(
            "UPDATE users SET password_hash = $2 WHERE id = $1", UUID(account["id"]), weak
        )
    await users.sign_in(account["email"])
    rows = await users.rows("SELECT password_hash FROM users WHERE id = $1", UUID(account["id"]))
    assert rows[0]["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    await users.sign_in(account["email"])


async def test_a_password_changed_meanwhile_opens_nothing(
    users: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had the right password when it was tried, but not when it is decided, stays outside."""
    account = await users.register()
    verify = users.context.hashing.verify

    async def slow(stored: str | None, password: str) -> bool:
        right = await verify(stored, password)
        async with users.database.transaction() as tx:
            await tx.execute(
                "UPDATE users SET password_hash = $2 WHERE id = $1",
                UUID(account["id"]),
                await users.context.hashing.hash("another long phrase"),
            )
        return right

    monkeypatch.setattr(users.context.hashing, "verify", slow)
    answer = await users.client().post(
        "/v1/login", json={"username": account["email"], "password": PASSWORD}
    )
    assert answer.status_code == 401
    assert not await users.rows("SELECT FROM sessions WHERE user_id = $1", UUID(account["id"]))


async def test_a_guests_cart_comes_along(new_instance: NewInstance) -> None:
    """The `Cart-Token` of a sign-in is handed to orders with the user's id; without one nothing."""
    users = await new_instance()
    account = await users.register()
    body = {"username": account["email"], "password": PASSWORD}
    await users.client().post("/v1/login", json=body)
    assert users.orders.adopted == []
    await users.client().post("/v1/login", json=body, headers={"Cart-Token": "secret"})
    assert [(one.user_id, one.cart_token) for one in users.orders.adopted] == [
        (UUID(account["id"]), "secret")
    ]


@pytest.mark.parametrize("error", [Unavailable("down"), RuntimeError("broken"), TimeoutError()])
async def test_a_failing_cart_fails_no_sign_in(
    users: Instance, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever orders has, the customer is let in."""
    account = await users.register()
    monkeypatch.setattr(users.orders, "fails", error)
    answer = await users.client().post(
        "/v1/login",
        json={"username": account["email"], "password": PASSWORD},
        headers={"Cart-Token": "secret"},
    )
    assert answer.status_code == 200


async def test_a_slow_cart_is_not_waited_for(
    users: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders that do not answer hold a sign-in up for half a second at most."""

    async def hang(_adoptions: object) -> list[bool]:
        await asyncio.Event().wait()
        return []

    account = await users.register()
    monkeypatch.setattr(users.orders, "adopt_carts", hang)
    answer = await users.client().post(
        "/v1/login",
        json={"username": account["email"], "password": PASSWORD},
        headers={"Cart-Token": "secret"},
    )
    assert answer.status_code == 200


async def test_two_hundred_at_once_stop_nobody_else(new_instance: NewInstance) -> None:
    """While 200 sign-ins are under way other requests are answered, and all 200 get in."""
    users = await new_instance(real_hashes=True)
    account = await users.register()
    customer = await users.sign_in(account["email"])
    client = users.client()
    body = {"username": account["email"], "password": PASSWORD}
    hashing, may_hash = users.context.hashing, threading.Event()
    for _ in range(hashing._threads):
        hashing._pool.submit(may_hash.wait)  # as if all of them had a hash that takes long
    rush = [asyncio.create_task(client.post("/v1/login", json=body)) for _ in range(200)]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while hashing.waiting < 200:
                assert (await customer.get("/v1/me")).status_code == 200
        for _ in range(20):
            assert (await customer.get("/v1/me")).status_code == 200
        assert not any(task.done() for task in rush)
    finally:
        may_hash.set()
    for _ in range(20):
        assert (await customer.get("/v1/me")).status_code == 200
    assert {answer.status_code for answer in await asyncio.gather(*rush)} == {200}


async def test_more_than_fit_are_told_so(new_instance: NewInstance) -> None:
    """Where the queue of hashes is full, the answer is 503 at once, with a time to come back, and
    counts as no failure.
    """
    users = await new_instance({"TRADEWIND_USERS_HASHES_WAITING_MOST": "4"}, real_hashes=True)
    account = await users.register()
    client = users.client()
    body = {"username": account["email"], "password": PASSWORD}
    answers = await asyncio.gather(*(client.post("/v1/login", json=body) for _ in range(40)))
    refused = [answer for answer in answers if answer.status_code == 503]
    assert refused
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert {answer.status_code for answer in answers} == {200, 503}
    assert (await client.post("/v1/login", json=body)).status_code == 200
    subject = users.context.attempts.account_subject(UUID(account["id"]), "")
    assert not await users.rows("SELECT FROM attempts WHERE subject = $1", subject)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "ann"},
        {"username": "ann", "password": ""},
        {"username": "ann", "password": None},
        {"username": 1, "password": "x"},
        {"username": "a" * 256, "password": "x"},
        {"username": "ann", "password": "x" * 1025},
    ],
)
async def test_bad_bodies_are_named(users: Instance, body: dict[str, object]) -> None:
    """422 names the field."""
    answer = await users.client().post("/v1/login", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"]

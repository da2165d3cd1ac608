"""New accounts over HTTP."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from shop import key
from tradewind.platform.idempotency import fingerprint
from tradewind.users.contract import AddressAlreadyRegistered, UsernameTaken, UserRegistered
from tradewind.users.service import add_first_staff, add_staff
from users.conftest import PASSWORD, Instance, NewInstance, mark

pytestmark = pytest.mark.asyncio
REQUIRED = {"TRADEWIND_USERS_VERIFY_EMAIL_REQUIRED": "true"}


async def test_an_account_is_made_and_told_of(users: Instance) -> None:
    """201 with an id of version 7; the event with the verification token is saved with it."""
    account = await users.register(name=" Ann Lee ", username=f"ann {mark()}")
    assert UUID(account["id"]).version == 7
    event = await users.event(UserRegistered, account["id"])
    assert (str(event.user_id), event.email) == (account["id"], account["email"])
    assert event.name == "Ann Lee"
    rows = await users.rows("SELECT token_hash FROM tokens WHERE user_id = $1", UUID(account["id"]))
    assert len(rows) == 1
    assert event.verification_token.encode() not in rows[0]["token_hash"]


async def test_a_taken_name_is_refused(users: Instance) -> None:
    """409 for the same address or user name, in any spelling."""
    account = await users.register(username=f"Bob-{mark()}")
    client = users.client()
    for body in (
        {"email": account["email"].upper()},
        {"email": "other-" + account["email"], "username": account["username"].upper()},
    ):
        answer = await client.post("/v1/register", json={**body, "password": PASSWORD})
        assert (answer.status_code, answer.json()["code"]) == (409, "username_taken")


async def test_thirty_at_once_make_one_account(users: Instance) -> None:
    """Of many registrations of one address one goes through."""
    client = users.client()
    body = {"email": f"rush-{mark()}@example.com", "password": PASSWORD}
    answers = await asyncio.gather(*(client.post("/v1/register", json=body) for _ in range(30)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 29


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"email": "no address", "password": "short"}, {"email", "password"}),
        ({"password": PASSWORD}, {"email"}),
        ({"email": "a@example.com"}, {"password"}),
        ({"email": "a@example.com", "password": "password"}, {"password"}),
        ({"email": "a@example.com", "password": "x" * 129}, {"password"}),
        ({"email": "a@example.com", "password": 12345678}, {"password"}),
        ({"email": ["a@example.com"], "password": PASSWORD}, {"email"}),
        ({"username": "ab", "password": PASSWORD}, {"username"}),
        ({"username": "ann@example.com", "password": PASSWORD}, {"username"}),
        ({"email": "a@example.com", "password": PASSWORD, "name": "A\nBcc: b"}, {"name"}),
        ({"email": "a@example.com", "password": PASSWORD, "name": "A\n"}, {"name"}),
        ({"email": "a@example.com\r\nBcc: b@c.de", "password": PASSWORD}, {"email"}),
        ({"email": "barnabas@example.com", "password": "barnabas-12"}, {"password"}),
    ],
)
async def test_bad_input_is_named(users: Instance, body: dict[str, Any], fields: set[str]) -> None:
    """422 with every field that is wrong."""
    answer = await users.client().post("/v1/register", json=body)
    assert answer.status_code == 422, answer.text
    assert {fault["field"] for fault in answer.json()["errors"]} == fields


async def test_nobody_appoints_themselves(users: Instance) -> None:
    """Fields that are not for the sender change nothing."""
    forged = {"role": "admin", "emailVerified": True, "disabled": True, "id": "1", "version": 7}
    account = await users.register(**forged)
    me = (await (await users.sign_in(account["email"])).get("/v1/me")).json()
    assert (me["role"], me["emailVerified"], me["id"]) == ("customer", False, account["id"])


async def test_a_repeated_registration_is_answered_again(users: Instance) -> None:
    """Same key and body: the same answer; other body: 422. What is stored holds no hash of the
    body that a password could be guessed from.
    """
    client, headers = users.client(), key()
    body = {"email": f"twice-{mark()}@example.com", "password": PASSWORD}
    first = await client.post("/v1/register", json=body, headers=headers)
    second = await client.post("/v1/register", json=body, headers=headers)
    assert (second.status_code, second.content) == (201, first.content)
    assert second.headers["idempotent-replayed"] == "true"
    body["password"] += " "
    other = await client.post("/v1/register", json=body, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_stored_fingerprint_tells_nothing_of_the_password(users: Instance) -> None:
    """The fingerprint of a body with a password in it is keyed: it cannot be guessed against."""
    client, headers = users.client(), key()
    body = f'{{"email":"sealed-{mark()}@example.com","password":"{PASSWORD}"}}'.encode()
    answer = await client.post(
        "/v1/register", content=body, headers={**headers, "Content-Type": "application/json"}
    )
    assert answer.status_code == 201
    rows = await users.rows(
        "SELECT fingerprint FROM idempotency_keys WHERE key = $1", headers["Idempotency-Key"]
    )
    assert rows[0]["fingerprint"] != fingerprint("POST", "/v1/register", body)


async def test_a_taken_address_is_answered_like_a_free_one(new_instance: NewInstance) -> None:
    """Where verified e-mail is required, only the owner learns of it, once an hour at most."""
    users = await new_instance(REQUIRED)
    account = await users.register(name="Ann")
    client = users.client()
    body = {"email": account["email"].upper(), "password": "somebody else's phrase"}
    free = {"email": f"free-{mark()}@example.com", "password": PASSWORD}
    answers = [await client.post("/v1/register", json=one) for one in (free, body, body)]
    assert {answer.status_code for answer in answers} == {201}
    ids = {UUID(answer.json()["userId"]) for answer in answers}
    assert len(ids) == 3
    assert {id_.version for id_ in ids} == {7}
    assert all(answer.json().keys() == {"userId"} for answer in answers)
    told = [
        event
        for event in await users.events(AddressAlreadyRegistered)
        if str(event.user_id) == account["id"]
    ]
    assert [(event.email, event.name) for event in told] == [(account["email"], "Ann")]
    await users.sign_in(account["email"])  # the password is still the owner's


async def test_a_taken_user_name_is_told_alone(new_instance: NewInstance) -> None:
    """A user name is no secret; whether the address is taken as well cannot be seen from it."""
    users = await new_instance(REQUIRED)
    account = await users.register(username=f"carla-{mark()}")
    for email in (account["email"], "free-" + account["email"]):
        body = {"email": email, "username": account["username"], "password": PASSWORD}
        answer = await users.client().post("/v1/register", json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "username_taken")


async def test_unverified_accounts_may_be_kept_out(new_instance: NewInstance) -> None:
    """Where it is so set, who has not verified the address is not told from a wrong password."""
    users = await new_instance({**REQUIRED, "TRADEWIND_USERS_UNVERIFIED_SIGN_IN": "false"})
    account = await users.register()
    client = users.client()
    body = {"username": account["email"], "password": PASSWORD}
    assert (await client.post("/v1/login", json=body)).status_code == 401
    token = (await users.event(UserRegistered, account["id"])).verification_token
    answer = await client.post("/v1/email-verifications/confirm", json={"token": token})
    assert answer.status_code == 204
    assert (await client.post("/v1/login", json=body)).status_code == 200


async def test_an_address_is_verified_once(users: Instance) -> None:
    """The token of the mail verifies the address; used again, or made up, it is refused."""
    account = await users.register()
    customer = await users.sign_in(account["email"])
    token = (await users.event(UserRegistered, account["id"])).verification_token
    client = users.client()
    answers = await asyncio.gather(
        *(client.post("/v1/email-verifications/confirm", json={"token": token}) for _ in range(10))
    )
    assert sorted(answer.status_code for answer in answers) == [204] + [422] * 9
    made_up = await client.post("/v1/email-verifications/confirm", json={"token": "x" * 43})
    assert (made_up.status_code, made_up.json()["code"]) == (422, "invalid_token")
    assert (await customer.get("/v1/me")).json()["emailVerified"] is True


async def test_a_verification_has_an_end(users: Instance) -> None:
    """A token that is older than its time verifies nothing."""
    account = await users.register()
    token = (await users.event(UserRegistered, account["id"])).verification_token
    async with users.database.transaction() as tx:
        await tx.execute(
            "UPDATE tokens SET expires_at = now() WHERE user_id = $1", UUID(account["id"])
        )
    answer = await users.client().post("/v1/email-verifications/confirm", json={"token": token})
    assert answer.status_code == 422


async def test_staff_are_made_on_the_command_line(users: Instance) -> None:
    """`add_staff` makes an account with the role; it never promotes one that is there."""
    account = await users.register()
    with pytest.raises(UsernameTaken):
        await add_staff(users.context, account["email"], PASSWORD, "admin")
    staff = await users.staff("staff")
    assert (await staff.get("/v1/me")).json()["role"] == "staff"
    assert (await staff.get("/v1/me")).json()["emailVerified"] is True


async def test_the_first_staff_account_is_made_once(users: Instance) -> None:
    """A store that has an administrator gets no second one by itself."""
    await users.staff()
    email = f"first-{mark()}@example.com"
    assert await add_first_staff(users.context, email, PASSWORD) is False
    assert not await users.rows("SELECT FROM users WHERE email = $1", email)

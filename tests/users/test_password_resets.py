"""Forgotten passwords."""

import asyncio
from uuid import UUID

import pytest

from shop import key
from tradewind.users.actions.passwords import send_resets
from tradewind.users.contract import PasswordResetRequested
from users.conftest import PASSWORD, Instance

pytestmark = pytest.mark.asyncio
NEW = "a quite different passphrase"


async def _token(users: Instance, account: dict[str, str]) -> str:
    body = {"email": account["email"].upper()}
    assert (await users.client().post("/v1/password-resets", json=body)).status_code == 202
    await send_resets(users.context)
    return (await users.event(PasswordResetRequested, account["id"])).reset_token


async def test_a_forgotten_password_is_replaced(users: Instance) -> None:
    """The token of the mail sets a new one; every session ends, and the address counts as read."""
    account = await users.register(name="Ann")
    before = await users.sign_in(account["email"])
    token = await _token(users, account)
    event = await users.event(PasswordResetRequested, account["id"])
    assert (event.email, event.name) == (account["email"], "Ann")
    answer = await users.client().post(
        "/v1/password-resets/confirm", json={"token": token, "newPassword": NEW}
    )
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await before.get("/v1/me")).status_code == 401
    after = await users.sign_in(account["email"], NEW)
    assert (await after.get("/v1/me")).json()["emailVerified"] is True
    old = {"username": account["email"], "password": PASSWORD}
    assert (await users.client().post("/v1/login", json=old)).status_code == 401


async def test_a_repeated_wish_is_answered_alike(users: Instance) -> None:
    """With its key it is noted once, and the stored answer is the first, byte for byte."""
    body, headers = {"email": f"nobody-{UUID(int=7).hex}@example.com"}, key()
    answers = [
        await users.client().post("/v1/password-resets", json=body, headers=headers)
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].content == answers[1].content
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert len(await users.rows("SELECT FROM reset_requests")) == 1
    await send_resets(users.context)


async def test_the_answer_tells_nothing(users: Instance) -> None:
    """Known, unknown and disabled addresses are answered alike, and by the same statements."""
    account = await users.register()
    client = users.client()
    answers = [
        await client.post("/v1/password-resets", json={"email": email})
        for email in (account["email"], "nobody-" + account["email"])
    ]
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (202, answers[0].content)
    }
    waiting = await users.rows("SELECT email_key FROM reset_requests")
    assert len(waiting) == 2
    await send_resets(users.context)
    assert not await users.rows("SELECT FROM reset_requests")
    tokens = await users.rows("SELECT user_id FROM tokens WHERE kind = 'password_reset'")
    assert [row["user_id"] for row in tokens].count(UUID(account["id"])) == 1


async def test_a_token_works_once_however_many_try(users: Instance) -> None:
    """Of many at once one goes through, and exactly its password counts."""
    account = await users.register()
    token = await _token(users, account)
    client = users.client()
    answers = await asyncio.gather(
        *(
            client.post(
                "/v1/password-resets/confirm",
                json={"token": token, "newPassword": f"{NEW} number {n}"},
            )
            for n in range(10)
        )
    )
    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [204] + [422] * 9
    await users.sign_in(account["email"], f"{NEW} number {statuses.index(204)}")


async def test_older_tokens_die_with_a_use(users: Instance) -> None:
    """Whichever of several links is used, the others are dead; changing the password kills all."""
    account = await users.register()
    first, second = await _token(users, account), await _token(users, account)
    confirm = "/v1/password-resets/confirm"
    body = {"token": first, "newPassword": NEW}
    assert (await users.client().post(confirm, json=body)).status_code == 204
    answer = await users.client().post(confirm, json={**body, "token": second})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_token")
    third = await _token(users, account)
    me = await users.sign_in(account["email"], NEW)
    change = {"currentPassword": NEW, "newPassword": PASSWORD}
    assert (await me.post("/v1/me/password", json=change)).status_code == 204
    assert (await users.client().post(confirm, json={**body, "token": third})).status_code == 422


async def test_a_token_has_an_end(users: Instance) -> None:
    """After its hour a token is refused."""
    account = await users.register()
    token = await _token(users, account)
    async with users.database.transaction() as tx:
        await tx.execute(
            "UPDATE tokens SET expires_at = now() WHERE user_id = $1", UUID(account["id"])
        )
    answer = await users.client().post(
        "/v1/password-resets/confirm", json={"token": token, "newPassword": NEW}
    )
    assert answer.status_code == 422


async def test_a_token_is_kept_as_a_hash(users: Instance) -> None:
    """Who reads the table cannot use what stands there."""
    account = await users.register()
    token = await _token(users, account)
    rows = await users.rows(
        "SELECT t::text AS text FROM tokens AS t WHERE user_id = $1", UUID(account["id"])
    )
    assert len(token) >= 43
    assert all(token not in row["text"] for row in rows)


async def test_a_verification_token_resets_nothing(users: Instance) -> None:
    """A token is good for its own purpose only."""
    account = await users.register()
    token = await _token(users, account)
    answer = await users.client().post("/v1/email-verifications/confirm", json={"token": token})
    assert answer.status_code == 422


async def test_a_common_password_uses_nothing_up(users: Instance) -> None:
    """422 names the field, and the link is still good."""
    account = await users.register()
    token = await _token(users, account)
    confirm = "/v1/password-resets/confirm"
    answer = await users.client().post(confirm, json={"token": token, "newPassword": "password1"})
    assert answer.json()["errors"][0]["field"] == "newPassword"
    answer = await users.client().post(confirm, json={"token": token, "newPassword": NEW})
    assert answer.status_code == 204


async def test_a_mailbox_is_not_flooded(users: Instance) -> None:
    """However often a reset is asked for, only a few links are good at a time."""
    account = await users.register()
    for _ in range(12):
        await _token(users, account)
    rows = await users.rows(
        "SELECT FROM tokens WHERE user_id = $1 AND kind = 'password_reset'", UUID(account["id"])
    )
    assert len(rows) == 5


async def test_the_disabled_get_no_link(users: Instance) -> None:
    """A disabled account cannot be brought back by its address."""
    account = await users.register()
    token = await _token(users, account)
    staff = await users.staff()
    await staff.patch(f"/v1/users/{account['id']}", json={"disabled": True})
    answer = await users.client().post(
        "/v1/password-resets/confirm", json={"token": token, "newPassword": NEW}
    )
    assert answer.status_code == 422
    await users.client().post("/v1/password-resets", json={"email": account["email"]})
    await send_resets(users.context)
    assert not await users.rows(
        "SELECT FROM tokens WHERE user_id = $1 AND kind = 'password_reset'", UUID(account["id"])
    )


async def test_a_repeated_wish_is_one(users: Instance) -> None:
    """The same key asks once."""
    account, headers = await users.register(), key()
    for _ in range(3):
        body = {"email": account["email"]}
        answer = await users.client().post("/v1/password-resets", json=body, headers=headers)
        assert answer.status_code == 202
    assert len(await users.rows("SELECT FROM reset_requests")) == 1
    await send_resets(users.context)


async def test_no_address_is_named(users: Instance) -> None:
    """What is no address is 422, not a mail to somewhere."""
    for email in ("nobody", "a@example.com\nBcc: b@example.com", ""):
        answer = await users.client().post("/v1/password-resets", json={"email": email})
        assert answer.status_code == 422

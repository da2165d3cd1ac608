"""My account: changing it, taking it along, ending it."""

from typing import Any
from uuid import UUID

import pytest

from shop import key
from tradewind.platform.outbox import Outbox
from tradewind.users.contract import EmailChanged, UserErased, UserRegistered
from users.conftest import PASSWORD, Instance, NewInstance, mark

pytestmark = pytest.mark.asyncio


async def test_what_is_not_given_stays(users: Instance) -> None:
    """A change of one field changes one field; null empties a name; unknown fields are nothing."""
    account = await users.register(name="Ann Lee", username=f"fred-{mark()}")
    me = await users.sign_in(account["email"])
    username = f"Frida-{mark()}"
    answer = await me.patch("/v1/me", json={"username": username, "role": "admin"})
    assert answer.status_code == 200
    seen = (await me.get("/v1/me")).json()
    assert seen == answer.json()
    assert (seen["name"], seen["username"]) == ("Ann Lee", username)
    assert (seen["email"], seen["role"]) == (account["email"], "customer")
    assert (await me.patch("/v1/me", json={"name": None})).json()["name"] is None
    assert (await me.patch("/v1/me", json={})).json() == (await me.get("/v1/me")).json()


async def test_a_lost_race_is_412(users: Instance) -> None:
    """An edit of a version that is no longer current is refused, where the client names one."""
    me = await users.customer()
    etag = (await me.get("/v1/me")).headers["etag"]
    first = await me.patch("/v1/me", json={"name": "One"}, headers={"If-Match": etag})
    assert first.status_code == 200
    assert first.headers["etag"] == (await me.get("/v1/me")).headers["etag"] != etag
    second = await me.patch("/v1/me", json={"name": "Two"}, headers={"If-Match": etag})
    assert (second.status_code, second.json()["code"]) == (412, "precondition_failed")
    assert (await me.get("/v1/me")).json()["name"] == "One"


async def test_a_taken_name_cannot_be_taken_over(users: Instance) -> None:
    """409 for another's user name or address; nothing changes."""
    other = await users.register(username=f"gina-{mark()}")
    me = await users.customer(name="Ann")
    for change in (
        {"username": other["username"].upper(), "name": "Eve"},
        {"email": other["email"], "currentPassword": PASSWORD, "name": "Eve"},
    ):
        answer = await me.patch("/v1/me", json=change)
        assert (answer.status_code, answer.json()["code"]) == (409, "username_taken")
    assert (await me.get("/v1/me")).json()["name"] == "Ann"


async def test_a_new_address_needs_the_password(users: Instance) -> None:
    """422 without it, 403 with a wrong one, and nothing changes, not even the name beside it."""
    account = await users.register(name="Ann")
    me = await users.sign_in(account["email"])
    change: dict[str, Any] = {"email": "new-" + account["email"], "name": "Eve"}
    answer = await me.patch("/v1/me", json=change)
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == ["currentPassword"]
    answer = await me.patch("/v1/me", json={**change, "currentPassword": "a wrong one"})
    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_password")
    seen = (await me.get("/v1/me")).json()
    assert (seen["email"], seen["name"]) == (account["email"], "Ann")


async def test_a_new_address_is_verified_anew(users: Instance) -> None:
    """Both addresses are told; links sent to the old one are dead; the new link verifies."""
    account = await users.register()
    old_link = (await users.event(UserRegistered, account["id"])).verification_token
    client = users.client()
    me = await users.sign_in(account["email"])
    email = "New." + account["email"]
    answer = await me.patch("/v1/me", json={"email": email, "currentPassword": PASSWORD})
    assert (answer.status_code, answer.json()["email"]) == (200, email)
    event = await users.event(EmailChanged, account["id"])
    assert (event.old_email, event.email) == (account["email"], email)
    confirm = "/v1/email-verifications/confirm"
    assert (await client.post(confirm, json={"token": old_link})).status_code == 422
    answer = await client.post(confirm, json={"token": event.verification_token})
    assert answer.status_code == 204
    assert (await me.get("/v1/me")).json()["emailVerified"] is True
    assert (await users.sign_in(email.upper())) is not None


async def test_an_unverified_address_may_be_sent_another_link(users: Instance) -> None:
    """Giving the same address again sends a new link, and tells no old address."""
    account = await users.register()
    me = await users.sign_in(account["email"])
    body = {"email": account["email"], "currentPassword": PASSWORD}
    assert (await me.patch("/v1/me", json=body)).status_code == 200
    event = await users.event(EmailChanged, account["id"])
    assert event.old_email is None
    answer = await users.client().post(
        "/v1/email-verifications/confirm", json={"token": event.verification_token}
    )
    assert answer.status_code == 204


async def test_changing_the_password_ends_other_sessions(users: Instance) -> None:
    """The one who changes it stays; all others are out at once; the old password is dead."""
    account = await users.register()
    me, other = [await users.sign_in(account["email"]) for _ in range(2)]
    assert (await other.get("/v1/me")).status_code == 200
    body = {"currentPassword": PASSWORD, "newPassword": "a quite different passphrase"}
    answer = await me.post("/v1/me/password", json=body)
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await me.get("/v1/me")).status_code == 200
    assert (await other.get("/v1/me")).status_code == 401
    old = {"username": account["email"], "password": PASSWORD}
    assert (await users.client().post("/v1/login", json=old)).status_code == 401
    await users.sign_in(account["email"], "a quite different passphrase")


async def test_a_bad_new_password_changes_nothing(users: Instance) -> None:
    """422 for a common one, 403 where the current one is wrong."""
    account = await users.register()
    me = await users.sign_in(account["email"])
    common = {"currentPassword": PASSWORD, "newPassword": "password1"}
    answer = await me.post("/v1/me/password", json=common)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "newPassword"
    wrong = {"currentPassword": "wrong", "newPassword": "a quite different passphrase"}
    assert (await me.post("/v1/me/password", json=wrong)).status_code == 403
    await users.sign_in(account["email"])


async def test_a_repeated_change_is_answered_again(users: Instance) -> None:
    """A change whose answer was lost can be sent again with its key, though the password is new."""
    me, headers = await users.customer(), key()
    body = {"currentPassword": PASSWORD, "newPassword": "a quite different passphrase"}
    for replayed in (None, "true", "true"):
        answer = await me.post("/v1/me/password", json=body, headers=headers)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers.get("idempotent-replayed") == replayed


async def test_everything_held_about_me(users: Instance) -> None:
    """The export holds what users, orders and notifications have, and no secret."""
    account = await users.register(name="Ann Lee")
    me = await users.sign_in(account["email"])
    address = {"name": "A", "line1": "1", "city": "B", "postalCode": "1", "country": "DE"}
    await me.post("/v1/me/addresses", json=address)
    answer = await me.get("/v1/me/export")
    everything = answer.json()
    assert everything["profile"]["email"] == account["email"]
    assert everything["addresses"][0]["city"] == "B"
    assert len(everything["sessions"]) == 1
    assert everything["orders"] == [{"number": "A-1"}]
    assert everything["notifications"] == [{"kind": "welcome"}]
    assert everything["carts"] == everything["messages"] == []
    assert everything["preferences"] == {}
    assert "argon2" not in answer.text
    assert me.headers["authorization"].split()[1] not in answer.text


async def test_the_password_goes_by_either_name(users: Instance) -> None:
    """`password` and `currentPassword` are one, for a new address and for the end."""
    account = await users.register()
    me = await users.sign_in(account["email"])
    change = {"email": "new-" + account["email"], "password": "a wrong one"}
    assert (await me.patch("/v1/me", json=change)).status_code == 403
    assert (await me.patch("/v1/me", json={**change, "password": PASSWORD})).status_code == 200
    answer = await me.request("DELETE", "/v1/me", json={})
    assert [fault["field"] for fault in answer.json()["errors"]] == ["password"]
    ending = {"currentPassword": PASSWORD}
    assert (await me.request("DELETE", "/v1/me", json=ending)).status_code == 204


async def test_the_end_needs_the_password(users: Instance) -> None:
    """Without it nothing is erased."""
    me = await users.customer()
    assert (await me.request("DELETE", "/v1/me")).status_code == 400
    assert (await me.request("DELETE", "/v1/me", json={})).status_code == 422
    answer = await me.request("DELETE", "/v1/me", json={"password": "a wrong one"})
    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_password")
    assert (await me.get("/v1/me")).status_code == 200


async def test_nothing_of_the_erased_remains(new_instance: NewInstance) -> None:
    """After erasure no table holds the address, name, client address or id; the event tells others,
    every session is dead, and the name is free again (P19).
    """
    users = await new_instance()
    account = await users.register(name="Zebulon Quux", username=f"zebulon-{mark()}")
    me = await users.sign_in(account["email"], address="203.0.113.77")
    other = await users.sign_in(account["email"])
    address = {"name": "Z", "line1": "1", "city": "Quuxville", "postalCode": "1", "country": "DE"}
    await me.post("/v1/me/addresses", json=address, headers=key())
    await users.client("203.0.113.77").post("/v1/password-resets", json={"email": account["email"]})
    await users.client().post("/v1/login", json={"username": account["email"], "password": "wrong"})
    answer = await me.request("DELETE", "/v1/me", json={"password": PASSWORD})
    assert answer.status_code == 204
    assert (await me.get("/v1/me")).status_code == 401
    assert (await other.get("/v1/me")).status_code == 401
    event = await users.event(UserErased, account["id"])
    assert event.email == account["email"]
    subject = users.context.attempts.account_subject(UUID(account["id"]), "")
    traces = [account["email"], "Zebulon", "zebulon", "Quuxville", "203.0.113.77"]
    traces += [account["id"], subject.hex()]
    tables = await users.rows(
        """
        SELECT table_name FROM information_schema.tables
        WHERE table_schema = 'users' AND table_name <> 'outbox'
        """
    )
    for table in tables:
        rows = await users.rows(f"SELECT t::text AS text FROM {table['table_name']} AS t")
        found = [trace for row in rows for trace in traces if trace in row["text"]]
        assert not found, table["table_name"]
    body = {"email": account["email"], "username": account["username"], "password": PASSWORD}
    assert (await users.client().post("/v1/register", json=body)).status_code == 201


async def test_an_erasure_is_whole_or_not_at_all(
    users: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the event cannot be saved the account stays, session and all."""

    async def fail(*_: object) -> None:
        raise RuntimeError("no")

    me = await users.customer()
    with monkeypatch.context() as patched:
        patched.setattr(Outbox, "add", fail)
        answer = await me.request("DELETE", "/v1/me", json={"password": PASSWORD})
        assert answer.status_code == 500
    assert (await me.get("/v1/me")).status_code == 200

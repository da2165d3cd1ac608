"""Every way in which a session ends, where instances share what they looked up in a real Redis."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from servers import RedisServer, started_redis
from shop import SECRET
from tradewind.platform.clock import Clock
from tradewind.platform.errors import Unavailable
from tradewind.platform.redis.connection import RedisLimits
from tradewind.platform.redis.sessions import RedisAuthenticator, SessionRevoker
from tradewind.platform.sessions import SESSIONS_STATE_KEY
from tradewind.users.actions.passwords import send_resets
from tradewind.users.contract import PasswordResetRequested, UserRegistered
from users.conftest import PASSWORD, Instance, NewInstance

pytestmark = pytest.mark.asyncio
PATIENT = RedisLimits(call_seconds=10.0, connect_seconds=10.0)
FOR_EVER = 600.0
"""Far longer than a session may be believed, so that nothing but its revocation ends it here."""
NEW = "a quite different passphrase"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RedisServer]:
    """The Redis of all instances here."""
    async with started_redis(tmp_path_factory.mktemp("redis") / "redis") as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def pair(
    new_instance: NewInstance, redis: RedisServer
) -> AsyncGenerator[tuple[Instance, Instance]]:
    """Two instances that find sessions in Redis, and tell it of those that end."""
    links = [redis.link(PATIENT) for _ in range(2)]
    made: list[Instance] = []
    # One clock for both: an entry from the future, as clocks that differ see it, is not believed,
    # and two that were set while the machine was busy may differ.
    clock = Clock()
    for link in links:
        instance = await new_instance({"TRADEWIND_USERS_SESSION_CACHE_SECONDS": "0"})
        instance.context.live_sessions._tell = SessionRevoker(link).forget
        application: Any = instance.app._app
        application.state[SESSIONS_STATE_KEY]._authenticator = RedisAuthenticator(
            instance.running.contract, link, SECRET, clock, seconds=FOR_EVER
        )
        made.append(instance)
    yield made[0], made[1]
    for link in links:
        await link.close()


async def signed_in(pair: tuple[Instance, Instance], email: str) -> httpx.AsyncClient:
    """A session at the first instance that the second one has just found in Redis."""
    client = await pair[0].sign_in(email)
    assert (await client.get("/v1/me")).status_code == 200
    there = pair[1].client(Authorization=client.headers["authorization"])
    asked = pair[1].context.live_sessions._finding.members
    assert (await there.get("/v1/me")).status_code == 200
    assert pair[1].context.live_sessions._finding.members == asked
    return there


async def by_logout(one: Instance, account: dict[str, str], there: httpx.AsyncClient) -> None:
    """The customer leaves."""
    here = one.client(Authorization=there.headers["authorization"])
    assert (await here.post("/v1/logout")).status_code == 204


async def by_ending_others(one: Instance, account: dict[str, str], _: httpx.AsyncClient) -> None:
    """The customer ends all other sessions."""
    here = await one.sign_in(account["email"])
    assert (await here.delete("/v1/sessions")).status_code == 204


async def by_new_password(one: Instance, account: dict[str, str], _: httpx.AsyncClient) -> None:
    """The customer changes the password from elsewhere."""
    here = await one.sign_in(account["email"])
    body = {"currentPassword": PASSWORD, "newPassword": NEW}
    assert (await here.post("/v1/me/password", json=body)).status_code == 204


async def by_reset(one: Instance, account: dict[str, str], _: httpx.AsyncClient) -> None:
    """The customer forgot the password."""
    body = {"email": account["email"]}
    assert (await one.client().post("/v1/password-resets", json=body)).status_code == 202
    await send_resets(one.context)
    token = (await one.event(PasswordResetRequested, account["id"])).reset_token
    confirm = {"token": token, "newPassword": NEW}
    answer = await one.client().post("/v1/password-resets/confirm", json=confirm)
    assert answer.status_code == 204


async def by_disabling(one: Instance, account: dict[str, str], _: httpx.AsyncClient) -> None:
    """Staff disable the account."""
    admin = await one.staff()
    answer = await admin.patch(f"/v1/users/{account['id']}", json={"disabled": True})
    assert answer.status_code == 200


async def by_role(one: Instance, account: dict[str, str], _: httpx.AsyncClient) -> None:
    """An administrator changes the role."""
    admin = await one.staff()
    answer = await admin.patch(f"/v1/users/{account['id']}", json={"role": "staff"})
    assert answer.status_code == 200


async def by_erasure(one: Instance, account: dict[str, str], there: httpx.AsyncClient) -> None:
    """The customer ends the account."""
    here = one.client(Authorization=there.headers["authorization"])
    answer = await here.request("DELETE", "/v1/me", json={"password": PASSWORD})
    assert answer.status_code == 204


End = Callable[[Instance, dict[str, str], httpx.AsyncClient], Awaitable[None]]
ENDS: list[End] = [
    by_logout,
    by_ending_others,
    by_new_password,
    by_reset,
    by_disabling,
    by_role,
    by_erasure,
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_an_ended_session_is_refused_everywhere_at_once(
    pair: tuple[Instance, Instance], end: End
) -> None:
    """When the answer is given, the other instance no longer finds the session in Redis."""
    account = await pair[0].register()
    there = await signed_in(pair, account["email"])
    await end(pair[0], account, there)
    assert (await there.get("/v1/me")).status_code == 401


async def test_a_verified_address_is_seen_everywhere_at_once(
    pair: tuple[Instance, Instance],
) -> None:
    """What changes of a session that goes on is looked up anew, too."""
    account = await pair[0].register()
    there = await signed_in(pair, account["email"])
    token = (await pair[0].event(UserRegistered, account["id"])).verification_token
    confirm = "/v1/email-verifications/confirm"
    assert (await pair[0].client().post(confirm, json={"token": token})).status_code == 204
    asked = pair[1].context.live_sessions._finding.members
    assert (await there.get("/v1/me")).json()["emailVerified"] is True
    assert pair[1].context.live_sessions._finding.members == asked + 1


async def test_a_new_address_is_seen_everywhere_at_once(pair: tuple[Instance, Instance]) -> None:
    """It is not verified yet, and nobody takes it to be."""
    account = await pair[0].register()
    there = await signed_in(pair, account["email"])
    here = pair[0].client(Authorization=there.headers["authorization"])
    body = {"email": f"new-{account['email']}", "currentPassword": PASSWORD}
    assert (await here.patch("/v1/me", json=body)).status_code == 200
    asked = pair[1].context.live_sessions._finding.members
    assert (await there.get("/v1/me")).status_code == 200
    assert pair[1].context.live_sessions._finding.members == asked + 1


async def test_told_also_where_nobody_knows_whether_it_was_saved(
    pair: tuple[Instance, Instance],
) -> None:
    """A commit whose answer was lost may have ended the session: the record is to be asked."""
    live, told = pair[0].context.live_sessions, list[bytes]()

    async def tell(token_hashes: list[bytes]) -> None:
        told.extend(token_hashes)

    live._tell = tell
    with pytest.raises(Unavailable):
        async with live.ending() as ending, pair[0].database.transaction() as tx:
            await ending.forget(tx, [b"a hash"])
            raise Unavailable("the connection broke")
    assert told == [b"a hash"]

"""Sessions: where they live, and how quickly they die."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from tradewind.platform.principals import Principal
from tradewind.users.actions.live_sessions import SessionCache
from tradewind.users.actions.tidying import tidy_up
from users.conftest import PASSWORD, Instance, NewInstance

pytestmark = pytest.mark.asyncio
LONG_CACHE = {"TRADEWIND_USERS_SESSION_CACHE_SECONDS": "1"}


def _elsewhere(instance: Instance, client: httpx.AsyncClient) -> httpx.AsyncClient:
    """The same session at another instance."""
    return instance.client(Authorization=client.headers["authorization"])


async def _dead(client: httpx.AsyncClient) -> None:
    """Returns once the session is refused; the test that waits decides what may take how long."""
    while (await client.get("/v1/me")).status_code != 401:
        await asyncio.sleep(0.01)


async def test_logout_kills_at_once(users: Instance) -> None:
    """After the answer the token is dead, also where it was believed a moment ago."""
    customer = await users.customer()
    assert (await customer.get("/v1/me")).status_code == 200
    answer = await customer.post("/v1/logout")
    assert answer.status_code == 204
    assert answer.content == b""
    assert all("Max-Age=0" in value for value in answer.headers.get_list("set-cookie"))
    assert (await customer.get("/v1/me")).status_code == 401
    assert (await customer.post("/v1/logout")).status_code == 401


async def test_logout_is_heard_elsewhere(new_instance: NewInstance) -> None:
    """Another process that believes in the session is told, and asks again at once."""
    one, two = await new_instance(LONG_CACHE), await new_instance(LONG_CACHE)
    await two.work()
    customer = await one.customer()
    there = _elsewhere(two, customer)
    assert (await there.get("/v1/me")).status_code == 200
    # From here on the other one believes for ever what it knows, unless it is told.
    two.context.live_sessions._cache._clock = lambda: 0.0
    await there.get("/v1/me")
    two.context.live_sessions._cache._clock = lambda: 0.5
    await customer.post("/v1/logout")
    async with asyncio.timeout(30):
        await _dead(there)


async def test_logout_is_seen_elsewhere_without_a_word(new_instance: NewInstance) -> None:
    """Where the word is lost (nobody listens), the other process asks again within the second."""
    one, two = await new_instance(LONG_CACHE), await new_instance(LONG_CACHE)
    customer = await one.customer()
    there = _elsewhere(two, customer)
    assert (await there.get("/v1/me")).status_code == 200
    await customer.post("/v1/logout")
    now = two.context.live_sessions._cache.now()
    two.context.live_sessions._cache._clock = lambda: now + 1.0
    assert (await there.get("/v1/me")).status_code == 401


async def test_a_session_is_kept_for_less_than_a_second(users: Instance) -> None:
    """What is believed without asking is at most a second old by default."""
    assert users.context.settings.session_cache_seconds < 1


async def test_my_devices(users: Instance) -> None:
    """Newest first, the current one marked; one can be ended, then all others."""
    account = await users.register()
    phone, laptop, kiosk = [await users.sign_in(account["email"]) for _ in range(3)]
    listed = (await laptop.get("/v1/sessions")).json()["items"]
    assert [one["current"] for one in listed] == [False, True, False]
    assert all(one["userAgent"].startswith("python-httpx") for one in listed)
    assert all(one["address"].startswith("10.") for one in listed)
    assert (await laptop.delete(f"/v1/sessions/{listed[0]['id']}")).status_code == 204
    assert (await kiosk.get("/v1/me")).status_code == 401
    assert (await laptop.delete("/v1/sessions")).status_code == 204
    assert (await phone.get("/v1/me")).status_code == 401
    assert (await laptop.get("/v1/me")).status_code == 200
    assert len((await laptop.get("/v1/sessions")).json()["items"]) == 1


async def test_devices_come_in_pages(users: Instance) -> None:
    """Pages follow each other without gap or repeat."""
    account = await users.register()
    clients = [await users.sign_in(account["email"]) for _ in range(5)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await clients[0].get("/v1/sessions", params={"limit": 2, **cursor})).json()
        seen += [one["id"] for one in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert len(seen) == len(set(seen)) == 5
    assert seen == sorted(seen, reverse=True)


async def test_anothers_session_is_not_there(users: Instance) -> None:
    """Another's session id is 404 and the session lives on; so is one that never was."""
    victim, thief = await users.customer(), await users.customer()
    id_ = (await victim.get("/v1/sessions")).json()["items"][0]["id"]
    for target in (id_, str(uuid4())):
        answer = await thief.delete(f"/v1/sessions/{target}")
        assert (answer.status_code, answer.json()["code"]) == (404, "session_not_found")
    assert (await victim.get("/v1/me")).status_code == 200


async def test_a_session_has_an_end(users: Instance) -> None:
    """After its time a session is refused, though it was in use all along, and is removed."""
    customer = await users.customer()
    me = (await customer.get("/v1/me")).json()
    listed = (await customer.get("/v1/sessions")).json()["items"][0]
    assert listed["expiresAt"] > listed["createdAt"]
    async with users.database.transaction() as tx:
        await tx.execute(
            "UPDATE sessions SET expires_at = now() WHERE user_id = $1", UUID(me["id"])
        )
    users.context.live_sessions._cache.clear()
    assert (await customer.get("/v1/me")).status_code == 401
    await tidy_up(users.context)
    assert not await users.rows("SELECT FROM sessions WHERE user_id = $1", UUID(me["id"]))


async def test_last_seen_is_noted_beside(users: Instance) -> None:
    """Use is noted once a minute at most, by a worker, not by the request."""
    customer = await users.customer()
    me = (await customer.get("/v1/me")).json()
    live = users.context.live_sessions
    await live.save_seen()
    assert not live._seen
    async with users.database.transaction() as tx:
        await tx.execute(
            "UPDATE sessions SET last_seen_at = now() - $2::interval WHERE user_id = $1",
            UUID(me["id"]),
            timedelta(hours=1),
        )
    live._cache.clear()
    await customer.get("/v1/me")
    await live.save_seen()
    rows = await users.rows(
        "SELECT now() - last_seen_at AS ago FROM sessions WHERE user_id = $1", UUID(me["id"])
    )
    assert rows[0]["ago"] < timedelta(minutes=5)


async def test_many_lookups_are_few_queries(users: Instance) -> None:
    """A hundred different tokens at once are looked up together."""
    finding = users.context.live_sessions._finding
    before = finding.batches
    contract = users.running.contract
    found = await asyncio.gather(*(contract.authenticate(f"token-{n}") for n in range(100)))
    assert found == [None] * 100
    assert finding.batches - before < 10


async def test_what_was_overtaken_is_not_kept() -> None:
    """A lookup that read the session before its end, and comes back after it, is not believed."""
    cache = SessionCache(seconds=10, most=10)
    principal = Principal(uuid4(), "customer", uuid4())
    generation = cache.generation
    cache.drop([b"another session"])
    cache.keep(b"token", principal, generation, cache.now())
    assert cache.get(b"token") is None
    cache.keep(b"token", principal, cache.generation, cache.now())
    assert cache.get(b"token") is principal
    cache.clear()
    assert cache.get(b"token") is None


async def test_the_cache_is_bounded_in_number_and_time() -> None:
    """The oldest goes when it is full; what is too old is not given."""
    now = [0.0]
    cache = SessionCache(seconds=1, most=3, clock=lambda: now[0])
    principal = Principal(uuid4(), "customer", uuid4())
    for n in range(5):
        cache.keep(b"%d" % n, principal, cache.generation, now[0])
    assert [cache.get(b"%d" % n) is not None for n in range(5)] == [False, False, True, True, True]
    now[0] = 1.0
    assert cache.get(b"4") is None


async def test_the_cookie_needs_proof_to_change_anything(users: Instance) -> None:
    """A change that rides on the cookie needs the csrf value and our Origin; a read does not."""
    account = await users.register()
    browser = users.client()
    await browser.post("/v1/login", json={"username": account["email"], "password": PASSWORD})
    assert (await browser.get("/v1/me")).status_code == 200
    bare = await browser.patch("/v1/me", json={"name": "Eve"})
    assert (bare.status_code, bare.json()["code"]) == (403, "csrf_failed")
    proof = {"X-CSRF-Token": browser.cookies["csrf"], "Origin": "http://shop.test"}
    foreign = await browser.patch(
        "/v1/me", json={"name": "Eve"}, headers={**proof, "Origin": "http://evil.test"}
    )
    assert foreign.status_code == 403
    assert (await browser.patch("/v1/me", json={"name": "Ann"}, headers=proof)).status_code == 200
    assert (await browser.post("/v1/logout", headers=proof)).status_code == 204
    assert (await browser.get("/v1/me")).status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/me"),
        ("PATCH", "/v1/me"),
        ("DELETE", "/v1/me"),
        ("GET", "/v1/me/export"),
        ("POST", "/v1/me/password"),
        ("POST", "/v1/logout"),
        ("GET", "/v1/sessions"),
        ("DELETE", "/v1/sessions"),
        ("DELETE", f"/v1/sessions/{uuid4()}"),
        ("GET", "/v1/me/addresses"),
        ("POST", "/v1/me/addresses"),
        ("PATCH", f"/v1/me/addresses/{uuid4()}"),
        ("DELETE", f"/v1/me/addresses/{uuid4()}"),
        ("GET", "/v1/users"),
        ("GET", f"/v1/users/{uuid4()}"),
        ("PATCH", f"/v1/users/{uuid4()}"),
    ],
)
async def test_nothing_personal_without_a_session(users: Instance, method: str, path: str) -> None:
    """Without a session, or with a dead one, every personal route is 401."""
    for client in (users.client(), users.client(Authorization="Bearer nobody's")):
        answer = await client.request(method, path, json={})
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"

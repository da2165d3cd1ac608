"""What a split store promises beyond one process, each looked at where it could break.

On real servers behind HAProxy: restarts that nobody notices (P14), ends of sessions that count at
once whatever Redis does (P9), a broker that is away for longer than stock is held, a database that
takes no instance out (P13), a replica that nobody has to know of (P10).
"""

import asyncio
import signal
import time
from collections import Counter as Count
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio

from faults.ends import ON_HAND, assert_one_end_each, new_goods
from faults.onlookers import Onlookers
from faults.running import PATIENCE_SECONDS, Crowd
from faults.splitting import FIRST_STAFF, PRIMARY, REPLICA, RunningSplit
from shop import ADDRESS, Front, eventually, key, purchase
from tradewind.topology.services import SERVICES

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningSplit]:
    """A split store for all tests here."""
    store = RunningSplit(tmp_path_factory.mktemp("promises"))
    await store.start()
    yield store
    await store.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def front(running: RunningSplit) -> AsyncGenerator[Front]:
    """The same as it is seen from outside."""
    made = Front(running.base, (FIRST_STAFF, running.password))
    yield made
    await made.end()


@asynccontextmanager
async def stopped(running: RunningSplit, *parts: str) -> AsyncGenerator[None]:
    """These parts hang meanwhile."""
    pids: set[int] = set()
    for part in parts:
        pids |= running.send(part, signal.SIGSTOP)
    try:
        yield
    finally:
        running.send_all(pids, signal.SIGCONT)


async def test_a_rolling_restart_fails_no_request(running: RunningSplit) -> None:
    """Every instance of every service is ended and started again under load: nobody notices."""
    goods = await new_goods(running, 3)
    crowd, onlookers = Crowd(running, goods[:2]), Onlookers(running.base, goods[2])
    buying = asyncio.create_task(crowd.buy(4))
    looking = asyncio.create_task(onlookers.look(2, 2))
    await crowd.until(20)
    for service in SERVICES:
        for number in (1, 2):
            part = f"{service} {number}"
            restarts = running.restarts(part)
            pids = running.send(part, signal.SIGTERM)
            await running.is_back(part, restarts)
            assert f"{part} ended with 0; starting it again" in running.said, "in order, by itself"
            assert not pids & running.pids(part)
            await running.is_balanced()
            await crowd.until(crowd.acknowledged + 10)
    crowd.end()
    onlookers.end()
    await asyncio.gather(buying, looking)
    heard: Count[str] = sum((wish.heard for wish in crowd.wishes), Count[str]())
    assert not heard, heard
    assert not onlookers.browsing.failed, onlookers.browsing
    assert not onlookers.reading.failed, onlookers.reading
    assert not onlookers.wrong, onlookers.wrong[:5]
    await assert_one_end_each(running, crowd)


async def test_only_what_was_in_flight_fails(running: RunningSplit) -> None:
    """An instance that is killed takes along what it was working on, and each has one end."""
    customers = 6
    crowd = Crowd(running, await new_goods(running, 2), frozenset({502, 504}))
    buying = asyncio.create_task(crowd.buy(customers))
    for part in ("orders 1", "orders 2", "products 1"):
        await crowd.until(crowd.acknowledged + 20)
        before = sum(sum(wish.heard.values()) for wish in crowd.wishes)
        restarts = running.restarts(part)
        running.send(part, signal.SIGKILL)
        await running.is_back(part, restarts)
        await running.is_balanced()
        await crowd.until(crowd.acknowledged + 20)
        failed = sum(sum(wish.heard.values()) for wish in crowd.wishes) - before
        assert failed <= customers, f"{part}: {failed} requests failed"
    crowd.end()
    await buying
    await assert_one_end_each(running, crowd)


@pytest.mark.parametrize("away", [(), ("redis sessions",), ("redis sessions", "redis cache")])
async def test_a_session_that_ended_is_over_everywhere(
    running: RunningSplit, front: Front, away: tuple[str, ...]
) -> None:
    """The next request is refused on every service and instance, also while Redis hangs (P9)."""
    pages = ("/v1/me", "/v1/orders", "/v1/notifications", "/v1/sessions")
    for _ in range(3):
        customer = await front.customer()
        async with stopped(running, *away):
            for path in pages * 2:  # whoever keeps what it was told has it by now
                assert (await customer.get(path)).status_code == 200, path
            assert (await customer.post("/v1/logout")).status_code == 204
            refused = await asyncio.gather(*(customer.get(path) for path in pages * 4))
            assert {one.status_code for one in refused} == {401}, [one.url for one in refused]


async def test_a_session_that_redis_still_knows_is_over(
    running: RunningSplit, front: Front
) -> None:
    """Redis comes back with what it had before the session ended: it is believed by nobody."""
    customer = await front.customer()
    assert (await customer.get("/v1/orders")).status_code == 200
    async with stopped(running, "redis sessions"):
        assert (await customer.post("/v1/logout")).status_code == 204
    for path in ("/v1/orders", "/v1/me") * 4:
        assert (await customer.get(path)).status_code == 401


async def test_a_changed_role_counts_at_once(front: Front) -> None:
    """Whoever was staff a moment ago is none on any service."""
    admin, password = await front.staff(), "correct horse battery staple"
    email = f"{key()['Idempotency-Key']}@example.com"
    body = {"email": email, "password": password}
    made = (await front.client().post("/v1/register", json=body)).json()["userId"]
    for_staff = ("/v1/orders?all=true", "/v1/messages", "/v1/users")
    for role, allowed in (("staff", {200}), ("customer", {401, 403})):
        somebody = await front.sign_in(email, password)
        changed = await admin.patch(f"/v1/users/{made}", json={"role": role})
        assert changed.status_code == 200, changed.text
        if role == "staff":
            somebody = await front.sign_in(email, password)
        asked = [await somebody.get(path) for path in for_staff * 3]
        assert {one.status_code for one in asked} <= allowed, role


async def run_out(running: RunningSplit, sku: str) -> None:
    """The time of all that is held of a SKU is over, and whoever gives back has looked at it."""
    await running.rows(
        "UPDATE products.reservations SET expires_at = now() WHERE state = 'held' AND lines ? $1",
        sku,
    )

    async def looked_at() -> bool:
        [[over]] = await running.rows(
            "SELECT count(*) FROM products.reservations WHERE lines ? $1 AND expires_at <= now()",
            sku,
        )
        return not over

    await eventually(looked_at, PATIENCE_SECONDS)


async def test_a_broker_that_is_away_for_long(running: RunningSplit, front: Front) -> None:
    """The store sells on; what it sold stays sold, though nobody hears of it before it runs out."""
    units = 5
    product = await front.product(on_hand=units)
    lines = [{"sku": product["sku"], "quantity": 1}]
    guest = front.client()
    async with stopped(running, "rabbitmq"):
        orders = [
            await guest.post("/v1/checkout", json=purchase(lines=lines), headers=key())
            for _ in range(units)
        ]
        assert [one.status_code for one in orders] == [201] * units
        for _ in range(3):
            await run_out(running, product["sku"])
            refused = await guest.post("/v1/checkout", json=purchase(lines=lines), headers=key())
            assert refused.status_code == 409, refused.text
    code, said = await running.command("events", "drained")
    assert code == 0, said
    for one in orders:
        headers = {"Order-Token": one.json()["token"]}
        seen = (await guest.get(f"/v1/orders/{one.json()['id']}", headers=headers)).json()
        assert (seen["status"], seen["paymentStatus"]) == ("placed", "paid")
    level = await front.level(product["sku"])
    assert (level["onHand"], level["reserved"]) == (0, 0)
    code, said = await running.check()
    assert code == 0, said


async def test_what_came_late_comes_in_order(running: RunningSplit, front: Front) -> None:
    """One order's mails keep its order, however long they waited for the broker."""
    product, staff, guest = await front.product(), await front.staff(), front.client()
    lines = [{"sku": product["sku"], "quantity": 2}]
    async with stopped(running, "rabbitmq"):
        order = (await guest.post("/v1/checkout", json=purchase(lines=lines), headers=key())).json()
        path = f"/v1/orders/{order['id']}"
        shipped = await staff.post(f"{path}/fulfillments", json={}, headers=key())
        assert shipped.status_code == 201, shipped.text
        parcel = shipped.json()["fulfillments"][0]["id"]
        arrived = await staff.post(f"{path}/fulfillments/{parcel}/delivered", headers=key())
        assert arrived.status_code == 200, arrived.text
    code, said = await running.command("events", "drained")
    assert code == 0, said
    mails = await running.rows(
        "SELECT kind FROM notifications.messages WHERE order_id = $1 ORDER BY id", order["id"]
    )
    assert [row[0] for row in mails] == ["order_confirmed", "order_shipped", "order_delivered"]


async def test_a_dependency_takes_no_instance_out(running: RunningSplit, front: Front) -> None:
    """While the database hangs, all instances stay with the balancer and answer for themselves."""
    guest, product = front.client(), await front.product(on_hand=ON_HAND)
    lines = [{"sku": product["sku"], "quantity": 1}]
    async with stopped(running, PRIMARY):
        # Longer than the balancer takes to give an instance up.
        until = time.monotonic() + 5
        while time.monotonic() < until:
            assert (await guest.get("/readyz")).status_code == 200
            assert (await guest.get("/v1/products?limit=5")).status_code == 200
            await asyncio.sleep(0.1)
        wish = asyncio.create_task(
            guest.post("/v1/checkout", json=purchase(lines=lines), headers=key())
        )
        await asyncio.wait([wish], timeout=2)
    told = await wish
    assert told.status_code in (201, 503), told.text
    staff, path = await front.staff(), f"/v1/products/{product['id']}"

    async def all_write_again() -> bool:
        changed = (staff.patch(path, json={"title": "Kettle"}) for _ in range(8))
        bought = (
            guest.post("/v1/checkout", json=purchase(lines=lines), headers=key()) for _ in range(8)
        )
        answers = await asyncio.gather(*changed, *bought)
        return {one.status_code for one in answers} == {200, 201}

    await eventually(all_write_again, PATIENCE_SECONDS)


async def test_reading_what_one_wrote(running: RunningSplit, front: Front) -> None:
    """Every write is seen by the next read, with and without a token, while the replica hangs."""
    staff, product = await front.staff(), await front.product()
    path = f"/v1/products/{product['id']}"

    async def write_and_read(number: int) -> None:
        title = f"Kettle {number}"
        written = await staff.patch(path, json={"title": title})
        assert written.status_code == 200, written.text
        token = written.headers["Consistency-Token"]
        assert int(token, 16) > 0
        for headers in ({}, {"Consistency-Token": token}):
            assert (await staff.get(path, headers=headers)).json()["title"] == title
        seen = await front.client().get(path, headers={"Consistency-Token": token})
        assert seen.json()["title"] == title

    for number in range(20):
        await write_and_read(number)
    async with stopped(running, REPLICA):
        for number in range(20, 30):
            await write_and_read(number)
    for number in range(30, 50):
        await write_and_read(number)


async def test_what_is_charged_comes_from_the_database(running: RunningSplit, front: Front) -> None:
    """With both Redis away a purchase costs what the record says, and is found again by its key."""
    staff, product = await front.staff(), await front.product(amount=1000)
    guest = front.client()
    body = purchase(lines=[{"sku": product["sku"], "quantity": 3}])
    async with stopped(running, "redis sessions", "redis cache"):
        price = {"amount": 1500, "currency": "EUR"}
        changed = await staff.patch(f"/v1/products/{product['id']}", json={"price": price})
        assert changed.status_code == 200, changed.text
        same = key()
        first = await guest.post("/v1/checkout", json=body, headers=same)
        again = await guest.post("/v1/checkout", json=body, headers=same)
    assert first.json()["total"] == {"amount": 4500, "currency": "EUR"}
    assert (again.status_code, again.content) == (first.status_code, first.content)


async def test_carts_of_one_customer_on_all_instances(front: Front) -> None:
    """Whichever instance is asked, a cart is the one that the last one left."""
    customer, products = await front.customer(), [await front.product() for _ in range(3)]
    cart = (await customer.post("/v1/carts", json={})).json()
    path = f"/v1/carts/{cart['id']}"
    for number, product in enumerate(products, 1):
        put = await customer.put(f"{path}/lines/{product['sku']}", json={"quantity": number})
        assert put.status_code == 200, put.text
        seen: list[dict[str, Any]] = [(await customer.get(path)).json() for _ in range(4)]
        assert {len(one["lines"]) for one in seen} == {number}
    bought = await customer.post(
        f"{path}/checkout",
        json={
            "email": "a@example.com",
            "shippingAddress": ADDRESS,
            "payment": {"token": "tok_approved"},
        },
        headers=key(),
    )
    assert bought.status_code == 201, bought.text
    listed = [(await customer.get("/v1/orders")).json()["items"][0]["id"] for _ in range(4)]
    assert set(listed) == {bought.json()["id"]}


async def test_internal_paths_are_nowhere(running: RunningSplit) -> None:
    """Neither calls nor figures are to be had where customers come in."""
    async with httpx.AsyncClient() as client:
        for path in ("/metrics", "/internal/users/principals", "//metrics", "/%6detrics"):
            told = await client.get(running.base + path)
            assert told.status_code in (400, 404), (path, told.status_code)
            posted = await client.post(running.base + path, json=[[["x"]]])
            assert posted.status_code in (400, 404), (path, posted.status_code)

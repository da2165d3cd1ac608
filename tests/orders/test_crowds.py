"""Many at once: as many are served as there is, each once, in whichever process (P2, P3)."""

import asyncio
import random
from collections import Counter as Count
from collections.abc import Iterable
from uuid import uuid4

import pytest

from orders.conftest import Open
from orders.parts import Answer, Counter
from shop import PATIENCE_SECONDS
from tradewind.platform.database import Transaction
from tradewind.products.contract import Reserve, Wanted
from tradewind.products.store import stock
from tradewind.products.store.stock import Level

pytestmark = pytest.mark.asyncio


async def settled(counters: list[Counter]) -> None:
    """Everything has happened, and holds."""
    await counters[0].store.settle()
    assert await counters[0].broken() == []


async def orders_of(counter: Counter) -> int:
    """How many orders there are."""
    return (await counter.store.quietly("orders", "SELECT count(*) FROM orders"))[0][0]


@pytest.mark.parametrize("processes", [1, 2])
async def test_fifty_buyers_for_ten_units(counters: Open, processes: int) -> None:
    """Ten get one each, forty are told what is left, in one process and in two."""
    shops = await counters(processes)
    sku = await shops[0].product(10)
    answers = await asyncio.gather(*(shops[n % processes].buy(sku) for n in range(50)))
    assert Count(one.status for one in answers) == {201: 10, 409: 40}
    for one in answers:
        if one.status == 409:
            assert one["code"] == "out_of_stock"
            assert one["lines"] == [{"sku": sku, "requested": 1, "available": 0}]
    await settled(shops)
    assert await shops[0].level(sku) == (0, 0)
    assert await orders_of(shops[0]) == 10


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("token", "status", "left"), [("tok_approved", 201, 49), ("tok_declined", 402, 50)]
)
async def test_the_same_key_thirty_times_at_once(
    counters: Open, processes: int, token: str, status: int, left: int
) -> None:
    """One of them is carried out; the others hear its answer, or that it is being worked on."""
    shops = await counters(processes)
    sku, key, email = await shops[0].product(50), uuid4().hex, "ann@example.com"

    async def once(n: int) -> Answer:
        return await shops[n % processes].buy(sku, token, key, email=email)

    answers = await asyncio.gather(*(once(n) for n in range(30)))
    answers += await asyncio.gather(*(once(n) for n in range(30)))
    assert {one.status for one in answers} <= {status, 409}
    for one in answers:
        assert one.status == status or one["code"] == "idempotency_key_in_progress", one
    assert len({one.raw for one in answers if one.status == status}) == 1
    for shop in shops:
        await shop.store.drain()
    assert await shops[0].level(sku) == (left, 0), "nothing stays reserved until it expires"
    await settled(shops)
    assert await orders_of(shops[0]) == (1 if status == 201 else 0)
    book = await shops[0].store.quietly("orders", "SELECT verdict FROM test_provider_charges")
    assert len(book) == 1


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_refusal_is_one_answer_too(counters: Open, processes: int) -> None:
    """Thirty times too much, with one key: every byte of the refusals is the same."""
    shops = await counters(processes)
    sku, key = await shops[0].product(1), uuid4().hex

    async def once(n: int) -> Answer:
        return await shops[n % processes].buy({sku: 2}, key=key, email="ann@example.com")

    answers = await asyncio.gather(*(once(n) for n in range(30)))
    answers.append(await once(0))
    refusals = {one.raw for one in answers if one["code"] == "out_of_stock"}
    assert len(refusals) == 1
    assert all(one["code"] in ("out_of_stock", "idempotency_key_in_progress") for one in answers)
    await shops[0].product(5)
    assert (await once(1)).raw in refusals, "and it stays, whatever comes in later"
    await settled(shops)


@pytest.mark.parametrize("processes", [1, 2])
async def test_one_cart_bought_ten_times_at_once(counters: Open, processes: int) -> None:
    """Ten keys, one cart: one order, and one payment that stands."""
    shops = await counters(processes)
    sku = await shops[0].product(50)
    cart = await shops[0].cart({sku: 2})
    answers = await asyncio.gather(*(shops[n % processes].buy_cart(cart) for n in range(10)))
    assert Count(one.status for one in answers) == {201: 1, 409: 9}
    assert {one["code"] for one in answers if one.status == 409} == {"cart_checked_out"}
    for shop in shops:
        await shop.store.drain()
    assert await shops[0].level(sku) == (48, 0), "the nine others hold nothing"
    await settled(shops)
    assert await orders_of(shops[0]) == 1
    [order] = [one for one in answers if one.status == 201]
    assert await shops[0].kept(order["id"]) == 2000


async def test_a_cart_that_is_edited_while_it_is_paid(counters: Open) -> None:
    """What is bought is what the cart held at one version; an edit comes before or not at all."""
    shops = await counters(2)
    sku, other = await shops[0].product(100), await shops[0].product(100, 7)
    for _ in range(8):
        cart = await shops[0].cart({sku: 1})
        token = {"cart-token": cart["token"]}
        edit = shops[1].ask(
            "PUT", f"/v1/carts/{cart['id']}/lines/{other}", {"quantity": 3}, **token
        )
        bought, edited = await asyncio.gather(shops[0].buy_cart(cart), edit)
        if edited.status == 409:
            assert edited["code"] == "cart_checked_out"
        else:
            assert edited.status == 200, edited
        if bought.status == 201:
            # Either the cart before the edit, and then there was none, or the one after it.
            assert bought["total"]["amount"] == (1000 if edited.status == 409 else 1021)
        else:
            assert (bought.status, bought["code"]) == (409, "cart_checked_out"), bought
            again = await shops[0].buy_cart(cart)
            assert (again.status, again["total"]["amount"]) == (201, 1021)
    await settled(shops)


async def test_baskets_in_opposing_orders(counters: Open) -> None:
    """Many SKUs at once in any order, from two processes: nobody deadlocks, all is counted."""
    shops = await counters(2)
    skus = [await shops[0].product(1000) for _ in range(6)]
    draw = random.Random(7)
    baskets: list[dict[str, int]] = []
    for _ in range(60):
        some = draw.sample(skus, draw.randint(2, 6))
        baskets.append({sku: draw.randint(1, 3) for sku in some})

    async def cancelled(n: int, basket: dict[str, int]) -> int:
        bought = await shops[n % 2].buy(basket)
        assert bought.status == 201, bought
        if n % 3:
            return 1
        # While others still buy, what was bought goes back.
        await shops[n % 2].store.relay()
        gone = await shops[1 - n % 2].to_order(bought["id"], "cancel")
        assert gone.status == 200, gone
        return 0

    stands = await asyncio.gather(*(cancelled(n, basket) for n, basket in enumerate(baskets)))
    await asyncio.gather(*(shop.store.drain() for shop in shops))
    await settled(shops)
    for sku in skus:
        sold = sum(stands[n] * basket.get(sku, 0) for n, basket in enumerate(baskets))
        assert await shops[0].level(sku) == (1000 - sold, 0)


async def test_an_order_keeps_its_stock_however_late_it_is_told(counters: Open) -> None:
    """Its reservation ran out before anybody heard of it: expiry asks orders and holds it on."""
    [shop] = await counters(1)
    sku = await shop.product(2)
    order = await shop.buy(sku)
    assert order.status == 201, order
    for _ in range(2):
        await shop.store.quietly(
            "products", "UPDATE reservations SET expires_at = now() WHERE state = 'held'"
        )
        await shop.store.step("expiry")
        assert await shop.level(sku) == (2, 1)
    while await shop.store.relay():
        pass
    assert await shop.level(sku) == (1, 0)
    assert (await shop.order(order["id"]))["status"] == "placed"
    assert await shop.broken() == []


async def test_an_expired_reservation_returns_once(
    counters: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes look for what ran out at one moment, and each unit comes back exactly once."""
    first, second = await counters(2)
    sku = await first.product(200)
    products = first.store.context("orders").products
    await products.reserve([Reserve(uuid4(), (Wanted(sku, 2),)) for _ in range(40)])
    await first.store.let_an_hour_pass()
    # Held on: what came back twice would be taken from these.
    await products.reserve([Reserve(uuid4(), (Wanted(sku, 100),))])
    assert await first.level(sku) == (200, 180)
    lock_levels, chosen, may_go_on = stock.lock_levels, asyncio.Event(), asyncio.Event()

    async def held_up(tx: Transaction, skus: Iterable[str]) -> dict[str, Level]:
        """Whoever comes first has chosen what to give back, and waits."""
        if not chosen.is_set():
            chosen.set()
            await may_go_on.wait()
        return await lock_levels(tx, skus)

    monkeypatch.setattr(stock, "lock_levels", held_up)
    giving_back = asyncio.create_task(first.store.step("expiry"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await chosen.wait()
    await second.store.step("expiry")
    may_go_on.set()
    await giving_back
    assert await first.level(sku) == (200, 100)
    await settled([first, second])


@pytest.mark.parametrize("processes", [1, 2])
async def test_refunds_at_once_never_exceed_what_was_captured(
    counters: Open, processes: int
) -> None:
    """Thirty refunds of a tenth each: ten are granted, to the cent; the bank gives back as much."""
    shops = await counters(processes)
    order = await shops[0].ordered(await shops[0].product(5, 1000))
    body = {"amount": 100, "reason": "late"}
    answers = await asyncio.gather(
        *(shops[n % processes].to_order(order["id"], "refunds", body) for n in range(30))
    )
    assert Count(one.status for one in answers) == {201: 10, 409: 20}
    assert {one["code"] for one in answers if one.status == 409} == {"refund_too_large"}
    await settled(shops)
    seen = await shops[0].order(order["id"])
    assert seen["payment"]["refunded"]["amount"] == 1000
    assert seen["paymentStatus"] == "refunded"
    assert await shops[0].kept(order["id"]) == 0


async def test_one_refund_s_key_thirty_times_at_once(counters: Open) -> None:
    """One refund, and for all the same answer."""
    shops = await counters(2)
    order = await shops[0].ordered(await shops[0].product(5, 1000))
    key, body = uuid4().hex, {"amount": 100, "reason": "late"}

    async def once(n: int) -> Answer:
        return await shops[n % 2].to_order(order["id"], "refunds", body, key)

    answers = await asyncio.gather(*(once(n) for n in range(30)))
    done = [one for one in answers if one.status == 201]
    assert len({one.raw for one in done}) == 1
    assert all(one["code"] == "idempotency_key_in_progress" for one in answers if one not in done)
    await settled(shops)
    assert await shops[0].kept(order["id"]) == 900


async def test_cancel_refund_and_ship_at_once(counters: Open) -> None:
    """Whoever comes first decides; the order ends in a proper state, with its money right."""
    shops = await counters(2)
    sku = await shops[0].product(100, 1000)
    for _ in range(6):
        order = await shops[0].ordered({sku: 2})
        cancel, refund, ship = await asyncio.gather(
            shops[0].to_order(order["id"], "cancel"),
            shops[1].to_order(order["id"], "refunds", {"reason": "late"}),
            shops[0].to_order(order["id"], "fulfillments"),
        )
        assert {cancel.status, refund.status, ship.status} <= {200, 201, 409}
        assert not (cancel.status == 200 and ship.status == 201)
        await shops[0].store.settle()
        seen = await shops[0].order(order["id"])
        gone_back = cancel.status == 200 or refund.status == 201
        assert await shops[0].kept(order["id"]) == (0 if gone_back else 2000)
        assert seen["status"] == ("cancelled" if cancel.status == 200 else "placed")
    await settled(shops)

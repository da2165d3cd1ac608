"""Single steps of a purchase in the order in which they hurt: what a crowd meets only by chance."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from orders.conftest import Open
from orders.parts import Counter
from shop import ADDRESS
from tradewind.orders.actions import checkout as checkout_actions
from tradewind.orders.actions.checkout import Checkouts, Purchase
from tradewind.orders.actions.placing import Finish
from tradewind.orders.model.payment import Charge, Charged, ProviderDown
from tradewind.orders.store import checkouts as checkout_store
from tradewind.platform.idempotency import Key, KeyInProgress, Replay, fingerprint
from tradewind.products.contract import Wanted

pytestmark = pytest.mark.asyncio


def a_purchase(sku: str, token: str = "tok_approved", **more: Any) -> Purchase:
    """One unit of it, bought by a guest."""
    name = more.pop("key", uuid4().hex)
    return Purchase(
        key=Key("anonymous", name, fingerprint("POST", "/v1/checkout", b"")),
        user_id=None,
        email=f"{uuid4().hex[:12]}@example.com",
        lines=(Wanted(sku, 1),),
        shipping_address=ADDRESS,
        billing_address=None,
        provider="test",
        token=token,
        **more,
    )


async def test_two_for_one_cart_in_one_batch(counter: Counter) -> None:
    """Two keys open their checkouts in the very same statement: the cart goes to one of them."""
    sku = await counter.product(10)
    cart = await counter.cart({sku: 1})
    checkouts = Checkouts(counter.store.context("orders"))
    purchases = [
        a_purchase(sku, cart_id=cart["id"], cart_version=cart["version"]) for _ in range(4)
    ]
    answers = await asyncio.gather(*(checkouts.check_out(one, "r") for one in purchases))
    assert sorted(one.status for one in answers) == [201, 409, 409, 409]
    await counter.store.drain()
    assert await counter.level(sku) == (9, 0)


async def test_who_comes_after_a_refusal_holds_nothing(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second try that looked before the first was declined gives its stock back in the end."""
    sku = await counter.product(10)
    purchase = a_purchase(sku, "tok_declined")
    checkouts = Checkouts(counter.store.context("orders"))
    first = await checkouts.check_out(purchase, "r")
    assert first.status == 402
    await counter.store.drain()
    assert await counter.level(sku) == (10, 0)

    async def sees_nothing_yet(_key: Key) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(checkouts, "check_key", sees_nothing_yet)
    with pytest.raises(Replay) as replay:
        await checkouts.check_out(purchase, "r")
    assert (replay.value.status, replay.value.body) == (402, first.body)
    assert await counter.level(sku) == (10, 0)


async def test_who_comes_during_the_first_takes_nothing_from_it(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second try finds the key open: it is told to wait, and the first keeps what it reserved."""
    sku = await counter.product(10)
    purchase = a_purchase(sku)
    context = counter.store.context("orders")
    checkouts = Checkouts(context)
    asked, may_answer = asyncio.Event(), asyncio.Event()
    charge = checkout_actions.charge

    async def slow(*arguments: Any) -> Charged | None:
        asked.set()
        await may_answer.wait()
        return await charge(*arguments)

    monkeypatch.setattr(checkout_actions, "charge", slow)
    first = asyncio.create_task(checkouts.check_out(purchase, "r"))
    await asked.wait()
    with pytest.raises(KeyInProgress):
        await checkouts.check_out(purchase, "r")
    other = Checkouts(context)

    async def sees_nothing_yet(_key: Key) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(other, "check_key", sees_nothing_yet)
    with pytest.raises(KeyInProgress):
        await other.check_out(purchase, "r")
    assert await counter.level(sku) == (10, 1)
    may_answer.set()
    assert (await first).status == 201
    await counter.store.drain()
    assert await counter.level(sku) == (9, 0)


async def test_the_attempt_is_saved_before_anybody_is_asked(counter: Counter) -> None:
    """When the provider hears of an attempt, its id, order and amount are in our database (P4)."""
    sku = await counter.product(10)
    context = counter.store.context("orders")
    provider = context.providers["test"]
    seen: list[bool] = []

    class Looking:
        name = "test"

        async def charge(self, wish: Charge) -> Charged:
            rows = await counter.store.quietly(
                "orders",
                "SELECT order_id, amount_minor, state FROM checkouts WHERE id = $1",
                wish.attempt_id,
            )
            seen.append(
                [tuple(row) for row in rows] == [(wish.order_id, wish.amount_minor, "open")]
            )
            return await provider.charge(wish)

    context.providers["test"] = Looking()
    try:
        assert (await counter.buy(sku)).status == 201
        assert (await counter.buy(sku, "tok_timeout")).status == 202
    finally:
        context.providers["test"] = provider
    assert seen == [True] * 4, "once, and three times for the one whose answer was lost"


@pytest.mark.parametrize("token", ["tok_timeout", "tok_flaky"])
async def test_every_try_has_the_id_of_the_attempt(counter: Counter, token: str) -> None:
    """What is unclear is asked again under the same id, and taken once."""
    sku = await counter.product(10)
    context = counter.store.context("orders")
    provider = context.providers["test"]
    ids: list[Any] = []

    class Counting:
        name = "test"

        async def charge(self, wish: Charge) -> Charged:
            ids.append(wish.attempt_id)
            return await provider.charge(wish)

        async def find(self, attempt_id: Any) -> Charged | None:
            ids.append(attempt_id)
            return await provider.find(attempt_id)

    context.providers["test"] = Counting()
    try:
        bought = await counter.buy(sku, token)
        await counter.store.settle()
    finally:
        context.providers["test"] = provider
    assert len(ids) >= 2
    assert len(set(ids)) == 1
    assert (await counter.order(bought["id"]))["paymentStatus"] == "paid"
    assert await counter.kept(bought["id"]) == 1000


async def test_a_provider_that_is_away_takes_nothing(counter: Counter) -> None:
    """503 and when to come back; key, cart and stock are free, and the same key buys later."""
    sku = await counter.product(10)
    context = counter.store.context("orders")
    provider, key, cart = context.providers["test"], uuid4().hex, await counter.cart({sku: 1})

    class Away:
        name = "test"

        async def charge(self, _wish: Charge) -> Charged:
            raise ProviderDown

    context.providers["test"] = Away()
    try:
        refused = [
            await counter.buy_cart(cart),
            await counter.buy(sku, key=key, email="ann@example.com"),
        ]
    finally:
        context.providers["test"] = provider
    assert {(one.status, one["code"]) for one in refused} == {(503, "unavailable")}
    assert await counter.level(sku) == (10, 0)
    headers = {"cart-token": cart["token"]}
    assert (await counter.ask("GET", f"/v1/carts/{cart['id']}", **headers))["status"] == "open"
    assert (await counter.buy(sku, key=key, email="ann@example.com")).status == 201
    assert (await counter.buy_cart(cart)).status == 201


async def test_two_ends_of_one_checkout_in_one_batch(counter: Counter) -> None:
    """A webhook and the request's own answer come together: one order, and both hear of it."""
    sku = await counter.product(10)
    checkouts = Checkouts(counter.store.context("orders"))
    purchase = a_purchase(sku)
    open_one = await _opened(checkouts, purchase)
    ends = [Finish(open_one, Charged("captured", "one")), Finish(open_one, None)]
    answers = await asyncio.gather(*(checkouts.finishes.submit(one) for one in ends))
    assert answers[0] == answers[1]
    rows = await counter.store.quietly(
        "orders", "SELECT count(*) FROM orders WHERE email = $1", purchase.email
    )
    assert rows[0][0] == 1


async def _opened(checkouts: Checkouts, purchase: Purchase) -> checkout_store.OpenCheckout:
    """A checkout whose process ended when it was about to ask for the money; the bank took it."""
    opened: list[checkout_store.OpenCheckout] = []
    charge = checkout_actions.charge

    async def ends(_context: Any, checkout: checkout_store.OpenCheckout) -> Charged | None:
        opened.append(checkout)
        await charge(_context, checkout)
        raise asyncio.CancelledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkout_actions, "charge", ends)
        with pytest.raises(asyncio.CancelledError):
            await checkouts.check_out(purchase, "r")
    return opened[0]


async def test_an_order_number_that_is_taken_is_drawn_anew(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in many millions meets an old number: the purchase goes through under another."""
    sku = await counter.product(10)
    checkouts = Checkouts(counter.store.context("orders"))
    taken = await counter.buy(sku)
    drawn = checkout_actions.new_number
    monkeypatch.setattr(checkout_actions, "new_number", lambda: taken["number"])
    purchases = [a_purchase(sku) for _ in range(3)]
    answers = await asyncio.gather(*(checkouts.check_out(one, "r") for one in purchases))
    monkeypatch.setattr(checkout_actions, "new_number", drawn)
    assert [one.status for one in answers] == [201] * 3


async def test_a_checkout_that_lost_its_database_says_so(counters: Open) -> None:
    """503 with Retry-After; nothing is half done, and the same key buys when it is back."""
    [shop] = await counters(1)
    sku, key = await shop.product(10), uuid4().hex
    who: dict[str, Any] = {"email": "ann@example.com", "key": key}
    for service in ("products", "orders"):
        database = shop.store.store.databases[service]
        pool, database.pool._pool = database.pool._pool, None
        answer = await shop.buy(sku, **who)
        database.pool._pool = pool
        assert (answer.status, answer["code"]) == (503, "database_unavailable"), answer
    assert (await shop.buy(sku, **who)).status == 201
    await shop.store.settle()
    assert await shop.broken() == []


async def test_a_cancelled_order_s_late_payment_goes_back(counters: Open) -> None:
    """An order is cancelled for want of stock while its payment is open; what comes is returned."""
    [shop] = await counters(1)
    for token in ("tok_pending", "tok_timeout"):
        sku = await shop.product(1)
        order = await shop.buy(sku, token)
        assert order.status == 202, order
        # Nobody hears of the order until its reservation has run out and others have the unit.
        await shop.store.lose_reservations(sku)
        adjusted = await shop.ask(
            "POST",
            f"/v1/inventory/{sku}/adjustments",
            {"delta": -1, "reason": "sold_elsewhere"},
            **shop.staff,
        )
        assert adjusted.status == 201, adjusted
        while await shop.store.relay():
            pass
        seen = await shop.order(order["id"])
        assert seen["status"] == "cancelled"
        await shop.store.settle()
        seen = await shop.order(order["id"])
        assert (seen["paymentStatus"], await shop.kept(order["id"])) == ("refunded", 0), seen
        assert await shop.level(sku) == (0, 0)
    assert await shop.broken() == []


async def test_a_key_that_was_used_captures_nothing(counter: Counter) -> None:
    """A capture under another request's key is refused before anybody is asked for money."""
    sku = await counter.product(10)
    first = await counter.ordered(sku, "tok_authorize_only")
    second = await counter.ordered(sku, "tok_authorize_only")
    key = uuid4().hex
    captured = await counter.to_order(first["id"], "capture", key=key)
    assert (captured.status, captured["paymentStatus"]) == (200, "paid")
    again = await counter.to_order(first["id"], "capture", key=key)
    assert again.raw == captured.raw
    reused = await counter.to_order(second["id"], "capture", key=key)
    assert (reused.status, reused["code"]) == (422, "idempotency_key_reused")
    assert await counter.kept(second["id"]) == 0
    assert (await counter.order(second["id"]))["paymentStatus"] == "authorized"


async def test_a_capture_without_an_answer_is_finished_and_answered(counter: Counter) -> None:
    """The provider's answer is lost: recovery finishes it, and the same key hears of it."""
    from tradewind.orders.model.payment import ProviderUnclear

    sku = await counter.product(10)
    order = await counter.ordered(sku, "tok_authorize_only")
    context, key = counter.store.context("orders"), uuid4().hex
    provider = context.providers["test"]

    class Mute:
        name = "test"

        async def capture(self, attempt_id: Any, amount_minor: int) -> None:
            await provider.capture(attempt_id, amount_minor)
            raise ProviderUnclear

    context.providers["test"] = Mute()
    try:
        unclear = await counter.to_order(order["id"], "capture", key=key)
    finally:
        context.providers["test"] = provider
    assert unclear.status == 503
    waiting = await counter.to_order(order["id"], "capture", key=key)
    assert (waiting.status, waiting["code"]) == (409, "idempotency_key_in_progress")
    cancelled = await counter.to_order(order["id"], "cancel")
    assert (cancelled.status, cancelled["code"]) == (409, "wrong_order_state")
    await counter.store.settle()
    done = await counter.to_order(order["id"], "capture", key=key)
    assert (done.status, done["paymentStatus"]) == (200, "paid")
    assert await counter.kept(order["id"]) == 1000

"""What becomes of carts and orders, step by step, over the API."""

from uuid import uuid4

import pytest

from orders.conftest import Open
from orders.parts import Answer, Counter

pytestmark = pytest.mark.asyncio


def axes(order: Answer) -> tuple[str, str, str]:
    """Where an order stands."""
    return order["status"], order["paymentStatus"], order["fulfillmentStatus"]


async def test_a_purchase_from_cart_to_delivery(counter: Counter) -> None:
    """A customer's cart becomes an order, two parcels, two deliveries; units and money agree."""
    sku, other = await counter.product(10, 1250), await counter.product(10, 99)
    who = await counter.customer()
    cart = await counter.cart({sku: 1}, **who)
    for name, quantity in ((sku, 2), (other, 3)):
        path = f"/v1/carts/{cart['id']}/lines/{name}"
        cart = await counter.ask("PUT", path, {"quantity": quantity}, **who)
    assert cart["total"] == {"amount": 2797, "currency": "EUR"}
    order = await counter.buy_cart(cart, **who)
    assert order.status == 201
    assert axes(order) == ("placed", "paid", "unfulfilled")
    assert "token" not in order, "a customer needs none"
    await counter.store.drain()
    assert await counter.level(sku) == (8, 0)
    first = await counter.to_order(
        order["id"], "fulfillments", {"lines": [{"sku": sku, "quantity": 1}], "tracking": "T1"}
    )
    assert axes(first) == ("placed", "paid", "partially_fulfilled")
    second = await counter.to_order(order["id"], "fulfillments")
    assert axes(second) == ("placed", "paid", "fulfilled")
    assert [one["lines"] for one in second["fulfillments"]] == [
        [{"sku": sku, "quantity": 1}],
        [{"sku": sku, "quantity": 1}, {"sku": other, "quantity": 3}],
    ] or {line["sku"]: line["quantity"] for line in second["fulfillments"][1]["lines"]} == {
        sku: 1,
        other: 3,
    }
    nothing_left = await counter.to_order(order["id"], "fulfillments")
    assert (nothing_left.status, nothing_left["code"]) == (409, "wrong_order_state")
    for parcel, stands in zip(second["fulfillments"], ("fulfilled", "delivered"), strict=True):
        path = f"fulfillments/{parcel['id']}/delivered"
        seen = await counter.to_order(order["id"], path)
        assert axes(seen) == ("placed", "paid", stands)
        assert (await counter.to_order(order["id"], path)).status == 409
    await counter.store.drain()
    inbox = await counter.ask("GET", "/v1/notifications", None, **who)
    kinds = sorted(one["kind"] for one in inbox["items"] if one.get("orderId") == order["id"])
    assert kinds == ["order_confirmed", *["order_delivered"] * 2, *["order_shipped"] * 2]


@pytest.mark.parametrize("token", ["tok_declined", "tok_insufficient_funds", "tok_nobody_knows"])
async def test_a_declined_card_leaves_everything_as_it_was(counter: Counter, token: str) -> None:
    """402 with the reason; stock and cart are free, and another card buys the cart."""
    sku = await counter.product(3)
    cart = await counter.cart({sku: 2})
    refused = await counter.buy_cart(cart, token)
    assert (refused.status, refused["code"]) == (402, "payment_declined")
    assert refused["reason"]
    await counter.store.drain()
    assert await counter.level(sku) == (3, 0)
    bought = await counter.buy_cart(cart)
    assert bought.status == 201
    await counter.store.drain()
    assert await counter.level(sku) == (1, 0)


@pytest.mark.parametrize("token", ["tok_pending", "tok_timeout"])
async def test_what_is_not_decided_holds_its_stock(counter: Counter, token: str) -> None:
    """Nobody else gets the units, and nothing ships, until the payment is in."""
    sku = await counter.product(1)
    order = await counter.ordered(sku, token)
    assert (order.status, order["paymentStatus"]) == (202, "pending")
    assert await counter.level(sku) == (1, 1)
    assert (await counter.buy(sku)).status == 409
    for what in ("fulfillments", "capture"):
        assert (await counter.to_order(order["id"], what)).status == 409
    assert (await counter.to_order(order["id"], "refunds", {"reason": "x"})).status == 409
    await counter.store.settle()
    assert axes(await counter.order(order["id"])) == ("placed", "paid", "unfulfilled")
    assert await counter.level(sku) == (0, 0)


@pytest.mark.parametrize("token", ["tok_pending", "tok_timeout"])
async def test_cancelled_before_its_payment_is_decided(counter: Counter, token: str) -> None:
    """The stock is free at once; money that comes in later goes back whole."""
    sku = await counter.product(1)
    order = await counter.ordered(sku, token)
    gone = await counter.to_order(order["id"], "cancel")
    assert (gone.status, *axes(gone)) == (200, "cancelled", "pending", "unfulfilled")
    assert (await counter.to_order(order["id"], "cancel")).status == 409
    await counter.store.drain()
    assert await counter.level(sku) == (1, 0)
    await counter.store.settle()
    seen = await counter.order(order["id"])
    assert axes(seen) == ("cancelled", "refunded", "unfulfilled")
    assert [one["amount"]["amount"] for one in seen["refunds"]] == [1000]
    assert await counter.kept(order["id"]) == 0
    assert await counter.level(sku) == (1, 0)


async def test_the_history_tells_money_as_money(counter: Counter) -> None:
    """Captured, refunded, cancelled: each sum has its currency."""
    sku = await counter.product(10)
    order = await counter.ordered(sku, "tok_authorize_only")
    await counter.to_order(order["id"], "capture")
    await counter.to_order(order["id"], "refunds", {"reason": "late", "amount": 300})
    await counter.to_order(order["id"], "cancel")
    told = {one["kind"]: one for one in (await counter.order(order["id"]))["history"]}
    assert told["captured"]["amount"] == {"amount": 1000, "currency": "EUR"}
    assert told["refunded"]["amount"] == {"amount": 300, "currency": "EUR"}
    assert told["cancelled"]["refunded"] == {"amount": 700, "currency": "EUR"}


async def test_a_total_may_be_more_than_a_price(counter: Counter) -> None:
    """Two of the dearest thing: the total can be expected, and given back as it was told."""
    sku = await counter.product(10, 10**12)
    expected = {"amount": 2 * 10**12, "currency": "EUR"}
    order = await counter.buy({sku: 2}, expectedTotal=expected)
    assert (order.status, order["total"]) == (201, expected)
    body = {"reason": "x", "amount": order["total"]}
    refunded = await counter.to_order(order["id"], "refunds", body)
    assert (refunded.status, refunded["paymentStatus"]) == (201, "refunded")


async def test_all_is_shipped_without_a_body(counter: Counter) -> None:
    """Lines, carrier and tracking may be left out, and so may the body."""
    order = await counter.ordered(await counter.product(10))
    path = f"/v1/orders/{order['id']}/fulfillments"
    shipped = await counter.ask("POST", path, None, **counter.staff)
    assert (shipped.status, shipped["fulfillmentStatus"]) == (201, "fulfilled")


async def test_authorized_then_captured_or_let_go(counter: Counter) -> None:
    """An authorized order may ship; captured once; cancelled before, nothing is ever taken."""
    sku = await counter.product(10)
    order = await counter.ordered(sku, "tok_authorize_only")
    assert axes(order) == ("placed", "authorized", "unfulfilled")
    assert (await counter.to_order(order["id"], "refunds", {"reason": "x"})).status == 409
    shipped = await counter.to_order(order["id"], "fulfillments")
    assert axes(shipped) == ("placed", "authorized", "fulfilled")
    captured = await counter.to_order(order["id"], "capture")
    assert axes(captured) == ("placed", "paid", "fulfilled")
    assert (await counter.to_order(order["id"], "capture")).status == 409
    assert await counter.kept(order["id"]) == 1000
    other = await counter.ordered(sku, "tok_authorize_only")
    gone = await counter.to_order(other["id"], "cancel")
    assert axes(gone) == ("cancelled", "refunded", "unfulfilled")
    assert await counter.kept(other["id"]) == 0
    assert (await counter.to_order(other["id"], "capture")).status == 409


async def test_refunds_in_part_with_units_and_whole(counter: Counter) -> None:
    """Units come back once, money never more than was captured, the rest can still be cancelled."""
    sku = await counter.product(10, 300)
    order = await counter.ordered({sku: 3})
    assert await counter.level(sku) == (7, 0)
    part = await counter.to_order(
        order["id"], "refunds", {"reason": "broken", "lines": [{"sku": sku, "quantity": 1}]}
    )
    assert (part.status, part["paymentStatus"]) == (201, "partially_refunded")
    assert part["refunds"][0]["amount"]["amount"] == 300
    money = await counter.to_order(order["id"], "refunds", {"reason": "late", "amount": 50})
    assert money["payment"]["refunded"]["amount"] == 350
    too_much = await counter.to_order(order["id"], "refunds", {"reason": "x", "amount": 551})
    assert (too_much.status, too_much["code"]) == (409, "refund_too_large")
    assert too_much["refundable"] == {"amount": 550, "currency": "EUR"}
    again = await counter.to_order(
        order["id"], "refunds", {"reason": "x", "lines": [{"sku": sku, "quantity": 3}]}
    )
    assert again.status == 409
    await counter.store.drain()
    assert await counter.level(sku) == (8, 0)
    gone = await counter.to_order(order["id"], "cancel")
    assert axes(gone) == ("cancelled", "refunded", "unfulfilled")
    await counter.store.drain()
    assert await counter.level(sku) == (10, 0), "the two that were not back yet"
    assert await counter.kept(order["id"]) == 0
    assert (await counter.to_order(order["id"], "cancel")).status == 409
    assert (await counter.to_order(order["id"], "refunds", {"reason": "x"})).status == 409


async def test_a_shipped_order_cannot_be_cancelled(counter: Counter) -> None:
    """Not in whole and not in part; a refund is the way."""
    sku = await counter.product(10)
    order = await counter.ordered({sku: 2})
    await counter.to_order(order["id"], "fulfillments", {"lines": [{"sku": sku, "quantity": 1}]})
    assert (await counter.to_order(order["id"], "cancel")).status == 409
    assert (await counter.to_order(order["id"], "refunds", {"reason": "x"})).status == 201


async def test_what_was_sold_stays_as_it_was_sold(counter: Counter) -> None:
    """Title and price change afterwards, the product goes; the order says what it always said."""
    sku = await counter.product(10, 700)
    order = await counter.ordered(sku)
    found = await counter.ask("GET", "/v1/products", None, **counter.staff)
    product = found["items"][0]
    change = {"title": "Another name", "price": {"amount": 1, "currency": "EUR"}}
    path = f"/v1/products/{product['id']}"
    assert (await counter.ask("PATCH", path, change, **counter.staff)).status == 200
    assert (await counter.ask("DELETE", path, None, **counter.staff)).status in (200, 204)
    seen = await counter.order(order["id"])
    assert (seen["lines"], seen["total"]) == (order["lines"], order["total"])


async def test_the_expected_total(counter: Counter) -> None:
    """Another total is refused with the new one, nothing is held; the right one goes through."""
    sku = await counter.product(10, 700)
    told = await counter.buy(sku, expectedTotal={"amount": 699, "currency": "EUR"})
    assert (told.status, told["code"]) == (409, "total_changed")
    assert told["total"] == {"amount": 700, "currency": "EUR"}
    assert await counter.level(sku) == (10, 0)
    right = await counter.buy(sku, expectedTotal={"amount": 700, "currency": "EUR"})
    assert right.status == 201


async def test_the_price_that_is_charged_comes_from_the_database(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page may show yesterday's price from a cache; what is charged is today's (P17)."""
    # What is kept here stays for the whole test: a second, as always, may be over too soon.
    cache = counter.store.store.app.cache
    assert cache is not None
    monkeypatch.setattr(cache, "_fresh_seconds", 3600.0)
    monkeypatch.setattr(cache, "_stale_seconds", 3600.0)
    sku = await counter.product(10, 1000)
    assert (await counter.ordered(sku))["total"]["amount"] == 1000
    listed = await counter.ask("GET", "/v1/products")
    product = next(one for one in listed["items"] if sku in one["title"])
    path = f"/v1/products/{product['slug']}"
    assert (await counter.ask("GET", path))["price"]["amount"] == 1000
    # Another process changes the price, and its word to drop the page is lost.
    await counter.store.quietly(
        "products", "UPDATE variants SET price_minor = 1500 WHERE sku = $1", sku
    )
    await counter.store.quietly(
        "products",
        "UPDATE products SET price_minor = 1500 WHERE id = $1::text::uuid",
        product["id"],
    )
    assert (await counter.ask("GET", path))["price"]["amount"] == 1000, "the cache is stale"
    assert (await counter.ask("GET", path))["variants"][0]["available"] == 9
    order = await counter.ordered(sku)
    assert order["total"]["amount"] == 1500
    assert await counter.kept(order["id"]) == 1500
    await counter.store.quietly("products", "UPDATE stock SET updated_at = now()")
    sold_out = await counter.buy({sku: 10})
    assert (sold_out.status, sold_out["lines"][0]["available"]) == (409, 8)
    cache.clear()


async def test_carts_and_orders_are_their_owner_s(counter: Counter) -> None:
    """Whoever else asks learns nothing, not even that it is there."""
    sku = await counter.product(20)
    owner, stranger = await counter.customer(), await counter.customer()
    other_cart = await counter.cart({sku: 1})
    other_order = await counter.ordered(sku)
    cart = await counter.cart({sku: 1}, **owner)
    guests = await counter.cart({sku: 1})
    order = await counter.buy(sku, headers=owner)
    guest_order = await counter.ordered(sku)
    nobody: dict[str, str] = {}
    for headers in (
        stranger,
        nobody,
        {"cart-token": other_cart["token"]},
        {"cart-token": cart["token"]},
    ):
        path = f"/v1/carts/{cart['id']}"
        assert (await counter.ask("GET", path, None, **headers)).status == 404
        change = await counter.ask("PUT", f"{path}/lines/{sku}", {"quantity": 9}, **headers)
        assert change.status == 404
        assert (await counter.buy_cart({"id": cart["id"]}, **headers)).status == 404
        assert (await counter.ask("DELETE", path, None, **headers)).status == 404
    assert (await counter.ask("GET", f"/v1/carts/{guests['id']}", None, **owner)).status == 404
    for seen, headers in (
        (order, {"order-token": other_order["token"]}),
        (order, stranger),
        (order, nobody),
        (guest_order, {"order-token": other_order["token"]}),
        (guest_order, {"order-token": guest_order["token"][:-1]}),
        (guest_order, {"order-token": "\u00e4"}),
        (guest_order, stranger),
        (guest_order, nobody),
    ):
        for method, path in (("GET", ""), ("POST", "/cancel")):
            key = {"idempotency-key": uuid4().hex}
            answer = await counter.ask(
                method, f"/v1/orders/{seen['id']}{path}", None, **headers, **key
            )
            assert answer.status == 404, (headers, answer)
    token = {"order-token": guest_order["token"]}
    assert (
        await counter.ask("GET", f"/v1/orders/{guest_order['id']}", None, **token)
    ).status == 200
    for what in ("capture", "refunds", "fulfillments"):
        key = {"idempotency-key": uuid4().hex}
        body = {"reason": "x"}
        path = f"/v1/orders/{order['id']}/{what}"
        assert (await counter.ask("POST", path, body, **owner, **key)).status == 403
        assert (await counter.ask("POST", path, body, **key)).status == 401


async def test_an_erased_customer_s_orders_stay_without_the_customer(counters: Open) -> None:
    """Totals, goods and numbers stay; who it was is gone, and a refund still works."""
    [shop] = await counters(1)
    sku = await shop.product(10)
    who = await shop.customer()
    order = await shop.buy({sku: 2}, headers=who, email="ann.lee@example.com")
    await shop.cart({sku: 1}, **who)
    await shop.store.drain()
    gone = await shop.ask("DELETE", "/v1/me", {"password": "correct horse battery staple"}, **who)
    assert gone.status in (200, 204), gone
    await shop.store.drain()
    seen = await shop.order(order["id"])
    assert (seen["total"], seen["lines"], seen["number"]) == (
        order["total"], order["lines"], order["number"],
    )  # fmt: skip
    assert "ann.lee" not in seen.raw.decode()
    assert "Main St" not in seen.raw.decode()
    refund = await shop.to_order(
        order["id"], "refunds", {"reason": "x", "lines": [{"sku": sku, "quantity": 1}]}
    )
    assert refund.status == 201
    await shop.store.settle()
    assert await shop.level(sku) == (9, 0)
    assert await shop.broken() == []


async def test_a_cart_s_key_outlives_what_is_in_it(counter: Counter) -> None:
    """What was sold when the cart was made is not sold any more: the same key, the same answer."""
    sku = await counter.product(10)
    body = {"lines": [{"sku": sku, "quantity": 1}]}
    key = {"idempotency-key": uuid4().hex}
    made = await counter.ask("POST", "/v1/carts", body, **key)
    found = await counter.ask("GET", f"/v1/products/kettle-{sku.lower()}")
    await counter.ask("DELETE", f"/v1/products/{found['id']}", None, **counter.staff)
    again = await counter.ask("POST", "/v1/carts", body, **key)
    assert (again.status, again.raw) == (made.status, made.raw) == (201, made.raw)
    another = await counter.ask("POST", "/v1/carts", body)
    assert (another.status, another["code"]) == (422, "not_sold")


async def test_a_guest_s_cart_is_taken_along(counter: Counter) -> None:
    """Shown together with a session, the cart becomes the customer's, its secret dies."""
    sku = await counter.product(10)
    cart = await counter.cart({sku: 1})
    who = await counter.customer()
    token = {"cart-token": cart["token"]}
    path = f"/v1/carts/{cart['id']}"
    assert (await counter.ask("GET", path, None, **who, **token)).status == 200
    assert (await counter.ask("GET", path, None, **who)).status == 200
    assert (await counter.ask("GET", path, None, **token)).status == 404


async def test_lost_updates_of_a_cart(counter: Counter) -> None:
    """If-Match on an edit that lost a race is 412, and changes nothing."""
    sku = await counter.product(10)
    cart = await counter.cart({sku: 1})
    token = {"cart-token": cart["token"]}
    path = f"/v1/carts/{cart['id']}/lines/{sku}"
    stale = {"if-match": f'"{cart["version"]}"', **token}
    first = await counter.ask("PUT", path, {"quantity": 2}, **stale)
    second = await counter.ask("PUT", path, {"quantity": 3}, **stale)
    assert {first.status, second.status} <= {200, 412}
    assert second.status == 412, second
    seen = await counter.ask("GET", f"/v1/carts/{cart['id']}", None, **token)
    assert seen["lines"][0]["quantity"] == (2 if first.status == 200 else 1)

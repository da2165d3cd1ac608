"""Bad input to orders: a problem that names the field, never a 500, never half an effect."""

import json
from typing import Any
from uuid import uuid4

import pytest

from faults.stillness import dumps
from orders.parts import Answer, Counter
from shop import ADDRESS

pytestmark = pytest.mark.asyncio

DELETE = object()


def body_of(sku: str, **more: Any) -> dict[str, Any]:
    """A good purchase, with some of it changed."""
    body = {
        "lines": [{"sku": sku, "quantity": 1}],
        "email": "ann@example.com",
        "shippingAddress": ADDRESS,
        "payment": {"token": "tok_approved"},
        **more,
    }
    return {name: value for name, value in body.items() if value is not DELETE}


async def send(counter: Counter, body: Any, path: str = "/v1/checkout", **headers: str) -> Answer:
    """With a key of its own."""
    return await counter.ask("POST", path, body, **{"idempotency-key": uuid4().hex, **headers})


def assert_named(answer: Answer, field: str, status: int = 422) -> None:
    """A problem document of this status that names the field."""
    assert answer.status == status, (field, answer)
    assert {"type", "title", "status", "code", "detail", "requestId"} <= set(answer), answer
    if status == 422:
        assert [one for one in answer["errors"] if one["field"] == field], (field, answer)


QUANTITIES = [
    -1, 0, 1.5, 1.0, "1", "", True, False, None, 100_001, 2**31, 2**63, 2**64, 10**400, -(2**63),
    1e9, 1e308, [], [1], {}, {"a": 1},
]  # fmt: skip


@pytest.mark.parametrize("quantity", QUANTITIES, ids=lambda one: repr(one)[:20])
async def test_no_strange_quantity(counter: Counter, quantity: Any) -> None:
    """In a checkout, a new cart, a cart's line, a parcel and a refund alike."""
    sku = await counter.product(10)
    order = await counter.ordered(sku)
    cart = await counter.cart({sku: 1})
    line = {"sku": sku, "quantity": quantity}
    assert_named(await send(counter, body_of(sku, lines=[line])), "lines[0].quantity")
    assert_named(await send(counter, {"lines": [line]}, "/v1/carts"), "lines[0].quantity")
    for what, more in (("fulfillments", {}), ("refunds", {"reason": "x"})):
        path = f"/v1/orders/{order['id']}/{what}"
        answer = await send(counter, {**more, "lines": [line]}, path, **counter.staff)
        assert_named(answer, "lines[0].quantity")
    if isinstance(quantity, bool) or quantity != 0:
        answer = await counter.ask(
            "PUT",
            f"/v1/carts/{cart['id']}/lines/{sku}",
            {"quantity": quantity},
            **{"cart-token": cart["token"]},
        )
        assert_named(answer, "quantity")
    assert await counter.level(sku) == (9, 0)


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "01", "+1", "1.", ".5", "0x1", "1e"]
)
async def test_no_number_that_json_does_not_know(counter: Counter, text: str) -> None:
    """It is not JSON: 400."""
    sku = await counter.product(10)
    body = dumps(body_of(sku)).replace(b'"quantity": 1', b'"quantity": ' + text.encode())
    assert_named(await send(counter, body), "", 400)
    assert await counter.level(sku) == (10, 0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"lines": DELETE}, "lines"),
        ({"lines": None}, "lines"),
        ({"lines": []}, "lines"),
        ({"lines": {}}, "lines"),
        ({"lines": "x"}, "lines"),
        ({"lines": [None]}, "lines[0]"),
        ({"lines": [list[int]()]}, "lines[0]"),
        ({"lines": [{"quantity": 1}]}, "lines[0].sku"),
        ({"lines": [{"sku": "A"}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "", "quantity": 1}]}, "lines[0].sku"),
        ({"lines": [{"sku": "x" * 65, "quantity": 1}]}, "lines[0].sku"),
        ({"lines": [{"sku": 7, "quantity": 1}]}, "lines[0].sku"),
        ({"lines": [{"sku": None, "quantity": 1}]}, "lines[0].sku"),
        ({"email": DELETE}, "email"),
        ({"email": ""}, "email"),
        ({"email": "no address"}, "email"),
        ({"email": "a@b@c"}, "email"),
        ({"email": "a\r\nBcc: b@example.com"}, "email"),
        ({"email": "x" * 250 + "@a.de"}, "email"),
        ({"email": "ann@example.com\n"}, "email"),
        ({"email": "ann@-example.com"}, "email"),
        ({"email": "ann@example..com-"}, "email"),
        ({"email": 7}, "email"),
        ({"shippingAddress": DELETE}, "shippingAddress"),
        ({"shippingAddress": None}, "shippingAddress"),
        ({"shippingAddress": []}, "shippingAddress"),
        ({"shippingAddress": {**ADDRESS, "name": ""}}, "shippingAddress.name"),
        ({"shippingAddress": {**ADDRESS, "name": "x" * 201}}, "shippingAddress.name"),
        ({"shippingAddress": {**ADDRESS, "line1": 7}}, "shippingAddress.line1"),
        ({"shippingAddress": {**ADDRESS, "city": None}}, "shippingAddress.city"),
        ({"shippingAddress": {**ADDRESS, "postalCode": "1" * 21}}, "shippingAddress.postalCode"),
        ({"shippingAddress": {**ADDRESS, "country": "de"}}, "shippingAddress.country"),
        ({"shippingAddress": {**ADDRESS, "country": "DE\n"}}, "shippingAddress.country"),
        ({"shippingAddress": {**ADDRESS, "country": "DEU"}}, "shippingAddress.country"),
        ({"billingAddress": {**ADDRESS, "country": 1}}, "billingAddress.country"),
        ({"payment": DELETE}, "payment"),
        ({"payment": {}}, "payment.token"),
        ({"payment": {"token": ""}}, "payment.token"),
        ({"payment": {"token": "tok_approved\n"}}, "payment.token"),
        ({"payment": {"token": "with a space"}}, "payment.token"),
        ({"payment": {"token": "x" * 256}}, "payment.token"),
        ({"payment": {"token": "tok_approved", "provider": "nobody"}}, "payment.provider"),
        ({"payment": {"token": "tok_approved", "provider": 1}}, "payment.provider"),
        ({"expectedTotal": 1000}, "expectedTotal"),
        ({"expectedTotal": {"amount": -1, "currency": "EUR"}}, "expectedTotal.amount"),
        ({"expectedTotal": {"amount": 10.5, "currency": "EUR"}}, "expectedTotal.amount"),
        ({"expectedTotal": {"amount": 2**70, "currency": "EUR"}}, "expectedTotal.amount"),
        ({"expectedTotal": {"amount": 1000, "currency": "eur"}}, "expectedTotal.currency"),
        ({"currency": "EURO"}, "currency"),
        ({"currency": 1}, "currency"),
    ],
    ids=lambda one: one if isinstance(one, str) else repr(one)[:60],
)
async def test_every_field_of_a_checkout(
    counter: Counter, change: dict[str, Any], field: str
) -> None:
    """Missing, null, of another type, empty, too long, of another alphabet."""
    sku = await counter.product(10)
    assert_named(await send(counter, body_of(sku, **change)), field)
    assert await counter.level(sku) == (10, 0)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"7",
        b"\xff\xfe",
        b'{"lines": [{"sku": "A", "sku": "B", "quantity": 1}]}',
        b'{"email": "a@b.de", "email": "c@d.de"}',
        b'{"email": "a\\u0000@b.de"}',
        b'{"email": "\\ud800@b.de"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"email": "a\x00@b.de"}',
    ],
    ids=lambda one: repr(one[:40]),
)
async def test_no_strange_body(counter: Counter, raw: bytes) -> None:
    """Nothing, half of it, two of a key, NUL, lone surrogates, bottomless: 400 or 422."""
    for path in ("/v1/checkout", "/v1/carts"):
        answer = await send(counter, raw or None, path)
        if path == "/v1/carts" and raw in (b"", b"null"):
            assert answer.status == 201, "a cart needs nothing in it"
        else:
            assert answer.status in (400, 422), (path, answer)


async def test_what_no_field_has_changes_nothing(counter: Counter) -> None:
    """Prices, totals, states and owners in a body are as if they were not there."""
    sku = await counter.product(10, 5000)
    line = {"sku": sku, "quantity": 1, "unitPrice": {"amount": 1, "currency": "EUR"}, "price": 1}
    more = {
        "lines": [line], "total": {"amount": 1, "currency": "EUR"}, "status": "cancelled",
        "paymentStatus": "paid", "userId": str(uuid4()), "discount": 4999, "subtotal": 1,
    }  # fmt: skip
    answer = await send(counter, body_of(sku, **more))
    assert answer.status == 201
    assert answer["total"] == answer["subtotal"] == {"amount": 5000, "currency": "EUR"}
    assert answer["token"], "still a guest's"
    assert await counter.kept(answer["id"]) == 5000


async def test_two_thousand_lines_and_one_more(counter: Counter) -> None:
    """2,000 different SKUs can be bought in one request or cart; 2,001 are refused as a whole."""
    some = await counter.product(10, 7)
    skus = [f"many-{uuid4().hex[:6]}-{number}" for number in range(2001)]
    await counter.store.quietly(
        "products",
        """
        WITH made AS (
            INSERT INTO variants (sku, product_id, price_minor, currency, position)
            SELECT sku, (SELECT product_id FROM variants WHERE sku = $2), 7, 'EUR', 1
            FROM unnest($1::text[]) AS given (sku) RETURNING sku
        ), levels AS (INSERT INTO stock (sku, on_hand) SELECT sku, 5 FROM made)
        INSERT INTO movements (id, sku, delta, reason)
        SELECT gen_random_uuid(), sku, 5, 'received' FROM made
        """,
        skus,
        some,
    )
    lines = [{"sku": sku, "quantity": 1} for sku in skus]
    assert_named(await send(counter, body_of(some, lines=lines)), "lines")
    assert_named(await send(counter, {"lines": lines}, "/v1/carts"), "lines")
    twice = await send(counter, body_of(some, lines=[*lines[:2000], *lines[:1]]))
    assert twice.status == 201, "the same SKU twice is added up"
    assert (len(twice["lines"]), twice["total"]["amount"]) == (2000, 2001 * 7)
    cart = await send(counter, {"lines": lines[:2000]}, "/v1/carts")
    assert cart.status == 201
    token = {"cart-token": cart["token"]}
    full = await counter.ask(
        "PUT", f"/v1/carts/{cart['id']}/lines/{skus[2000]}", {"quantity": 1}, **token
    )
    assert_named(full, "sku")
    bought = await counter.buy_cart(cart)
    assert (bought.status, len(bought["lines"])) == (201, 2000)


async def test_a_quantity_that_is_too_much_only_when_added_up(counter: Counter) -> None:
    """Twice 60,000 of one SKU is more than 100,000 of it."""
    sku = await counter.product(10)
    lines = [{"sku": sku, "quantity": 60_000}] * 2
    assert_named(await send(counter, body_of(sku, lines=lines)), "lines")


async def test_what_is_not_sold(counter: Counter) -> None:
    """A SKU that does not exist, or is not active any more: 422 that names it."""
    sku, archived = await counter.product(10), await counter.product(10)
    found = await counter.ask("GET", "/v1/products", None, **counter.staff)
    product = next(one["id"] for one in found["items"] if archived in json.dumps(one))
    await counter.ask("DELETE", f"/v1/products/{product}", None, **counter.staff)
    for unknown in ("nobody-has-this", archived, "'; DROP TABLE stock; --", "\u202e"):
        lines = [{"sku": sku, "quantity": 1}, {"sku": unknown, "quantity": 1}]
        answer = await send(counter, body_of(sku, lines=lines))
        assert (answer.status, answer["code"]) == (422, "not_sold"), answer
        assert answer["skus"] == [unknown]
        assert_named(answer, "lines")
        answer = await send(counter, {"lines": lines}, "/v1/carts")
        assert (answer.status, answer["code"]) == (422, "not_sold"), answer
        assert_named(answer, "lines")
    cart = await send(counter, {}, "/v1/carts")
    token = {"cart-token": cart["token"]}
    path = f"/v1/carts/{cart['id']}"
    answer = await counter.ask("PUT", f"{path}/lines/{archived}", {"quantity": 1}, **token)
    assert_named(answer, "sku")
    assert_named(await counter.buy_cart(cart), "lines")
    foreign = await send(counter, {"currency": "ISK"}, "/v1/carts")
    assert (foreign.status, foreign["code"]) == (422, "no_price_in_currency")
    assert_named(foreign, "currency")
    assert await counter.level(sku) == (10, 0)


@pytest.mark.parametrize("key", ["", "x" * 256, "\u00e4", "a\tb"])
async def test_no_strange_key(counter: Counter, key: str) -> None:
    """Empty, too long, not ASCII, not printable: 422 naming the header."""
    sku = await counter.product(10)
    answer = await counter.ask("POST", "/v1/checkout", body_of(sku), **{"idempotency-key": key})
    assert_named(answer, "Idempotency-Key")
    assert await counter.level(sku) == (10, 0)


async def test_no_key_where_one_is_needed(counter: Counter) -> None:
    """Whatever takes money or stock needs one: 400, and nothing happens."""
    sku = await counter.product(10)
    order = await counter.ordered(sku)
    path = f"/v1/orders/{order['id']}"
    for where, body in (
        ("/v1/checkout", body_of(sku)),
        (f"{path}/refunds", {"reason": "x"}),
        (f"{path}/capture", {}),
    ):
        answer = await counter.ask("POST", where, body, **counter.staff)
        assert (answer.status, answer["code"]) == (400, "idempotency_key_required"), where
    assert await counter.kept(order["id"]) == 1000


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "reason"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": 7}, "reason"),
        ({"reason": "x", "amount": 0}, "amount"),
        ({"reason": "x", "amount": -5}, "amount"),
        ({"reason": "x", "amount": 1.5}, "amount"),
        ({"reason": "x", "amount": "5"}, "amount"),
        ({"reason": "x", "amount": True}, "amount"),
        ({"reason": "x", "amount": 2**63}, "amount"),
        ({"reason": "x", "amount": {"amount": 0, "currency": "EUR"}}, "amount.amount"),
        ({"reason": "x", "amount": {"amount": 5, "currency": "USD"}}, "amount.currency"),
        ({"reason": "x", "lines": []}, "lines"),
        ({"reason": "x", "lines": [{"sku": "A"}]}, "lines[0].quantity"),
    ],
    ids=repr,
)
async def test_every_field_of_a_refund(counter: Counter, body: dict[str, Any], field: str) -> None:
    """Nothing of it is given back."""
    order = await counter.ordered(await counter.product(10))
    assert_named(await counter.to_order(order["id"], "refunds", body), field)
    assert await counter.kept(order["id"]) == 1000


async def test_lines_that_are_not_in_the_order(counter: Counter) -> None:
    """Units of another SKU, or more than were bought, are neither refunded nor shipped."""
    sku = await counter.product(10)
    order = await counter.ordered({sku: 2})
    for what, more in (("refunds", {"reason": "x"}), ("fulfillments", {})):
        for line, status in (
            ({"sku": "another", "quantity": 1}, 422),
            ({"sku": sku, "quantity": 3}, 409),
        ):
            answer = await counter.to_order(order["id"], what, {**more, "lines": [line]})
            assert_named(answer, "lines", status)
        twice = [{"sku": sku, "quantity": 2}, {"sku": sku, "quantity": 1}]
        answer = await counter.to_order(order["id"], what, {**more, "lines": twice})
        assert answer.status == 409, answer
    assert await counter.kept(order["id"]) == 2000


@pytest.mark.parametrize("id_", ["x", "1", "%20", "00000000-0000-0000-0000-00000000000g", "%00"])
async def test_no_strange_id(counter: Counter, id_: str) -> None:
    """There is nothing at such an address: 404."""
    for method, path in (
        ("GET", f"/v1/orders/{id_}"),
        ("GET", f"/v1/carts/{id_}"),
        ("POST", f"/v1/orders/{id_}/cancel"),
        ("PUT", f"/v1/carts/{id_}/lines/A"),
    ):
        body = None if method == "GET" else {"quantity": 1}
        answer = await counter.ask(method, path, body, **counter.staff, **{"idempotency-key": "k"})
        assert answer.status == 404, (method, path, answer)

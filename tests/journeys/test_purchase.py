"""Whole purchases over HTTP, in three worlds: one process, every call as bytes, and split."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from faults.splitting import SplitWorld
from shop import Front, eventually, key, purchase, served_store
from tradewind.platform.database import Address

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["direct", "codec", "split"])
async def world(
    request: pytest.FixtureRequest, postgres: Address, split: SplitWorld
) -> AsyncGenerator[Front]:
    """Services that call each other directly, as bytes in one process, and behind HAProxy."""
    if request.param == "split":
        yield await split.front()
        return
    async for shop in served_store(postgres, codec=request.param == "codec"):
        yield shop


async def test_the_whole_way(world: Front) -> None:
    """Register, browse, cart, pay, order, stock down, a notification in the inbox and a mail."""
    product = await world.product(on_hand=5, amount=1250)
    customer = await world.customer()
    found = await customer.get("/v1/products", params={"q": product["sku"]})
    assert product["id"] in [one["id"] for one in found.json()["items"]]
    lines = [{"sku": product["sku"], "quantity": 2}]
    cart = (await customer.post("/v1/carts", json={"lines": lines})).json()
    assert cart["total"] == {"amount": 2500, "currency": "EUR"}
    bought = await customer.post(f"/v1/carts/{cart['id']}/checkout", json=purchase(), headers=key())
    assert bought.status_code == 201, bought.text
    order = bought.json()
    assert (order["status"], order["paymentStatus"]) == ("placed", "paid")

    async def sold() -> bool:
        level = await world.level(product["sku"])
        return (level["onHand"], level["reserved"]) == (3, 0)

    async def told() -> list[dict[str, object]]:
        inbox = (await customer.get("/v1/notifications")).json()["items"]
        return [one for one in inbox if one.get("orderId") == order["id"]]

    async def mailed() -> list[dict[str, object]]:
        mails = await (await world.staff()).get(
            "/v1/messages", params={"kind": "order_confirmed", "limit": 100}
        )
        return [one for one in mails.json()["items"] if one.get("orderId") == order["id"]]

    await eventually(sold)
    assert len(await eventually(told)) == 1
    [mail] = await eventually(mailed)
    whole = await (await world.staff()).get(f"/v1/messages/{mail['id']}")
    assert order["number"] in whole.json()["body"]


async def test_a_guest_buys_and_comes_back(world: Front) -> None:
    """A guest reads the order with its token, and nobody does without."""
    product, guest = await world.product(), world.client()
    lines = [{"sku": product["sku"], "quantity": 1}]
    order = (await guest.post("/v1/checkout", json=purchase(lines=lines), headers=key())).json()
    path = f"/v1/orders/{order['id']}"
    assert (await guest.get(path)).status_code == 404
    assert (await guest.get(path, headers={"Order-Token": "x"})).status_code == 404
    seen = await guest.get(path, headers={"Order-Token": order["token"]})
    assert seen.json()["number"] == order["number"]


async def test_a_refusal_keeps_its_members(world: Front) -> None:
    """What is left of each SKU is told, whichever way products was asked."""
    product, guest = await world.product(on_hand=2), world.client()
    lines = [{"sku": product["sku"], "quantity": 3}]
    refused = await guest.post("/v1/checkout", json=purchase(lines=lines), headers=key())
    assert refused.status_code == 409
    assert refused.json()["code"] == "out_of_stock"
    assert refused.json()["lines"] == [{"sku": product["sku"], "requested": 3, "available": 2}]


async def test_what_is_not_sold_is_named(world: Front) -> None:
    """The fields of the request are named, whichever way products was asked."""
    guest, lines = world.client(), [{"sku": "nobody-has-this", "quantity": 1}]
    for refused in (
        await guest.post("/v1/checkout", json=purchase(lines=lines), headers=key()),
        await guest.post("/v1/carts", json={"lines": lines}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (422, "not_sold")
        [fault] = refused.json()["errors"]
        assert fault == {"field": "lines", "message": "nobody-has-this: not sold here"}


async def test_the_documents_are_sent_once(world: Front) -> None:
    """Whoever has the schema or its page already is told so: every cacheable GET has an ETag."""
    guest = world.client()
    for path in ("/openapi.json", "/docs"):
        first = await guest.get(path)
        known = {"If-None-Match": first.headers["etag"]}
        assert (await guest.get(path, headers=known)).status_code == 304


async def test_a_refused_checkout_is_refused_again(world: Front) -> None:
    """The same key finds the same refusal, though there is stock by now."""
    product, guest, same = await world.product(on_hand=0), world.client(), key()
    body = purchase(lines=[{"sku": product["sku"], "quantity": 1}])
    first = await guest.post("/v1/checkout", json=body, headers=same)
    received = {"delta": 5, "reason": "received"}
    path = f"/v1/inventory/{product['sku']}/adjustments"
    assert (await (await world.staff()).post(path, json=received)).status_code == 201
    second = await guest.post("/v1/checkout", json=body, headers=same)
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert second.headers["Idempotent-Replayed"] == "true"


async def test_a_guests_cart_is_taken_over_at_login(world: Front) -> None:
    """The cart that a guest brings along to the login is the customer's from then on."""
    product, guest = await world.product(), world.client()
    lines = [{"sku": product["sku"], "quantity": 1}]
    cart = (await guest.post("/v1/carts", json={"lines": lines})).json()
    email, password = f"{product['sku'].lower()}@example.com", "correct horse battery staple"
    await guest.post("/v1/register", json={"email": email, "password": password})
    signed_in = await guest.post(
        "/v1/login",
        json={"username": email, "password": password},
        headers={"Cart-Token": cart["token"]},
    )
    customer = world.client(Authorization=f"Bearer {signed_in.json()['token']}")
    assert (await customer.get(f"/v1/carts/{cart['id']}")).status_code == 200
    stranger = world.client(Cart_Token=cart["token"])
    assert (await stranger.get(f"/v1/carts/{cart['id']}")).status_code == 404


async def test_the_export_holds_orders_and_messages(world: Front) -> None:
    """What is held about somebody comes from every service."""
    product, customer = await world.product(), await world.customer()
    lines = [{"sku": product["sku"], "quantity": 1}]
    order = (await customer.post("/v1/checkout", json=purchase(lines=lines), headers=key())).json()

    async def exported() -> bool:
        text = (await customer.get("/v1/me/export")).text
        return order["number"] in text and "order_confirmed" in text

    await eventually(exported)

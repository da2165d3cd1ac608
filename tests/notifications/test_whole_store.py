"""Notifications in a whole store: what customers and staff see of what happens elsewhere."""

import asyncio
import re
import uuid
from typing import Any

import httpx
import pytest

from notifications.parts import PATIENCE_SECONDS, eventually
from tradewind.notifications.actions import following

pytestmark = pytest.mark.asyncio

Shop = Any  # of the conftest one folder up, which has the same name as the one here
ADDRESS = {
    "name": "Ann Lee",
    "line1": "1 Main St",
    "city": "Berlin",
    "postalCode": "10115",
    "country": "DE",
}


def key() -> dict[str, str]:
    """A new idempotency key as a header."""
    return {"Idempotency-Key": uuid.uuid4().hex}


async def mails_to(store: Shop, recipient: str, **filters: str) -> list[dict[str, Any]]:
    """The mails to an address, as staff see them."""
    query = {"recipient": recipient, **filters}
    answer = await (await store.staff()).get("/v1/messages", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def buy(client: httpx.AsyncClient, product: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A purchase of one unit; the order."""
    body = {
        "lines": [{"sku": product["sku"], "quantity": 1}],
        "email": f"{uuid.uuid4().hex[:12]}@example.com",
        "shippingAddress": ADDRESS,
        "payment": {"token": "tok_approved"},
        **more,
    }
    answer = await client.post("/v1/checkout", json=body, headers=key())
    assert answer.status_code == 201, answer.text
    return {**answer.json(), "email": body["email"]}


async def test_a_guests_order(store: Shop) -> None:
    """A guest's mail links to the order with the token that opens it, and comes once."""
    order = await buy(store.client(), await store.product())
    [mail] = await eventually(lambda: mails_to(store, order["email"]))
    assert (mail["kind"], mail["orderId"]) == ("order_confirmed", order["id"])
    assert order["number"] in mail["subject"] and "Kettle" in mail["body"]
    [token] = re.findall(rf"/orders/{order['id']}\?token=(\S+)", mail["body"])
    seen = await store.client(Order_Token=token).get(f"/v1/orders/{order['id']}")
    assert seen.status_code == 200


async def test_what_happens_to_an_order(store: Shop) -> None:
    """Shipping, delivery and refund of an order are each told once, by mail and in the inbox."""
    customer, staff = await store.customer(), await store.staff()
    order = await buy(customer, await store.product())
    path = f"/v1/orders/{order['id']}"
    parcel = {"carrier": "DHL", "tracking": "00340434"}
    shipped = (await staff.post(f"{path}/fulfillments", json=parcel, headers=key())).json()
    [fulfillment] = shipped.get("fulfillments", [shipped])
    delivered = f"{path}/fulfillments/{fulfillment['id']}/delivered"
    assert (await staff.post(delivered, json={}, headers=key())).is_success
    refund = {"amount": 100, "reason": "late"}
    assert (await staff.post(f"{path}/refunds", json=refund, headers=key())).is_success
    expected = ["order_confirmed", "order_delivered", "order_refunded", "order_shipped"]

    async def told() -> bool:
        mails = await mails_to(store, order["email"], orderId=order["id"])
        entries = (await customer.get("/v1/notifications?limit=100")).json()["items"]
        about = [one["kind"] for one in entries if one["orderId"] == order["id"]]
        return sorted(one["kind"] for one in mails) == sorted(about) == expected

    await eventually(told)


async def test_a_forgotten_password(store: Shop) -> None:
    """The mail of a password reset holds what resets the password."""
    customer = await store.customer()
    address = (await customer.get("/v1/me")).json()["email"]
    assert (await customer.post("/v1/password-resets", json={"email": address})).status_code == 202
    [mail] = await eventually(lambda: mails_to(store, address, kind="password_reset"))
    [token] = re.findall(r"token=(\S+)", mail["body"])
    body = {"token": token, "newPassword": "another quite long passphrase"}
    answer = await store.client().post("/v1/password-resets/confirm", json=body)
    assert answer.status_code == 204, answer.text


async def test_a_new_address_is_verified(store: Shop) -> None:
    """The welcome mail's link verifies the address."""
    customer = await store.customer()
    address = (await customer.get("/v1/me")).json()["email"]
    [mail] = await eventually(lambda: mails_to(store, address, kind="welcome"))
    [token] = re.findall(r"/verify-email\?token=(\S+)", mail["body"])
    answer = await store.client().post("/v1/email-verifications/confirm", json={"token": token})
    assert answer.status_code == 204, answer.text
    assert (await customer.get("/v1/me")).json()["emailVerified"] is True


async def test_a_stream_hears_a_purchase_and_ends_with_its_session(
    store: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open stream hears of an order, and is over once its session was signed out."""
    # A look for the session that takes longer ends the stream too: here only its end shall.
    monkeypatch.setattr(following, "_CHECK_MOST_SECONDS", PATIENCE_SECONDS)
    customer = await store.customer()
    product = await store.product()
    lines: list[str] = []
    begun = asyncio.Event()

    async def listen() -> None:
        async with customer.stream("GET", "/v1/notifications/stream") as answer:
            async for line in answer.aiter_lines():
                lines.append(line)
                begun.set()

    listening = asyncio.create_task(listen())
    await begun.wait()
    order = await buy(customer, product)
    await eventually(lambda: any(order["id"] in line for line in lines))
    assert (await customer.post("/v1/logout")).status_code == 204
    await asyncio.wait_for(listening, PATIENCE_SECONDS)


async def test_an_export_and_an_erasure(store: Shop) -> None:
    """An account's export holds its notifications and mails; erased, none of them names it."""
    customer = await store.customer()
    address = (await customer.get("/v1/me")).json()["email"]
    order = await buy(customer, await store.product(), email=address)

    async def confirmed() -> bool:
        return len(await mails_to(store, address, orderId=order["id"])) == 1

    await eventually(confirmed)
    held = (await customer.get("/v1/me/export")).text
    assert order["number"] in held and "order_confirmed" in held
    request = {"password": "correct horse battery staple"}
    answer = await customer.request("DELETE", "/v1/me", json=request)
    assert answer.status_code in (200, 204), answer.text

    async def forgotten() -> bool:
        return await mails_to(store, address) == []

    await eventually(forgotten)
    [mail] = (await (await store.staff()).get(f"/v1/messages?orderId={order['id']}")).json()[
        "items"
    ]
    assert mail["recipient"] is None and mail["body"] == ""

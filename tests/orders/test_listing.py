"""Lists of orders, as staff search them."""

import pytest

from shop import Shop, key, purchase

pytestmark = pytest.mark.asyncio


async def test_what_staff_look_for(store: Shop) -> None:
    """A number or an address, however it is written; nothing looks for nothing, and finds all."""
    product = await store.product(10)
    body = purchase(lines=[{"sku": product["sku"], "quantity": 1}])
    order = (await store.client().post("/v1/checkout", json=body, headers=key())).json()
    staff = await store.staff()

    async def found(text: str) -> set[str]:
        answer = await staff.get("/v1/orders", params={"all": "true", "limit": 100, "q": text})
        assert answer.status_code == 200, answer.text
        return {one["id"] for one in answer.json()["items"]}

    for text in (order["number"], order["number"].lower(), f" {order['number']} ", order["email"]):
        assert await found(text) == {order["id"]}
    assert await found("nobody@example.com") == set()
    assert order["id"] in await found("") & await found("  ")


async def test_what_is_not_text(store: Shop) -> None:
    """A NUL is refused by name, before any database sees it."""
    staff = await store.staff()
    refused = await staff.get("/v1/orders?all=true&q=%00")
    assert refused.status_code == 422, refused.text
    assert [one["field"] for one in refused.json()["errors"]] == ["q"]

"""The demo catalogue and its pictures."""

import pytest

from products.importing import saved
from shop import NewStore, Shop
from tradewind.products.actions.demo import load_demo, load_demo_into_empty
from tradewind.products.model.pictures import drawn

pytestmark = pytest.mark.asyncio


async def test_demo(new_store: NewStore) -> None:
    """The demo catalogue fills an empty store, once, and leaves what was sold as it is."""
    store = await new_store()
    context = store.context("products")
    count = await load_demo_into_empty(context)
    assert count > 30
    assert await load_demo_into_empty(context) == 0
    staff, anyone = await store.staff(), store.client()
    path = "/v1/inventory/MUG-LIGHTHOUSE/adjustments"
    await staff.post(path, json={"delta": -80, "reason": "sold_elsewhere"})
    before = await saved(context)
    assert await load_demo(context) == count
    assert await saved(context) == before
    items = (await anyone.get("/v1/products?limit=100")).json()["items"]
    assert len(items) >= count - 1
    for item in items:
        assert item["categories"]
        assert item["images"]
        for image in item["images"]:
            seen = await anyone.get(image["url"])
            assert (seen.status_code, seen.headers["content-type"]) == (200, "image/svg+xml")
            assert "sandbox" in seen.headers["content-security-policy"]
            assert seen.headers["x-content-type-options"] == "nosniff"


async def test_pictures(store: Shop) -> None:
    """A picture is the same for ever, another one for another name, and nothing else is drawn."""
    assert drawn("mug-1.svg") == drawn("mug-1.svg") != drawn("mug-2.svg")
    anyone = store.client()
    for name in ("mug-1", "mug-1.png", "tank-1.svg", "mug-99999.svg", "mug-1.svg%0a", "..%2f"):
        assert (await anyone.get(f"/v1/pictures/{name}")).status_code == 404
    seen = await anyone.get("/v1/pictures/mug-1.svg")
    etag = seen.headers["etag"]
    again = await anyone.get("/v1/pictures/mug-1.svg", headers={"If-None-Match": etag})
    assert again.status_code == 304
    assert "max-age=86400" in seen.headers["cache-control"]

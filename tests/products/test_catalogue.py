"""Products over HTTP: what staff make and edit, what everybody sees."""

import asyncio
from typing import Any

import pytest

from shop import NewStore, Shop, key
from tradewind.platform.ids import new_id

pytestmark = pytest.mark.asyncio


def eur(amount: int) -> dict[str, Any]:
    """An amount in euro cents."""
    return {"amount": amount, "currency": "EUR"}


def named(answer: Any) -> set[str]:
    """The fields that a problem document names."""
    return {fault["field"] for fault in answer.json()["errors"]}


async def test_full_view(store: Shop) -> None:
    """A product is shown with all that was said of it, and what is available."""
    staff = await store.staff()
    slug = f"mug-{new_id().hex}"
    body = {
        "title": "  Monday   Mug ",
        "slug": slug,
        "description": "<p onclick='x()'>Blue<script>alert(1)</script></p>",
        "status": "active",
        "price": eur(1450),
        "attributes": {"Material": "Stoneware"},
        "variants": [
            {"sku": f"{slug}-S", "options": {"Size": "S"}, "onHand": 3},
            {
                "sku": f"{slug}-L",
                "title": "Large",
                "options": {"Size": "L"},
                "price": eur(1250),
                "compareAtPrice": eur(1700),
                "onHand": 4,
            },
        ],
    }
    made = await staff.post("/v1/products", json=body)
    assert made.status_code == 201, made.text
    view = made.json()
    assert made.headers["location"] == f"/v1/products/{view['id']}"
    assert view["title"] == "Monday Mug"
    assert view["description"] == "<p>Blue</p>"
    assert view["price"] == eur(1250)
    assert view["compareAtPrice"] == eur(1700)
    assert view["options"] == [{"name": "Size", "values": ["S", "L"]}]
    assert [(one["sku"], one["title"], one["available"]) for one in view["variants"]] == [
        (f"{slug}-S", "Monday Mug", 3),
        (f"{slug}-L", "Large", 4),
    ]
    seen = await store.client().get(f"/v1/products/{slug}")
    assert seen.json() == view


async def test_initial_stock_is_received(store: Shop) -> None:
    """What a new product has on hand is a movement like any other."""
    staff = await store.staff()
    product = await store.product(on_hand=12)
    moves = (await staff.get(f"/v1/inventory/{product['sku']}/movements")).json()["items"]
    assert [(one["delta"], one["reason"]) for one in moves] == [(12, "received")]


async def test_sku_is_taken(store: Shop) -> None:
    """A SKU belongs to one variant; the product that wants it again is not made at all."""
    staff = await store.staff()
    first = await store.product()
    title = f"Impostor {first['sku']}"
    body = {
        "title": title,
        "price": eur(1),
        "variants": [{"sku": first["sku"]}, {"sku": first["sku"] + "-B"}],
    }
    refused = await staff.post("/v1/products", json=body)
    assert refused.status_code == 409
    assert refused.json()["code"] == "sku_taken"
    assert refused.json()["skus"] == [first["sku"]]
    assert (await staff.get(f"/v1/inventory/{first['sku']}-B")).status_code == 404


async def test_slugs_are_unique(store: Shop) -> None:
    """Products of one title get addresses of their own; a chosen slug that is taken is refused."""
    staff = await store.staff()
    title = f"Twice {new_id().hex}"
    first, second = [
        (await staff.post("/v1/products", json={"title": title, "price": eur(1)})).json()
        for _ in range(2)
    ]
    assert second["slug"].startswith(first["slug"] + "-")
    body = {"title": "x", "price": eur(1), "slug": first["slug"]}
    refused = await staff.post("/v1/products", json=body)
    assert (refused.status_code, refused.json()["code"]) == (409, "slug_taken")
    edit = await staff.patch(f"/v1/products/{second['id']}", json={"slug": first["slug"]})
    assert (edit.status_code, edit.json()["code"]) == (409, "slug_taken")


async def test_same_title_at_once(store: Shop) -> None:
    """Twenty products of one title made at the same moment all come to be."""
    staff = await store.staff()
    title = f"Crowd {new_id().hex}"
    answers = await asyncio.gather(
        *(staff.post("/v1/products", json={"title": title, "price": eur(1)}) for _ in range(20))
    )
    assert {one.status_code for one in answers} == {201}
    assert len({one.json()["slug"] for one in answers}) == 20


async def test_same_sku_at_once(store: Shop) -> None:
    """Of many that want one SKU at the same moment exactly one gets it."""
    staff = await store.staff()
    sku = f"RACE-{new_id().hex[:12]}"
    body = {"title": "Race", "price": eur(1), "sku": sku, "onHand": 1}
    answers = await asyncio.gather(*(staff.post("/v1/products", json=body) for _ in range(10)))
    assert sorted(one.status_code for one in answers) == [201] + [409] * 9
    assert (await store.level(sku))["onHand"] == 1


async def test_repeated_with_key(store: Shop) -> None:
    """The same request with the same key makes one product."""
    staff = await store.staff()
    headers, body = key(), {"title": f"Once {new_id().hex}", "price": eur(1)}
    first = await staff.post("/v1/products", json=body, headers=headers)
    again = await staff.post("/v1/products", json=body, headers=headers)
    assert again.headers["idempotent-replayed"] == "true"
    assert (again.status_code, again.json()) == (201, first.json())


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"title": "x"}, "price"),
        ({"title": " \t ", "price": eur(1)}, "title"),
        ({"title": "x" * 301, "price": eur(1)}, "title"),
        ({"title": "a\u0007b", "price": eur(1)}, "title"),
        ({"price": eur(1)}, "title"),
        ({"title": "x", "price": eur(-1)}, "price.amount"),
        ({"title": "x", "price": eur(10**12 + 1)}, "price.amount"),
        ({"title": "x", "price": {"amount": 1, "currency": "EUX"}}, "price"),
        ({"title": "x", "price": eur(1), "sku": "-a"}, "sku"),
        ({"title": "x", "price": eur(1), "sku": "a "}, "sku"),
        ({"title": "x", "price": eur(1), "sku": "a\n"}, "sku"),
        ({"title": "x", "price": eur(1), "sku": "a" * 65}, "sku"),
        ({"title": "x", "price": eur(1), "slug": "Nope"}, "slug"),
        ({"title": "x", "price": eur(1), "slug": str(new_id())}, "slug"),
        ({"title": "x", "price": eur(1), "status": "sold"}, "status"),
        ({"title": "x", "price": eur(1), "onHand": -1}, "onHand"),
        ({"title": "x", "price": eur(1), "onHand": 2**63}, "onHand"),
        ({"title": "x", "price": eur(1), "onHand": True}, "onHand"),
        ({"title": "x", "price": eur(1), "categories": ["no-such"]}, "categories[0]"),
        ({"title": "x", "price": eur(1), "categories": [str(new_id())]}, "categories[0]"),
        ({"title": "x", "price": eur(1), "categories": ["a%b"]}, "categories[0]"),
        ({"title": "x", "price": eur(1), "attributes": {"a": 1}}, "attributes"),
        ({"title": "x", "price": eur(1), "attributes": {"a": "x" * 257}}, "attributes"),
        ({"title": "x", "price": eur(1), "attributes": {" ": "x"}}, "attributes"),
        ({"title": "x", "price": eur(1), "description": "x" * 20_001}, "description"),
        ({"title": "x", "variants": [{"sku": "a"}]}, "variants[0].price"),
        ({"title": "x", "price": eur(1), "variants": [{"title": "a"}]}, "variants[0].sku"),
        ({"title": "x", "price": eur(1), "variants": [{"sku": "a"}, {"sku": "a"}]}, "variants"),
        ({"title": "x", "price": eur(1), "sku": "b", "variants": [{"sku": "a"}]}, "sku"),
        ({"title": "x", "price": eur(1), "onHand": 2, "variants": [{"sku": "a"}]}, "onHand"),
        (
            {"title": "x", "price": eur(1), "variants": [{"sku": f"v{n}"} for n in range(101)]},
            "variants",
        ),
        (
            {
                "title": "x",
                "price": eur(1),
                "variants": [
                    {"sku": "a"},
                    {"sku": "b", "price": {"amount": 1, "currency": "USD"}},
                ],
            },
            "price",
        ),
    ],
)
async def test_bad_input_is_named(store: Shop, body: dict[str, Any], field: str) -> None:
    """What cannot be a product is refused, and the fault is named."""
    refused = await (await store.staff()).post("/v1/products", json=body)
    assert refused.status_code == 422, refused.text
    assert any(one.startswith(field) for one in named(refused))


async def test_all_faults_at_once(store: Shop) -> None:
    """Several faults of the catalogue's rules are told together."""
    body = {"title": " ", "price": eur(1), "slug": str(new_id()), "attributes": {" ": "x"}}
    refused = await (await store.staff()).post("/v1/products", json=body)
    assert named(refused) == {"title", "slug", "attributes"}


async def test_price_of_the_one_variant(store: Shop) -> None:
    """The price of a product with one variant is that variant's; of several it must be said."""
    staff = await store.staff()
    product = await store.product(amount=1000)
    path = f"/v1/products/{product['id']}"
    edit = await staff.patch(path, json={"price": eur(1200), "compareAtPrice": eur(1500)})
    assert edit.status_code == 200
    assert edit.json()["variants"][0]["price"] == edit.json()["price"] == eur(1200)
    assert edit.json()["compareAtPrice"] == eur(1500)
    second = {"variants": [{"sku": product["sku"] + "-B", "price": eur(900)}]}
    both = (await staff.patch(path, json=second)).json()
    assert both["price"] == eur(900)
    refused = await staff.patch(path, json={"price": eur(800)})
    assert refused.status_code == 422
    assert named(refused) == {"price"}


async def test_variants_are_merged(store: Shop) -> None:
    """A list of variants edits those that it names, adds new ones, and takes none away."""
    staff = await store.staff()
    product = await store.product(on_hand=5, amount=1000)
    path, old, new = f"/v1/products/{product['id']}", product["sku"], product["sku"] + "-NEW"
    edit = await staff.patch(
        path, json={"variants": [{"sku": new, "price": eur(700), "onHand": 2}]}
    )
    assert [one["sku"] for one in edit.json()["variants"]] == [new, old]
    edit = await staff.patch(
        path, json={"variants": [{"sku": old, "title": "Old"}, {"sku": new, "onHand": 1}]}
    )
    shown = {one["sku"]: one for one in edit.json()["variants"]}
    assert list(shown) == [old, new]
    assert (shown[old]["title"], shown[old]["available"]) == ("Old", 5)
    assert (shown[new]["price"], shown[new]["available"]) == (eur(700), 1)
    moves = (await staff.get(f"/v1/inventory/{new}/movements")).json()["items"]
    assert [(one["delta"], one["reason"]) for one in moves] == [(-1, "counted"), (2, "received")]


async def test_lost_race_is_told(store: Shop) -> None:
    """An edit meant for another version is refused; a sale meanwhile is no other version."""
    staff = await store.staff()
    product = await store.product(on_hand=5)
    path = f"/v1/products/{product['id']}"
    etag = (await staff.get(path)).headers["etag"]
    adjusted = await staff.post(
        f"/v1/inventory/{product['sku']}/adjustments", json={"delta": -1, "reason": "damaged"}
    )
    assert adjusted.status_code == 201
    first = await staff.patch(path, json={"title": "First"}, headers={"If-Match": etag})
    assert first.status_code == 200
    second = await staff.patch(path, json={"title": "Second"}, headers={"If-Match": etag})
    assert second.status_code == 412
    gone = await staff.delete(path, headers={"If-Match": etag})
    assert gone.status_code == 412
    assert (await staff.get(path)).json()["title"] == "First"
    newest = first.headers["etag"]
    third = await staff.patch(path, json={"title": "Third"}, headers={"If-Match": newest})
    assert third.status_code == 200
    weak = await staff.patch(
        path, json={"title": "Weak"}, headers={"If-Match": f"W/{third.headers['etag']}"}
    )
    assert weak.status_code == 412


async def test_edits_at_once_lose_nothing(store: Shop) -> None:
    """Edits of different fields at the same moment are all there in the end."""
    staff = await store.staff()
    product = await store.product()
    path = f"/v1/products/{product['id']}"
    edits: list[dict[str, Any]] = [
        {"title": "New title"},
        {"price": eur(4242)},
        {"attributes": {"Colour": "Red"}},
        {"description": "New"},
        {"variants": [{"sku": product["sku"] + "-B", "price": eur(5000)}]},
    ]
    # The price goes first: of two variants it could not be told which it is for.
    assert (await staff.patch(path, json=edits.pop(1))).status_code == 200
    answers = await asyncio.gather(*(staff.patch(path, json=edit) for edit in edits))
    assert {one.status_code for one in answers} == {200}
    view = (await staff.get(path)).json()
    assert (view["title"], view["description"]) == ("New title", "New")
    assert view["attributes"] == {"Colour": "Red"}
    assert len(view["variants"]) == 2
    assert view["price"] == eur(4242)


async def test_never_counted_below_reserved(new_store: NewStore) -> None:
    """What is reserved cannot be counted away by an edit, and then nothing of the edit is done."""
    store = await new_store()
    staff = await store.staff()
    product = await store.product(on_hand=5)
    async with store.database("products").transaction() as tx:
        await tx.execute("UPDATE stock SET reserved = 3 WHERE sku = $1", product["sku"])
    path = f"/v1/products/{product['id']}"
    refused = await staff.patch(path, json={"onHand": 2, "title": "Changed"})
    assert (refused.status_code, refused.json()["code"]) == (409, "insufficient_stock")
    view = (await staff.get(path)).json()
    assert (view["title"], view["available"]) == (product["title"], 2)


async def test_archived_and_draft_are_hidden(store: Shop) -> None:
    """What is not active is there for staff alone, in lists only where they ask for it."""
    staff, anyone = await store.staff(), store.client()
    customer = await store.customer()
    product = await store.product()
    path = f"/v1/products/{product['id']}"
    assert (await staff.delete(path)).status_code == 204
    assert (await staff.delete(path)).status_code == 204
    for client in (anyone, customer):
        assert (await client.get(path)).status_code == 404
        assert (await client.get(f"/v1/products/{product['slug']}")).status_code == 404
    shown = await staff.get(path)
    assert shown.json()["status"] == "archived"
    assert "public" not in shown.headers["cache-control"]
    params = {"q": product["sku"]}
    assert (await staff.get("/v1/products", params=params)).json()["items"] == []
    params["status"] = "archived"
    found = (await staff.get("/v1/products", params=params)).json()["items"]
    assert [one["id"] for one in found] == [product["id"]]
    assert (await customer.get("/v1/products", params=params)).status_code == 403
    assert (await anyone.get("/v1/products", params=params)).status_code == 401


async def test_change_is_seen_at_once(store: Shop) -> None:
    """After an edit nobody is shown the old product, in lists or by itself."""
    staff, anyone = await store.staff(), store.client()
    product = await store.product(amount=1000)
    path, params = f"/v1/products/{product['id']}", {"q": product["sku"]}
    for amount in range(2000, 2010):
        await anyone.get(path)
        await anyone.get("/v1/products", params=params)
        assert (await staff.patch(path, json={"price": eur(amount)})).status_code == 200
        assert (await anyone.get(path)).json()["price"]["amount"] == amount
        listed = (await anyone.get("/v1/products", params=params)).json()["items"]
        assert [one["price"]["amount"] for one in listed] == [amount]


async def test_public_answers_are_cacheable(store: Shop) -> None:
    """Public answers name their tags and an entity tag, and answer 304 to who has them."""
    anyone, product = store.client(), await store.product()
    tag = f"product:{product['id']}"
    for path, expected in (
        (f"/v1/products/{product['id']}", {tag}),
        (f"/v1/products?q={product['sku']}", {tag, "list"}),
        ("/v1/categories", {"categories"}),
    ):
        seen = await anyone.get(path)
        assert seen.status_code == 200
        assert "public" in seen.headers["cache-control"]
        assert "s-maxage=" in seen.headers["cache-control"]
        assert expected <= set(seen.headers["surrogate-key"].split())
        again = await anyone.get(path, headers={"If-None-Match": seen.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


async def test_only_staff_change_anything(store: Shop) -> None:
    """Guests are asked to sign in, customers are refused, whatever they send."""
    product = await store.product()
    anyone, customer = store.client(), await store.customer()
    for method, path in (
        ("POST", "/v1/products"),
        ("PATCH", f"/v1/products/{product['id']}"),
        ("DELETE", f"/v1/products/{product['id']}"),
        ("POST", "/v1/categories"),
        ("PATCH", f"/v1/categories/{new_id()}"),
        ("DELETE", f"/v1/categories/{new_id()}"),
    ):
        assert (await anyone.request(method, path, json={})).status_code == 401
        assert (await customer.request(method, path, json={})).status_code == 403
    assert (await anyone.get(f"/v1/products/{product['id']}")).json()["title"] == product["title"]


async def test_nothing_there(store: Shop) -> None:
    """Whatever stands for no product is a 404."""
    anyone, staff = store.client(), await store.staff()
    for name in ("nothing", str(new_id()), "A B", "x" * 500, "%F0%9F%AB%96", "a'--"):
        assert (await anyone.get(f"/v1/products/{name}")).status_code == 404
    assert (await staff.patch(f"/v1/products/{new_id()}", json={})).status_code == 404
    assert (await staff.delete(f"/v1/products/{new_id()}")).status_code == 404
    assert (await staff.delete("/v1/products/nothing")).status_code in (404, 405)


async def test_uploads_come_later(store: Shop) -> None:
    """Images cannot be uploaded yet."""
    staff, product = await store.staff(), await store.product()
    path = f"/v1/products/{product['id']}/images"
    assert (await staff.post(path, json={})).status_code == 404
    assert (await staff.put(path, json={})).status_code == 404

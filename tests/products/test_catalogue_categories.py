"""The tree of categories over HTTP, and where products lie in it."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest
from msgspec.structs import replace

from products.importing import broken_invariants
from shop import WAITED_FOR, NewStore, Shop, eventually
from tradewind.platform.ids import new_id
from tradewind.products.store import categories

pytestmark = pytest.mark.asyncio


async def made(staff: httpx.AsyncClient, name: str, parent: str | None = None) -> dict[str, Any]:
    """A category of a name that nobody else has; its view."""
    body = {"name": f"{name} {new_id().hex[-8:]}", "parentId": parent}
    answer = await staff.post("/v1/categories", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def listed(store: Shop, category: str) -> set[str]:
    """The ids of the products in a category, as everybody sees them."""
    answer = await store.client().get(
        "/v1/products", params={"category": category, "limit": 100, "sort": "price"}
    )
    return {one["id"] for one in answer.json()["items"]}


async def test_tree_is_told_whole(store: Shop) -> None:
    """A new category is in the tree, after its parent, and found by id and slug."""
    staff, anyone = await store.staff(), store.client()
    parent = await made(staff, "Kitchen & Café")
    child = await made(staff, "Mugs", parent["id"])
    assert parent["slug"].startswith("kitchen-cafe-")
    assert set(child) == {"id", "slug", "name", "parentId", "position"}
    items = (await anyone.get("/v1/categories")).json()["items"]
    assert items.index(parent) < items.index(child)
    assert (await anyone.get(f"/v1/categories/{child['slug']}")).json() == child
    assert (await anyone.get(f"/v1/categories/{child['id']}")).json() == child
    seen, cursor = [], None
    while True:
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await anyone.get("/v1/categories", params=params)).json()
        seen += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == items


async def test_siblings_are_ordered(store: Shop) -> None:
    """Siblings stand by position, then by name."""
    staff = await store.staff()
    parent = await made(staff, "Parent")
    for name, position in (("c", 1), ("b", 2), ("a", 2)):
        body = {"name": name, "parentId": parent["id"], "position": position}
        assert (await staff.post("/v1/categories", json=body)).status_code == 201
    items = (await store.client().get("/v1/categories")).json()["items"]
    assert [one["name"] for one in items if one["parentId"] == parent["id"]] == ["c", "a", "b"]


async def test_products_lie_in_what_lies_above(store: Shop) -> None:
    """A category lists its own products and those of all below it, wherever it is moved."""
    staff = await store.staff()
    top, other = await made(staff, "Top"), await made(staff, "Other")
    middle = await made(staff, "Middle", top["id"])
    leaf = await made(staff, "Leaf", middle["id"])
    product = await store.product(categories=[leaf["slug"], middle["id"]])
    assert {one["id"] for one in product["categories"]} == {leaf["id"], middle["id"]}
    for category in (leaf, middle, top):
        assert await listed(store, category["slug"]) == {product["id"]}
    moved = await staff.patch(f"/v1/categories/{middle['id']}", json={"parentId": other["id"]})
    assert moved.status_code == 200
    assert await listed(store, top["id"]) == set()
    for category in (leaf, middle, other):
        assert await listed(store, category["id"]) == {product["id"]}
    rooted = await staff.patch(f"/v1/categories/{leaf['id']}", json={"parentId": None})
    assert rooted.json()["parentId"] is None
    assert await listed(store, other["id"]) == await listed(store, leaf["id"]) == {product["id"]}
    path = f"/v1/products/{product['id']}"
    edit = await staff.patch(path, json={"categories": [leaf["id"]]})
    assert [one["id"] for one in edit.json()["categories"]] == [leaf["id"]]
    assert await listed(store, other["id"]) == set()
    assert await broken_invariants(store) == []


async def test_names_are_shown_at_once(store: Shop) -> None:
    """A renamed category is shown under its new name with its products."""
    staff, anyone = await store.staff(), store.client()
    category = await made(staff, "Before")
    product = await store.product(categories=[category["id"]])
    path = f"/v1/products/{product['id']}"
    await anyone.get(path)
    name = f"After {new_id().hex[-8:]}"
    await staff.patch(f"/v1/categories/{category['id']}", json={"name": name})
    assert [one["name"] for one in (await anyone.get(path)).json()["categories"]] == [name]


async def test_lists_follow_edits(store: Shop) -> None:
    """Price and status of a product count in its categories too."""
    staff = await store.staff()
    category = await made(staff, "Edited")
    cheap, dear = [
        await store.product(amount=amount, categories=[category["id"]]) for amount in (100, 200)
    ]
    params = {"category": category["id"], "sort": "price"}

    async def order() -> list[str]:
        answer = await store.client().get("/v1/products", params=params)
        return [one["id"] for one in answer.json()["items"]]

    assert await order() == [cheap["id"], dear["id"]]
    await staff.patch(
        f"/v1/products/{cheap['id']}", json={"price": {"amount": 300, "currency": "EUR"}}
    )
    assert await order() == [dear["id"], cheap["id"]]
    await staff.delete(f"/v1/products/{dear['id']}")
    assert await order() == [cheap["id"]]


async def test_no_cycles(store: Shop) -> None:
    """A category cannot come to lie in itself, however it is tried."""
    staff = await store.staff()
    top = await made(staff, "Top")
    middle = await made(staff, "Middle", top["id"])
    leaf = await made(staff, "Leaf", middle["id"])
    for parent in (top, middle, leaf):
        moved = await staff.patch(f"/v1/categories/{top['id']}", json={"parentId": parent["id"]})
        assert (moved.status_code, moved.json()["code"]) == (409, "category_misplaced")


async def test_no_cycles_at_once(store: Shop) -> None:
    """Two categories moved into each other at the same moment: one of them stays."""
    staff = await store.staff()
    for _ in range(5):
        one, two = await made(staff, "One"), await made(staff, "Two")
        answers = await asyncio.gather(
            staff.patch(f"/v1/categories/{one['id']}", json={"parentId": two["id"]}),
            staff.patch(f"/v1/categories/{two['id']}", json={"parentId": one["id"]}),
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_depth_is_limited(store: Shop) -> None:
    """Six levels and no more, also when a whole branch is moved."""
    staff = await store.staff()
    branch: list[dict[str, Any]] = []
    for level in range(6):
        parent = branch[-1]["id"] if branch else None
        branch.append(await made(staff, f"L{level}", parent))
    body = {"name": "L6", "parentId": branch[-1]["id"]}
    assert (await staff.post("/v1/categories", json=body)).status_code == 409
    top = await made(staff, "Top")
    path = f"/v1/categories/{branch[0]['id']}"
    assert (await staff.patch(path, json={"parentId": top["id"]})).status_code == 409
    path = f"/v1/categories/{branch[1]['id']}"
    assert (await staff.patch(path, json={"parentId": top["id"]})).status_code == 200


async def test_used_ones_stay(store: Shop) -> None:
    """A category with subcategories or products is not deleted; archived products leave it."""
    staff = await store.staff()
    top = await made(staff, "Top")
    leaf = await made(staff, "Leaf", top["id"])
    product = await store.product(categories=[leaf["id"]], status="draft")
    for category in (top, leaf):
        refused = await staff.delete(f"/v1/categories/{category['id']}")
        assert (refused.status_code, refused.json()["code"]) == (409, "category_in_use")
    await staff.delete(f"/v1/products/{product['id']}")
    for category in (leaf, top):
        assert (await staff.delete(f"/v1/categories/{category['id']}")).status_code == 204
    assert (await staff.delete(f"/v1/categories/{top['id']}")).status_code == 404
    path = f"/v1/products/{product['id']}"
    revived = await staff.patch(path, json={"status": "active"})
    assert revived.json()["categories"] == []
    assert await broken_invariants(store) == []


async def test_lost_updates(store: Shop) -> None:
    """If-Match on an edit that lost a race is 412, and changes nothing."""
    staff = await store.staff()
    view = await made(staff, "Raced")
    path = f"/v1/categories/{view['id']}"
    seen = (await staff.get(path)).headers["etag"]
    named = {"If-Match": seen}
    first = await staff.patch(path, json={"name": f"First {view['slug']}"}, headers=named)
    assert first.status_code == 200, first.text
    second = await staff.patch(path, json={"name": f"Second {view['slug']}"}, headers=named)
    assert (second.status_code, second.json()["code"]) == (412, "precondition_failed")
    assert (await staff.delete(path, headers=named)).status_code == 412
    assert (await staff.get(path)).json() == first.json()
    now = {"If-Match": first.headers["etag"]}
    assert (await staff.delete(path, headers=now)).status_code == 204


async def test_bad_input_is_named(store: Shop) -> None:
    """What cannot be a category is refused, and the fault is named."""
    staff = await store.staff()
    top = await made(staff, "Top")
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({}, 422, "name"),
        ({"name": "  "}, 422, "name"),
        ({"name": "x" * 101}, 422, "name"),
        ({"name": "a\u0007"}, 422, "name"),
        ({"name": "x", "slug": "A"}, 422, "slug"),
        ({"name": "x", "parentId": str(new_id())}, 422, "parentId"),
        ({"name": "x", "parentId": "top"}, 422, "parentId"),
        ({"name": "x", "position": 2**40}, 422, "position"),
    ]
    for body, status, field in cases:
        refused = await staff.post("/v1/categories", json=body)
        assert refused.status_code == status, refused.text
        assert [one["field"] for one in refused.json()["errors"]] == [field]
    same = await staff.post("/v1/categories", json={"name": top["name"]})
    assert (same.status_code, same.json()["code"]) == (409, "category_taken")
    body = {"name": "Another", "slug": top["slug"]}
    taken = await staff.post("/v1/categories", json=body)
    assert (taken.status_code, taken.json()["code"]) == (409, "slug_taken")
    assert (await staff.patch(f"/v1/categories/{new_id()}", json={})).status_code == 404
    assert (await staff.get("/v1/categories/nothing")).status_code == 404
    assert (await staff.get("/v1/categories?cursor=%22%22")).status_code == 422


async def test_number_is_limited(new_store: NewStore) -> None:
    """There is an end to how many categories there may be."""
    store = await new_store({"TRADEWIND_PRODUCTS_CATEGORIES_MOST": "2"})
    staff = await store.staff()
    answers = [await staff.post("/v1/categories", json={"name": f"C{n}"}) for n in range(3)]
    assert [one.status_code for one in answers] == [201, 201, 409]


async def test_placing_while_moving(store: Shop) -> None:
    """A product that is placed while its category is being moved lies where that lies then."""
    staff = await store.staff()
    before, after = await made(staff, "Before"), await made(staff, "After")
    leaf = await made(staff, "Leaf", before["id"])
    id_, new_parent = UUID(leaf["id"]), UUID(after["id"])
    async with store.database("products").transaction() as tx:
        await categories.lock_tree(tx)
        moved = (await categories.list_categories(tx))[id_]
        placed = await categories.lock_placed(tx, id_)
        making = asyncio.create_task(store.product(categories=[leaf["id"]]))

        async def waits() -> bool:
            return making.done() or await tx.fetch_value(WAITED_FOR)

        await eventually(waits)
        await categories.update_category(tx, replace(moved, parent_id=new_parent))
        await categories.update_ancestry(tx, placed)
    product = await making
    assert await listed(store, after["id"]) == {product["id"]}
    assert await listed(store, before["id"]) == set()
    assert await broken_invariants(store) == []

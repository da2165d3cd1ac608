"""Pages of what was found, and whatever else a client may send with them."""

from typing import Any

import pytest

from shop import Shop
from tradewind.platform.ids import new_id

pytestmark = pytest.mark.asyncio

SORTS = ("relevance", "price", "-price", "newest", "title")


def letters() -> str:
    """A new word; letters only, none of them rare."""
    return "".join("abcdefghijklmnop"[int(digit, 16)] for digit in new_id().hex[-10:])


async def make(store: Shop, title: str, **more: Any) -> dict[str, Any]:
    """A product for sale of this title, whose SKU is always as many words: relevance counts them,
    and digits may be a number of their own.
    """
    return await store.product(title=title, sku=f"SKU-{letters().upper()}", **more)


@pytest.fixture
def word() -> str:
    """A word that nobody else's product has."""
    return letters()


async def test_mistaken_pages_go_on(store: Shop, word: str) -> None:
    """The second page of a corrected search is corrected alike, whatever was made meanwhile."""
    for place in range(5):
        await make(store, f"Zither{word} {place}")
    anyone = store.client()
    titles: list[str] = []
    cursor = None
    while True:
        params = {"q": f"zithr{word}", "limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await anyone.get("/v1/products", params=params)).json()
        titles += [one["title"] for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
        assert len(titles) < 10
        await make(store, f"Zithr{word} new")
    assert sorted(titles) == [f"Zither{word} {place}" for place in range(5)]


async def pages(store: Shop, params: dict[str, Any], between: Any, limit: int = 3) -> list[str]:
    """The ids on all pages, with `between` awaited after each."""
    client, seen, cursor = store.client(), list[str](), None
    while True:
        asked = {**params, "limit": limit, **({"cursor": cursor} if cursor else {})}
        answer = await client.get("/v1/products", params=asked)
        assert answer.status_code == 200, answer.text
        seen += [one["id"] for one in answer.json()["items"]]
        cursor = answer.json()["next"]
        if cursor is None:
            return seen
        await between()


@pytest.mark.parametrize("searched", [False, True])
@pytest.mark.parametrize("sort", SORTS)
async def test_pages_without_gap_or_repeat(
    store: Shop, word: str, sort: str, searched: bool
) -> None:
    """Each product is on exactly one page, also where keys are equal and others are being made."""
    staff = await store.staff()
    category = (await staff.post("/v1/categories", json={"name": word})).json()["id"]
    made = [
        (await make(store, f"{word} {place % 3}", amount=1000 + place % 2, categories=[category]))[
            "id"
        ]
        for place in range(14)
    ]
    amounts = [999, 1000, 1002] * 3

    async def another() -> None:
        for _ in range(min(3, len(amounts))):
            await make(store, f"{word} 1", amount=amounts.pop(), categories=[category])

    params = {"sort": sort, **({"q": word} if searched else {"category": category})}
    seen = await pages(store, params, another)
    assert len(seen) == len(set(seen))
    assert set(made) <= set(seen)


async def test_relevance_pages_go_on_over_the_window(
    store: Shop, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only so many matches are weighed, those that the first page saw, on every page."""
    monkeypatch.setattr("tradewind.products.store.search.CANDIDATES_MOST", 6)
    made = [(await make(store, word))["id"] for _ in range(9)]

    left = [None] * 3

    async def another() -> None:
        if left:
            left.pop()
            await make(store, word)

    assert await pages(store, {"q": word}, another, limit=2) == made[:2:-1]


async def test_pages_in_a_category(store: Shop, word: str) -> None:
    """The pages of a category hold its products, each once, in every order."""
    staff = await store.staff()
    category = (await staff.post("/v1/categories", json={"name": word})).json()
    made: set[str] = set()
    for place in range(10):
        places = [category["id"]] if place % 2 else []
        product = await store.product(amount=100 + place % 3, categories=places)
        if places:
            made.add(product["id"])

    async def nothing() -> None:
        return

    for sort in SORTS:
        params = {"sort": sort, "category": category["slug"], "inStock": "true"}
        seen = await pages(store, params, nothing, limit=2)
        assert len(seen) == len(made)
        assert set(seen) == made

"""Finding products: words, mistakes, filters, order."""

import asyncio
from typing import Any

import httpx
import pytest

from shop import NewStore, Shop
from tradewind.platform.ids import new_id

pytestmark = pytest.mark.asyncio

SORTS = ("relevance", "price", "-price", "newest", "title")


async def found(client: httpx.AsyncClient, **params: Any) -> list[str]:
    """The titles that a search finds, in order."""
    answer = await client.get("/v1/products", params=params)
    assert answer.status_code == 200, answer.text
    return [one["title"] for one in answer.json()["items"]]


async def make(store: Shop, title: str, **more: Any) -> dict[str, Any]:
    """A product for sale of this title."""
    return await store.product(title=title, **more)


@pytest.fixture
def word() -> str:
    """A word that nobody else's product has; letters only, none of them rare."""
    return "".join("abcdefghijklmnop"[int(digit, 16)] for digit in new_id().hex[-10:])


async def test_words(store: Shop, word: str) -> None:
    """Found by stems, by words of any language, by attributes and description; not by others."""
    await make(store, f"Copper Kettles {word}", attributes={"Finish": "Hammered"})
    await make(store, f"Crème Brûlée Ramekins {word}", description="<p>For <b>torches</b></p>")
    anyone = store.client()
    kettle, cream = [f"Copper Kettles {word}"], [f"Crème Brûlée Ramekins {word}"]
    for q, expected in (
        (f"kettle {word}", kettle),
        (f"COPPER {word}", kettle),
        (f"hammered {word}", kettle),
        (f"creme brulee {word}", cream),
        (f"torch {word}", cream),
        (f'"brulee ramekin" {word}', cream),
        (f"{word} -ramekins", kettle),
        (f"copper {word} or ramekin {word}", [*kettle, *cream]),
        (word, [*kettle, *cream]),
        (f"copper torch {word}", []),
    ):
        assert sorted(await found(anyone, q=q)) == sorted(expected), q


async def test_sku_comes_first(store: Shop, word: str) -> None:
    """Whoever asks for a SKU sees its product first, however it is written."""
    sku = f"{word} 7.5+x"
    for place in range(3):
        await make(store, f"{sku} {sku} lookalike {place}")
    product = await make(store, f"Plain {word}", sku=sku)
    anyone = store.client()
    for q in (sku, sku.upper(), f" {sku} "):
        assert (await found(anyone, q=q))[0] == product["title"]
    assert product["title"] in await found(anyone, q=sku, sort="price")


async def test_titles_matter_most(store: Shop, word: str) -> None:
    """A word in the title counts more than one in an attribute, and that more than in the text."""
    text = await make(store, "Deep in the text", description=f"<p>… {word} …</p>")
    attribute = await make(store, "In an attribute", attributes={"Kind": word})
    title = await make(store, f"In the title {word}")
    expected = [title["title"], attribute["title"], text["title"]]
    assert await found(store.client(), q=word) == expected


async def test_mistakes_are_forgiven(store: Shop, word: str) -> None:
    """A mistyped word finds what was meant, together with words that were typed right."""
    title = f"Samovar{word} of brass"
    await make(store, title)
    anyone = store.client()
    for mistaken in (f"samovr{word}", f"samovar{word[:-1]}", f"brass samvoar{word}"):
        assert await found(anyone, q=mistaken) == [title], mistaken
    assert await found(anyone, q=f"copper samovr{word}") == []
    assert await found(anyone, q="qqqqxxxx") == []


async def test_filters(store: Shop, word: str) -> None:
    """Price bounds include both ends; only what is available counts as in stock."""
    for amount, on_hand in ((1000, 1), (2000, 0), (3000, 1)):
        await make(store, f"{word} {amount}", amount=amount, on_hand=on_hand)
    anyone = store.client()
    for params, expected in (
        ({"minPrice": 1000, "maxPrice": 2000}, ["1000", "2000"]),
        ({"minPrice": 2001}, ["3000"]),
        ({"maxPrice": 999}, []),
        ({"inStock": "true"}, ["1000", "3000"]),
        ({"inStock": "true", "minPrice": 1001}, ["3000"]),
        ({"inStock": "false"}, ["1000", "2000", "3000"]),
        ({"category": "no-such-category"}, []),
        ({"category": str(new_id())}, []),
    ):
        titles = await found(anyone, q=word, sort="price", **params)
        assert titles == [f"{word} {one}" for one in expected], params


async def test_reserved_is_not_in_stock(new_store: NewStore) -> None:
    """What is reserved whole is not in stock."""
    store = await new_store()
    product = await store.product(on_hand=2)
    async with store.database("products").transaction() as tx:
        await tx.execute("UPDATE stock SET reserved = 2 WHERE sku = $1", product["sku"])
    anyone = store.client()
    assert await found(anyone, inStock="true") == []
    assert await found(anyone) == [product["title"]]


async def test_orders(store: Shop, word: str) -> None:
    """Each way to sort gives its order; titles without regard to case and accents."""
    for title, amount in (("b", 300), ("Á", 200), ("C", 100)):
        await make(store, f"{title} {word}", amount=amount)
    anyone = store.client()
    for sort, expected in (
        ("price", ["C", "Á", "b"]),
        ("-price", ["b", "Á", "C"]),
        ("newest", ["C", "Á", "b"]),
        ("title", ["Á", "b", "C"]),
    ):
        assert await found(anyone, q=word, sort=sort) == [f"{one} {word}" for one in expected]


async def test_facets(store: Shop, word: str) -> None:
    """Facets count all that was found: categories with those above, price ranges, attributes."""
    staff = await store.staff()
    top = (await staff.post("/v1/categories", json={"name": f"Top {word}"})).json()
    body = {"name": f"Leaf {word}", "parentId": top["id"]}
    leaf = (await staff.post("/v1/categories", json=body)).json()
    for amount, colour, category in ((500, "Red", leaf), (1500, "Red", leaf), (9999, "Blue", top)):
        attributes = {"Colour": colour}
        await make(
            store, f"{word} thing", amount=amount, attributes=attributes,
            categories=[category["id"]],
        )  # fmt: skip
    answer = await store.client().get(
        "/v1/products", params={"q": word, "facets": "true", "limit": 1}
    )
    facets = answer.json()["facets"]
    assert [(one["id"], one["count"]) for one in facets["categories"]] == [
        (top["id"], 3),
        (leaf["id"], 2),
    ]
    assert [(one["minPrice"], one["maxPrice"], one["count"]) for one in facets["prices"]] == [
        (0, 999, 1),
        (1000, 2499, 1),
        (5000, 9999, 1),
    ]
    assert facets["attributes"] == [
        {"name": "Colour", "values": [{"value": "Red", "count": 2}, {"value": "Blue", "count": 1}]}
    ]
    assert (facets["counted"], facets["complete"]) == (3, True)
    plain = await store.client().get("/v1/products", params={"q": word})
    assert "facets" not in plain.json()


async def test_facets_are_bounded(new_store: NewStore) -> None:
    """Facets count so many products and no more, and say so."""
    store = await new_store({"TRADEWIND_PRODUCTS_FACET_MATCHES_MOST": "2"})
    for _ in range(3):
        await store.product()
    facets = (await store.client().get("/v1/products?facets=true")).json()["facets"]
    assert (facets["counted"], facets["complete"]) == (2, False)


async def test_searches_at_once(store: Shop, word: str) -> None:
    """Many searches at the same moment each get their own answer."""
    for place in range(5):
        await make(store, f"{word}{'abcde'[place]}")
    anyone = store.client()
    answers = await asyncio.gather(
        *(found(anyone, q=f"{word}{'abcde'[place % 5]}", sort="price") for place in range(50))
    )
    assert answers == [[f"{word}{'abcde'[place % 5]}"] for place in range(50)]

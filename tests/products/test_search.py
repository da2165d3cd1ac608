"""Finding products: words, mistakes, filters, order, pages."""

import asyncio
import json
from base64 import urlsafe_b64encode
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shop import NewStore, Shop
from tradewind.platform.ids import new_id
from tradewind.products.model.texts import folded, sanitised, title_key

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


@pytest.fixture(scope="module")
def anyone(store: Shop) -> httpx.AsyncClient:
    """One client for a great many questions."""
    return store.client()


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


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"sort": "price; drop table"}, "sort"),
        ({"minPrice": -1}, "minPrice"),
        ({"maxPrice": 2**63}, "maxPrice"),
        ({"minPrice": "1.5"}, "minPrice"),
        ({"minPrice": 2, "maxPrice": 1}, "maxPrice"),
        ({"inStock": "perhaps"}, "inStock"),
        ({"facets": "all"}, "facets"),
        ({"status": "sold"}, "status"),
        ({"q": "x" * 201}, "q"),
        ({"q": "a\0b"}, "q"),
        ({"cursor": "no"}, "cursor"),
        ({"cursor": "x" * 600}, "cursor"),
        ({"category": "x" * 101}, "category"),
    ],
)
async def test_bad_parameters_are_named(store: Shop, params: dict[str, Any], field: str) -> None:
    """A parameter that cannot be is refused by name."""
    refused = await store.client().get("/v1/products", params=params)
    assert refused.status_code == 422, refused.text
    assert [one["field"] for one in refused.json()["errors"]] == [field]


async def test_cursor_of_another_list(store: Shop) -> None:
    """A cursor goes on only in the order that it came from."""
    for _ in range(2):
        await store.product()
    anyone = store.client()
    page = (await anyone.get("/v1/products", params={"sort": "price", "limit": 1})).json()
    for sort in ("title", "-price", "newest"):
        params = {"sort": sort, "cursor": page["next"]}
        refused = await anyone.get("/v1/products", params=params)
        assert refused.status_code == 422


def cursor_of(value: Any) -> str:
    """A value as a client would forge it into a cursor."""
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


texts = st.text(max_size=60) | st.sampled_from(
    ["'", '"', "\\", "%", "a & b | !c", "(((", "<->", ":*", "-", "--", "or or", "\u2028", "🫖" * 20]
)
numbers = st.integers() | st.floats() | st.text(max_size=20)
keysets = st.tuples(
    st.sampled_from(SORTS) | st.text(max_size=5),
    st.text(max_size=20)
    | st.integers().map(str)
    | st.floats().map(str)
    | st.sampled_from(["1e400", "1e-400", "NaN", "Infinity", "-0", "9" * 30, "0x1"]),
    st.uuids().map(str) | st.text(max_size=5),
    st.none() | st.uuids().map(str) | st.integers(),
    st.lists(st.lists(st.text(max_size=10) | st.sampled_from(["a", "x_", "²", "ß", "_"]))),
)
cursors = st.text(max_size=40) | keysets.map(cursor_of)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    params=st.fixed_dictionaries(
        {},
        optional={
            "q": texts,
            "category": texts,
            "minPrice": numbers,
            "maxPrice": numbers,
            "inStock": st.booleans() | texts,
            "sort": st.sampled_from(SORTS) | texts,
            "facets": st.just("true") | texts,
            "status": texts,
            "limit": st.integers(-5, 200) | texts,
            "cursor": cursors,
        },
    )
)
async def test_no_parameters_break_it(anyone: httpx.AsyncClient, params: dict[str, Any]) -> None:
    """Whatever is asked, the answer is a page or names what is wrong."""
    answer = await anyone.get("/v1/products", params=_sendable(params))
    assert answer.status_code in (200, 401, 422), (params, answer.text)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(q=texts, keyset=keysets, sort=st.sampled_from(SORTS))
async def test_no_cursor_breaks_it(
    anyone: httpx.AsyncClient, q: str, keyset: Any, sort: str
) -> None:
    """A forged cursor is refused or followed, whatever it holds."""
    params = {"q": q or "x", "sort": sort, "cursor": cursor_of((sort, *keyset[1:]))}
    answer = await anyone.get("/v1/products", params=_sendable(params))
    assert answer.status_code in (200, 422), (params, answer.text)


async def test_bytes_that_are_no_text(store: Shop) -> None:
    """A query that is not UTF-8, or names a parameter twice, breaks nothing."""
    for query in ("q=%ff%fe", "q=%00", "q=%ed%a0%80", "q=a&q=b", "limit=1&limit=2", "q", "&&=&"):
        answer = await store.client().get(f"/v1/products?{query}")
        assert answer.status_code in (200, 422), (query, answer.text)


def _sendable(params: dict[str, Any]) -> dict[str, Any]:
    """Without what the client library itself cannot write down."""
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in params.items()
    }


@given(st.text(max_size=80))
async def test_folding_is_final(text: str) -> None:
    """What is folded stays so, and keys of titles can stand in a cursor."""
    assert folded(folded(text)) == folded(text)
    assert len(title_key(text).encode()) <= 160


@given(st.text(alphabet="<>/&;\"'=apbscrilkeh \n", max_size=80))
async def test_sanitising_is_final(html: str) -> None:
    """What is sanitised stays so; else every import would change it again."""
    assert sanitised(sanitised(html)) == sanitised(html)


async def test_searches_at_once(store: Shop, word: str) -> None:
    """Many searches at the same moment each get their own answer."""
    for place in range(5):
        await make(store, f"{word}{'abcde'[place]}")
    anyone = store.client()
    answers = await asyncio.gather(
        *(found(anyone, q=f"{word}{'abcde'[place % 5]}", sort="price") for place in range(50))
    )
    assert answers == [[f"{word}{'abcde'[place % 5]}"] for place in range(50)]

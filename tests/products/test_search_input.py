"""Finding products, whatever is asked: bad parameters are named, and nothing breaks the search."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shop import Shop
from tradewind.products.model.texts import folded, sanitised, title_key

pytestmark = pytest.mark.asyncio

SORTS = ("relevance", "price", "-price", "newest", "title")


@pytest.fixture(scope="module")
def anyone(store: Shop) -> httpx.AsyncClient:
    """One client for a great many questions."""
    return store.client()


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

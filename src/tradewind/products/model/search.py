"""What is sought and how it is found; one rule: a page goes on exactly after the one before.

Pure. Relevance is a score over the newest CANDIDATES_MOST matches not newer than the first page
(`until`), so that rows made meanwhile neither shift a page nor repeat on it.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from tradewind.platform.money import Money
from tradewind.products.model.catalogue import Image, Product, Status
from tradewind.products.model.refusals import invalid
from tradewind.products.model.texts import folded
from tradewind.products.model.views import CategoryRef

Sort = Literal["relevance", "price", "-price", "newest", "title"]

CANDIDATES_MOST = 1_000
QUERY_LENGTH_MOST = 200
QUERY_WORDS_MOST = 12
FIRST_ID = UUID(int=0)
LAST_ID = UUID(int=2**128 - 1)
PRICE_EDGES_MINOR = (1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000)
"""Where price facets begin, beside 0."""

_CORRECTION_BYTES_MOST = 120
_WORD = re.compile(r"\w+")
_LETTERS = re.compile(r"[^\W\d_]{3,32}")
_TAG = re.compile(r"<[^>]*>")
_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)
_DECIMAL = re.compile(r"\d{1,9}(?:\.\d{1,30})?(?:e-?\d{1,2})?", re.ASCII)

Word = Annotated[str, msgspec.Meta(pattern=r"^\w{1,40}\Z")]
Words = Annotated[tuple[Word, ...], msgspec.Meta(min_length=1, max_length=4)]
Corrections = Annotated[tuple[Words, ...], msgspec.Meta(max_length=QUERY_WORDS_MOST)]
"""For each word of the query, what it may have been meant to be."""


class Sought(msgspec.Struct, frozen=True, kw_only=True):
    """One question to the catalogue; prices in minor units, both ends included."""

    text: str = ""
    category_id: UUID | None = None
    min_price_minor: int | None = None
    max_price_minor: int | None = None
    in_stock: bool = False
    sort: Sort = "newest"
    status: Status = "active"
    corrections: Corrections = ()
    skus_of: tuple[UUID, ...] = ()
    """Products of which a SKU is exactly what was asked for."""


class Keyset(msgspec.Struct, frozen=True, array_like=True):
    """After which row a page goes on: what `value` is, `sort` says."""

    sort: Sort
    value: Annotated[str, msgspec.Meta(max_length=200)]
    id: UUID
    until: UUID | None = None
    corrections: Corrections = ()


class ProductItem(msgspec.Struct, frozen=True, rename="camel"):
    """A product in a list."""

    id: UUID
    slug: str
    title: str
    price: Money
    images: list[Image]
    available: int
    categories: list[CategoryRef]


class CategoryCount(msgspec.Struct, frozen=True, rename="camel"):
    """So many of what was found lie in the category or below it."""

    id: UUID
    slug: str
    name: str
    count: int


class PriceCount(msgspec.Struct, frozen=True, rename="camel"):
    """So many cost between `minPrice` and `maxPrice`, both included; null: no limit."""

    min_price: int
    max_price: int | None
    count: int


class ValueCount(msgspec.Struct, frozen=True, rename="camel"):
    """So many have this value of the attribute."""

    value: str
    count: int


class AttributeCounts(msgspec.Struct, frozen=True, rename="camel"):
    """The most frequent values of an attribute."""

    name: str
    values: list[ValueCount]


class Facets(msgspec.Struct, frozen=True, rename="camel"):
    """What there is among all that was found; `complete` is false where only the newest counted."""

    categories: list[CategoryCount]
    prices: list[PriceCount]
    attributes: list[AttributeCounts]
    counted: int
    complete: bool


class SearchTexts(msgspec.Struct, frozen=True):
    """What of a product is searched, folded."""

    title: str
    skus: str
    attributes: str
    description: str


def search_texts(product: Product) -> SearchTexts:
    """What a product is found by."""
    return SearchTexts(
        title=folded(product.title),
        skus=folded(" ".join(variant.sku for variant in product.variants)),
        attributes=_attributes(product),
        description=folded(_TAG.sub(" ", product.description)),
    )


def _attributes(product: Product) -> str:
    names = [f"{name} {value}" for name, value in product.attributes.items()]
    for variant in product.variants:
        names += [variant.title, *variant.options.values()]
    return folded(" ".join(dict.fromkeys(names)))


def known_words(products: Iterable[Product]) -> list[str]:
    """The words that typing errors are looked up among, in order."""
    found: set[str] = set()
    for product in products:
        found.update(_LETTERS.findall(folded(product.title)))
        found.update(_LETTERS.findall(_attributes(product)))
    return sorted(found)


def query_words(text: str) -> list[str]:
    """The words of a query, folded; what is to be left out (`-word`) is not among them."""
    kept = [part for part in folded(text).split() if not part.startswith("-")]
    return _WORD.findall(" ".join(kept))[:QUERY_WORDS_MOST]


def corrected(words: Sequence[str], similar: Mapping[str, Sequence[str]]) -> Corrections:
    """Each word and what is similar to it; nothing where no word was mistyped."""
    if not similar:
        return ()
    for most in (3, 1):
        found = tuple((word[:40], *similar.get(word, ())[:most]) for word in words)
        if len(msgspec.json.encode(found)) <= _CORRECTION_BYTES_MOST:
            return found
    return ()


def correction_text(corrections: Corrections) -> str:
    """In the language of `to_tsquery`; words have no letters that mean something there."""
    return " & ".join("(" + " | ".join(words) + ")" for words in corrections)


def first_keyset(sort: Sort) -> Keyset:
    """Before all rows."""
    values = {"relevance": "Infinity", "price": "-1", "-price": str(10**18), "title": ""}
    upwards = sort in ("price", "title")
    return Keyset(sort, values.get(sort, ""), FIRST_ID if upwards else LAST_ID)


def checked(keyset: Keyset, sort: Sort) -> Keyset:
    """A client's keyset, if it is one of this list; raises Invalid otherwise."""
    fits = keyset.sort == sort and "\0" not in keyset.value
    if sort in ("price", "-price"):
        fits = fits and _INTEGER.fullmatch(keyset.value) is not None
    if sort == "relevance":
        fits = fits and _DECIMAL.fullmatch(keyset.value) is not None
        fits = fits and keyset.until is not None and math.isfinite(float(keyset.value or "nan"))
    if not fits:
        raise invalid("cursor", "This is not a cursor of this list.")
    return keyset


def price_counts(by_bucket: Mapping[int, int]) -> list[PriceCount]:
    """Named ranges from `width_bucket` over PRICE_EDGES_MINOR."""
    lows = (0, *PRICE_EDGES_MINOR)
    highs: tuple[int | None, ...] = (*(edge - 1 for edge in PRICE_EDGES_MINOR), None)
    return [
        PriceCount(lows[bucket], highs[bucket], count)
        for bucket, count in sorted(by_bucket.items())
    ]

"""SQL that finds products; one rule: a page costs the same however large the catalogue is.

Each way to sort has an index that gives the rows in order, so that a page reads little more than
what it shows; categories keep copies of the sort keys (placements). A query is put together from
literal pieces, which all number their parameters alike: $1 status, $2 and $3 the keyset, $4 limit,
$5 category, $6 and $7 price bounds, $8 text, $9 products that are asked for by SKU, $10 the newest
product that counts.

Configuration of the full-text search: every text is indexed and sought both as `simple` (each word
as it stands: any language, SKUs) and as `english` (stems: `kettles` finds `kettle`).
"""

from collections.abc import Sequence
from typing import Any, LiteralString
from uuid import UUID

import msgspec

from tradewind.platform.database import Reading, Row
from tradewind.platform.money import Money
from tradewind.products.model.catalogue import Image, Status
from tradewind.products.model.search import (
    CANDIDATES_MOST,
    LAST_ID,
    PRICE_EDGES_MINOR,
    AttributeCounts,
    CategoryCount,
    Facets,
    Keyset,
    ProductItem,
    Sort,
    Sought,
    correction_text,
    price_counts,
)
from tradewind.products.model.views import CategoryRef

_images = msgspec.json.Decoder(list[Image])
_refs = msgspec.json.Decoder(list[CategoryRef])
_category_counts = msgspec.json.Decoder(list[CategoryCount])
_bucket_counts = msgspec.json.Decoder(dict[int, int], strict=False)
_attribute_counts = msgspec.json.Decoder(list[AttributeCounts])

# `given` gives parameters that a query has no use for their type; it is never evaluated.
_PAGE: LiteralString = """
WITH given AS (SELECT $1::text, $2::text, $3::uuid, $4::int, $5::uuid, $6::bigint, $7::bigint,
    $8::text, $9::uuid[], $10::uuid)
SELECT k.id, (/*key*/)::text AS key FROM /*source*/ AS k WHERE true /*filters*/ /*order*/
"""
_RELEVANT: LiteralString = """
WITH given AS (SELECT $1::text, $2::text, $3::uuid, $4::int, $5::uuid, $6::bigint, $7::bigint,
    $8::text, $9::uuid[], $10::uuid),
candidates AS MATERIALIZED (
    SELECT k.id, k.search FROM /*source*/ AS k
    WHERE k.search @@ /*words*/ AND k.id <= $10 AND k.id <> ALL ($9) /*filters*/
    ORDER BY k.id DESC LIMIT $11::int
),
scored AS (
    SELECT id, ts_rank('{0.05, 0.3, 0.4, 1}', search, /*words*/, 1)::float8 AS score
    FROM candidates
    UNION ALL
    SELECT k.id, 100 FROM /*source*/ AS k WHERE k.id = ANY ($9) /*filters*/
)
SELECT id, score::text AS key FROM scored WHERE (score, id) < ($2::float8, $3)
ORDER BY score DESC, id DESC LIMIT $4
"""

_FACETS: LiteralString = """
WITH given AS (SELECT $1::text, $2::text, $3::uuid, $4::int, $5::uuid, $6::bigint, $7::bigint,
    $8::text, $9::uuid[], $10::uuid),
found AS MATERIALIZED (
    SELECT k.id, k.price_minor FROM /*source*/ AS k WHERE true /*filters*/
    ORDER BY k.id DESC LIMIT $4
),
valued AS (
    SELECT name, value, count(*) AS count,
        row_number() OVER (PARTITION BY name ORDER BY count(*) DESC, value) AS place,
        sum(count(*)) OVER (PARTITION BY name) AS of_name
    FROM found JOIN products ON products.id = found.id,
        jsonb_each_text(attributes) AS a (name, value)
    GROUP BY name, value
)
SELECT
    (SELECT count(*) FROM found) AS counted,
    coalesce((SELECT json_agg(to_json(c)) FROM (
        SELECT categories.id, slug, categories.name, count(*) AS count
        FROM found JOIN placements ON product_id = found.id
        JOIN categories ON categories.id = category_id
        GROUP BY categories.id ORDER BY count DESC, categories.name LIMIT 50) AS c),
        '[]') AS categories,
    coalesce((SELECT json_object_agg(bucket, count) FROM (
        SELECT width_bucket(price_minor, $11::bigint[]) AS bucket, count(*) AS count
        FROM found GROUP BY 1) AS b), '{}') AS prices,
    coalesce((SELECT json_agg(to_json(n)) FROM (
        SELECT name, json_agg(json_build_object('value', value, 'count', count) ORDER BY place)
            AS values
        FROM valued WHERE place <= 10 GROUP BY name, of_name
        ORDER BY of_name DESC, name LIMIT 20) AS n), '[]') AS attributes
"""

_ALL: LiteralString = "(SELECT id, price_minor, title_key, search FROM products WHERE status = $1)"
_CATEGORY: LiteralString = """
(SELECT product_id AS id, price_minor, title_key FROM placements
    WHERE category_id = $5 AND status = $1)
"""
_CATEGORY_TEXTS: LiteralString = """
(SELECT product_id AS id, placements.price_minor, placements.title_key, search
    FROM placements JOIN products ON products.id = product_id
    WHERE category_id = $5 AND placements.status = $1)
"""

_PRICE_FROM: LiteralString = " AND k.price_minor >= $6"
_PRICE_TO: LiteralString = " AND k.price_minor <= $7"
# As a value and not as EXISTS, which might be turned into a join with all there is.
_IN_STOCK: LiteralString = """
 AND (SELECT bool_or(on_hand > reserved) FROM variants JOIN stock USING (sku)
    WHERE variants.product_id = k.id)
"""
_TYPED: LiteralString = """
(websearch_to_tsquery('english', $8) || websearch_to_tsquery('simple', $8))
"""
_CORRECTED: LiteralString = "(to_tsquery('english', $8) || to_tsquery('simple', $8))"

_ORDERED: dict[Sort, tuple[LiteralString, LiteralString]] = {
    "newest": ("''", " AND k.id < $3 ORDER BY k.id DESC LIMIT $4"),
    "price": (
        "k.price_minor",
        " AND (k.price_minor, k.id) > ($2::bigint, $3) ORDER BY k.price_minor, k.id LIMIT $4",
    ),
    "-price": (
        "k.price_minor",
        """
 AND (k.price_minor, k.id) < ($2::bigint, $3) ORDER BY k.price_minor DESC, k.id DESC LIMIT $4
""",
    ),
    "title": (
        "k.title_key",
        ' AND (k.title_key, k.id) > ($2 COLLATE "C", $3) ORDER BY k.title_key, k.id LIMIT $4',
    ),
}


def needs_own_plan(sought: Sought) -> bool:
    """Whether the best way to answer depends on the values, so that no plan may be kept."""
    return bool(
        sought.text
        or sought.corrections
        or sought.min_price_minor is not None
        or sought.max_price_minor is not None
    )


def _source(sought: Sought, *, texts: bool) -> LiteralString:
    if sought.category_id is None:
        return _ALL
    return _CATEGORY_TEXTS if texts else _CATEGORY


def _filters(sought: Sought) -> LiteralString:
    filters: LiteralString = ""
    if sought.min_price_minor is not None:
        filters += _PRICE_FROM
    if sought.max_price_minor is not None:
        filters += _PRICE_TO
    if sought.in_stock:
        filters += _IN_STOCK
    return filters


def _query(sought: Sought) -> LiteralString:
    return _CORRECTED if sought.corrections else _TYPED


def _matching(sought: Sought) -> LiteralString:
    if not sought.text:
        return ""
    if sought.skus_of:
        return " AND (k.search @@ " + _query(sought) + " OR k.id = ANY ($9))"
    return " AND k.search @@ " + _query(sought)


def _arguments(sought: Sought, after: Keyset, limit: int) -> tuple[Any, ...]:
    return (
        sought.status,
        after.value,
        after.id,
        limit,
        sought.category_id,
        sought.min_price_minor,
        sought.max_price_minor,
        correction_text(sought.corrections) or sought.text,
        list(sought.skus_of),
        after.until or LAST_ID,
    )


async def list_found(
    reading: Reading, sought: Sought, after: Keyset, limit: int
) -> list[tuple[UUID, str]]:
    """What was found after a keyset, in order: id and sort value."""
    if sought.sort == "relevance":
        return await _list_relevant(reading, sought, after, limit)
    key, order = _ORDERED[sought.sort]
    query = (
        _PAGE.replace("/*key*/", key)
        .replace("/*source*/", _source(sought, texts=bool(sought.text)))
        .replace("/*filters*/", _filters(sought) + _matching(sought))
        .replace("/*order*/", order)
    )
    rows = await reading.fetch(query, *_arguments(sought, after, limit))
    return [(row["id"], row["key"]) for row in rows]


async def _list_relevant(
    reading: Reading, sought: Sought, after: Keyset, limit: int
) -> list[tuple[UUID, str]]:
    """The best of the newest matches, after those of which a SKU is what was asked for."""
    query = (
        _RELEVANT.replace("/*source*/", _source(sought, texts=True))
        .replace("/*words*/", _query(sought))
        .replace("/*filters*/", _filters(sought))
    )
    rows = await reading.fetch(query, *_arguments(sought, after, limit), CANDIDATES_MOST)
    return [(row["id"], row["key"]) for row in rows]


async def list_items(
    reading: Reading, product_ids: Sequence[UUID], status: Status
) -> list[ProductItem]:
    """What a list shows of these products, in this order."""
    rows = await reading.fetch(
        """
        SELECT p.id, p.slug, p.title, p.price_minor, p.currency,
            (SELECT sum(on_hand - reserved)::bigint FROM variants JOIN stock USING (sku)
                WHERE variants.product_id = p.id) AS available,
            coalesce((SELECT json_agg(to_json(i)) FROM (
                SELECT url, alt FROM images WHERE product_id = p.id ORDER BY position) AS i),
                '[]') AS images,
            coalesce((SELECT json_agg(to_json(c)) FROM (
                SELECT categories.id, slug, name FROM placements
                JOIN categories ON categories.id = category_id
                WHERE product_id = p.id AND direct ORDER BY categories.position, name) AS c),
                '[]') AS categories
        FROM unnest($1::uuid[]) WITH ORDINALITY AS given (id, place)
        JOIN products AS p ON p.id = given.id
        WHERE p.status = $2
        ORDER BY place
        """,
        list(product_ids),
        status,
    )
    return [_item(row) for row in rows]


def _item(row: Row) -> ProductItem:
    return ProductItem(
        id=row["id"],
        slug=row["slug"],
        title=row["title"],
        price=Money(row["price_minor"], row["currency"]),
        images=_images.decode(row["images"]),
        available=row["available"] or 0,
        categories=_refs.decode(row["categories"]),
    )


async def list_products_of_sku(reading: Reading, text: str) -> list[UUID]:
    """Products of which a SKU is this text, however it is written."""
    rows = await reading.fetch(
        "SELECT DISTINCT product_id FROM variants WHERE lower(sku) = lower($1) LIMIT 20", text
    )
    return [row["product_id"] for row in rows]


async def find_newest(reading: Reading) -> UUID | None:
    """The newest product of all."""
    return await reading.fetch_value("SELECT id FROM products ORDER BY id DESC LIMIT 1")


async def list_similar_words(reading: Reading, words: Sequence[str]) -> dict[str, list[str]]:
    """For each word that no product has: those that look most like it, best first."""
    rows = await reading.fetch(
        """
        SELECT given.word, array_agg(found.word ORDER BY near DESC, found.word) AS similar
        FROM unnest($1::text[]) AS given (word), LATERAL (
            SELECT words.word, similarity(words.word, given.word) AS near FROM words
            WHERE words.word % given.word ORDER BY near DESC, words.word LIMIT 3) AS found
        WHERE NOT EXISTS (SELECT FROM words WHERE words.word = given.word)
        GROUP BY given.word
        """,
        list(words),
    )
    return {row["word"]: row["similar"] for row in rows}


async def count_facets(reading: Reading, sought: Sought, most: int) -> Facets:
    """What there is among the newest `most` of what is sought."""
    query = _FACETS.replace("/*source*/", _source(sought, texts=bool(sought.text))).replace(
        "/*filters*/", _filters(sought) + _matching(sought)
    )
    after = Keyset("newest", "", LAST_ID)
    row = await reading.fetch_row(
        query, *_arguments(sought, after, most + 1), list(PRICE_EDGES_MINOR)
    )
    if row is None:
        raise RuntimeError("a query of aggregates gave no row")
    return Facets(
        categories=_category_counts.decode(row["categories"]),
        prices=price_counts(_bucket_counts.decode(row["prices"])),
        attributes=_attribute_counts.decode(row["attributes"]),
        counted=min(row["counted"], most),
        complete=row["counted"] <= most,
    )

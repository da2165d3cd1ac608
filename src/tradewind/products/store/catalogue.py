"""SQL of products and variants; one rule: products are locked, by id, before they are changed.

Everything is written for many. What makes a product findable is saved in the same statement.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg
import msgspec

from tradewind.platform.database import Contended, Reading, Row, Transaction
from tradewind.platform.money import Money
from tradewind.products.model.catalogue import Image, Product, Variant
from tradewind.products.model.refusals import SlugTaken
from tradewind.products.model.search import known_words, search_texts
from tradewind.products.model.texts import title_key
from tradewind.products.model.views import CategoryRef, ProductView, VariantView, options_of


class _VariantRow(msgspec.Struct, frozen=True):
    sku: str
    title: str
    options: dict[str, str]
    price_minor: int
    currency: str
    compare_at_minor: int | None
    position: int
    available: int = 0


_variants = msgspec.json.Decoder(tuple[_VariantRow, ...])
_plain_variants = msgspec.json.Decoder(tuple[Variant, ...])
_images = msgspec.json.Decoder(list[Image])
_refs = msgspec.json.Decoder(list[CategoryRef])
_texts = msgspec.json.Decoder(dict[str, str])

_VIEW = """
SELECT p.id, p.slug, p.title, p.description, p.status, p.attributes, p.version, p.created_at,
    p.updated_at,
    (SELECT json_agg(to_json(v)) FROM (
        SELECT variants.sku, title, options, price_minor, currency, compare_at_minor, position,
            stock.on_hand - stock.reserved AS available
        FROM variants JOIN stock ON stock.sku = variants.sku
        WHERE product_id = p.id ORDER BY position) AS v) AS variants,
    coalesce((SELECT json_agg(to_json(i)) FROM (
        SELECT url, alt FROM images WHERE product_id = p.id ORDER BY position) AS i),
        '[]') AS images,
    coalesce((SELECT json_agg(to_json(c)) FROM (
        SELECT categories.id, slug, name FROM placements
        JOIN categories ON categories.id = category_id
        WHERE product_id = p.id AND direct ORDER BY categories.position, name) AS c),
        '[]') AS categories
FROM products AS p
"""


async def find_view(reading: Reading, product_id: UUID) -> tuple[ProductView, int] | None:
    """The full view of a product and its version."""
    row = await reading.fetch_row(_VIEW + "WHERE p.id = $1", product_id)
    return (_view(row), row["version"]) if row else None


async def find_view_by_slug(reading: Reading, slug: str) -> tuple[ProductView, int] | None:
    """The same by slug."""
    row = await reading.fetch_row(_VIEW + "WHERE p.slug = $1", slug)
    return (_view(row), row["version"]) if row else None


def _view(row: Row) -> ProductView:
    rows = _variants.decode(row["variants"])
    cheapest = min(rows, key=lambda one: (one.price_minor, one.position))
    variants = [
        VariantView(
            one.sku,
            one.title or row["title"],
            one.options,
            Money(one.price_minor, one.currency),
            _compare_at(one),
            one.available,
        )
        for one in rows
    ]
    return ProductView(
        id=row["id"],
        slug=row["slug"],
        title=row["title"],
        description=row["description"],
        status=row["status"],
        price=Money(cheapest.price_minor, cheapest.currency),
        compare_at_price=_compare_at(cheapest),
        available=sum(one.available for one in rows),
        categories=_refs.decode(row["categories"]),
        images=_images.decode(row["images"]),
        attributes=_texts.decode(row["attributes"]),
        options=options_of(variants),
        variants=variants,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _compare_at(row: _VariantRow) -> Money | None:
    """What it cost before; only where that was more."""
    if row.compare_at_minor is None or row.compare_at_minor <= row.price_minor:
        return None
    return Money(row.compare_at_minor, row.currency)


async def lock_products(tx: Transaction, product_ids: Sequence[UUID]) -> dict[UUID, Product]:
    """These products whole, locked by id."""
    # Locked first and read then: one statement would read the variants as they were before it
    # waited for the lock.
    await tx.execute(
        "SELECT FROM products WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE",
        list(product_ids),
    )
    rows = await tx.fetch(
        """
        SELECT p.id, p.slug, p.title, p.description, p.status, p.attributes, p.import_key,
            p.version,
            (SELECT json_agg(to_json(v) ORDER BY v.position) FROM variants AS v
                WHERE v.product_id = p.id) AS variants,
            coalesce((SELECT json_agg(to_json(i) ORDER BY i.position) FROM images AS i
                WHERE i.product_id = p.id), '[]') AS images,
            ARRAY(SELECT category_id FROM placements
                WHERE product_id = p.id AND direct ORDER BY category_id) AS categories
        FROM products AS p WHERE p.id = ANY ($1::uuid[])
        """,
        list(product_ids),
    )
    return {row["id"]: _product(row) for row in rows}


def _product(row: Row) -> Product:
    return Product(
        id=row["id"],
        slug=row["slug"],
        title=row["title"],
        description=row["description"],
        status=row["status"],
        attributes=_texts.decode(row["attributes"]),
        import_key=row["import_key"],
        variants=_plain_variants.decode(row["variants"]),
        categories=tuple(row["categories"]),
        images=tuple(_images.decode(row["images"])),
        version=row["version"],
    )


async def insert_products(tx: Transaction, products: Sequence[Product]) -> set[UUID]:
    """New products without what belongs to them; those whose slug is taken are left out.

    Raises Contended where another import made one of them just now.
    """
    try:
        rows = await _insert_products(tx, products)
    except asyncpg.UniqueViolationError as error:
        raise Contended("another import made the same product just now") from error
    return {row["id"] for row in rows}


async def _insert_products(tx: Transaction, products: Sequence[Product]) -> list[Row]:
    return await tx.fetch(
        """
        INSERT INTO products (id, slug, title, title_key, description, status, attributes,
            price_minor, currency, import_key, search)
        SELECT id, slug, title, title_key, description, status, attributes, price_minor, currency,
            import_key,
            setweight(to_tsvector('simple', t) || to_tsvector('english', t), 'A')
            || setweight(to_tsvector('simple', s), 'B')
            || setweight(to_tsvector('simple', a) || to_tsvector('english', a), 'C')
            || setweight(to_tsvector('english', d), 'D')
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
            $7::jsonb[], $8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[],
            $13::text[], $14::text[]) AS given (id, slug, title, title_key, description, status,
            attributes, price_minor, currency, import_key, t, s, a, d)
        ORDER BY slug
        ON CONFLICT (slug) DO NOTHING
        RETURNING id
        """,
        *_columns(products),
    )


async def update_products(tx: Transaction, products: Sequence[Product]) -> None:
    """Saves locked products without what belongs to them, each as its next version.

    Raises SlugTaken.
    """
    try:
        await tx.execute(
            """
            UPDATE products SET slug = given.slug, title = given.title,
                title_key = given.title_key, description = given.description,
                status = given.status, attributes = given.attributes,
                price_minor = given.price_minor, currency = given.currency,
                import_key = given.import_key, version = version + 1, updated_at = now(),
                search = setweight(to_tsvector('simple', t) || to_tsvector('english', t), 'A')
                || setweight(to_tsvector('simple', s), 'B')
                || setweight(to_tsvector('simple', a) || to_tsvector('english', a), 'C')
                || setweight(to_tsvector('english', d), 'D')
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                $7::jsonb[], $8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[],
                $13::text[], $14::text[]) AS given (id, slug, title, title_key, description,
                status, attributes, price_minor, currency, import_key, t, s, a, d)
            WHERE products.id = given.id
            """,
            *_columns(products),
        )
    except asyncpg.UniqueViolationError as error:
        raise SlugTaken("another product has this slug") from error


def _columns(products: Sequence[Product]) -> list[list[object]]:
    texts = [search_texts(one) for one in products]
    return [
        [one.id for one in products],
        [one.slug for one in products],
        [one.title for one in products],
        [title_key(one.title) for one in products],
        [one.description for one in products],
        [one.status for one in products],
        [_json(one.attributes) for one in products],
        [one.cheapest.price_minor for one in products],
        [one.cheapest.currency for one in products],
        [one.import_key for one in products],
        [one.title for one in texts],
        [one.skus for one in texts],
        [one.attributes for one in texts],
        [one.description for one in texts],
    ]


def _json(texts: Mapping[str, str]) -> str:
    return msgspec.json.encode(texts).decode()


async def insert_variants(tx: Transaction, variants: Sequence[tuple[UUID, Variant]]) -> set[str]:
    """New variants, each with its product; those whose SKU is taken are left out of the answer."""
    rows = await tx.fetch(
        """
        INSERT INTO variants (sku, product_id, title, options, price_minor, currency,
            compare_at_minor, position)
        SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::jsonb[], $5::bigint[],
            $6::text[], $7::bigint[], $8::int[]) AS given (sku)
        ORDER BY sku
        ON CONFLICT DO NOTHING
        RETURNING sku
        """,
        [one.sku for _, one in variants],
        [product_id for product_id, _ in variants],
        [one.title for _, one in variants],
        [_json(one.options) for _, one in variants],
        [one.price_minor for _, one in variants],
        [one.currency for _, one in variants],
        [one.compare_at_minor for _, one in variants],
        [one.position for _, one in variants],
    )
    return {row["sku"] for row in rows}


async def update_variants(tx: Transaction, variants: Sequence[Variant]) -> None:
    """Saves variants of locked products."""
    await tx.execute(
        """
        UPDATE variants SET title = given.title, options = given.options,
            price_minor = given.price_minor, currency = given.currency,
            compare_at_minor = given.compare_at_minor, position = given.position
        FROM unnest($1::text[], $2::text[], $3::jsonb[], $4::bigint[], $5::text[], $6::bigint[],
            $7::int[])
            AS given (sku, title, options, price_minor, currency, compare_at_minor, position)
        WHERE variants.sku = given.sku
        """,
        [one.sku for one in variants],
        [one.title for one in variants],
        [_json(one.options) for one in variants],
        [one.price_minor for one in variants],
        [one.currency for one in variants],
        [one.compare_at_minor for one in variants],
        [one.position for one in variants],
    )


async def update_images(tx: Transaction, images: Mapping[UUID, Sequence[Image]]) -> None:
    """Replaces the pictures of locked products."""
    await tx.execute("DELETE FROM images WHERE product_id = ANY ($1::uuid[])", list(images))
    rows = [(id_, place, one) for id_, many in images.items() for place, one in enumerate(many)]
    await tx.execute(
        """
        INSERT INTO images (product_id, position, url, alt)
        SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[])
        """,
        [id_ for id_, _, _ in rows],
        [place for _, place, _ in rows],
        [one.url for _, _, one in rows],
        [one.alt for _, _, one in rows],
    )


async def list_product_ids(reading: Reading, skus: Sequence[str]) -> list[UUID]:
    """The products that these SKUs belong to, each once."""
    rows = await reading.fetch(
        "SELECT DISTINCT product_id FROM variants WHERE sku = ANY ($1::text[])", list(skus)
    )
    return [row["product_id"] for row in rows]


async def insert_words(tx: Transaction, products: Sequence[Product]) -> None:
    """Notes the products' words. The last statement of a transaction: all that write wait here."""
    await tx.execute(
        """
        INSERT INTO words
        SELECT word FROM unnest($1::text[]) AS given (word)
        WHERE NOT EXISTS (SELECT FROM words WHERE words.word = given.word)
        ORDER BY word
        ON CONFLICT DO NOTHING
        """,
        known_words(products),
    )

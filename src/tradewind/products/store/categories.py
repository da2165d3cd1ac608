"""SQL of the tree of categories; one rule: whoever relies on the tree's shape locks the tree first.

Products are placed under the shared lock, the tree is changed under the exclusive one; the tree is
locked before any product.
"""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from tradewind.platform.database import Reading, Transaction
from tradewind.products.model.categories import Category
from tradewind.products.model.refusals import CategoryTaken, SlugTaken


async def lock_tree(tx: Transaction) -> None:
    """The tree will be changed: nobody else changes it or places products meanwhile."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtext('tradewind categories'))")


async def lock_tree_shared(tx: Transaction) -> None:
    """Products will be placed: nobody changes the tree meanwhile."""
    await tx.execute("SELECT pg_advisory_xact_lock_shared(hashtext('tradewind categories'))")


async def list_categories(reading: Reading) -> dict[UUID, Category]:
    """The whole tree."""
    rows = await reading.fetch("SELECT id, parent_id, slug, name, position FROM categories")
    return {row["id"]: Category(*row) for row in rows}


async def find_category_id(reading: Reading, slug: str) -> UUID | None:
    """The category with a slug."""
    return await reading.fetch_value("SELECT id FROM categories WHERE slug = $1", slug)


async def list_found(reading: Reading, names: Sequence[str]) -> dict[str, UUID]:
    """The categories among these ids and slugs, by what they were called."""
    rows = await reading.fetch(
        """
        SELECT given.name, categories.id FROM unnest($1::text[]) AS given (name)
        JOIN categories ON categories.slug = given.name OR categories.id::text = lower(given.name)
        """,
        list(names),
    )
    return {row["name"]: row["id"] for row in rows}


async def insert_categories(tx: Transaction, categories: Sequence[Category]) -> None:
    """New categories, parents first; raises SlugTaken or CategoryTaken."""
    try:
        await tx.execute(
            """
            INSERT INTO categories (id, parent_id, slug, name, position)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::int[])
            """,
            [one.id for one in categories],
            [one.parent_id for one in categories],
            [one.slug for one in categories],
            [one.name for one in categories],
            [one.position for one in categories],
        )
    except asyncpg.UniqueViolationError as error:
        raise _taken(error) from error


async def update_category(tx: Transaction, category: Category) -> None:
    """Saves an edited category; raises SlugTaken or CategoryTaken."""
    try:
        await tx.execute(
            """
            UPDATE categories SET parent_id = $2, slug = $3, name = $4, position = $5 WHERE id = $1
            """,
            category.id,
            category.parent_id,
            category.slug,
            category.name,
            category.position,
        )
    except asyncpg.UniqueViolationError as error:
        raise _taken(error) from error


def _taken(error: asyncpg.UniqueViolationError) -> SlugTaken | CategoryTaken:
    if error.constraint_name == "categories_slug_key":
        return SlugTaken("another category has this slug")
    return CategoryTaken("there is a category of this name at this place")


async def delete_category(tx: Transaction, category_id: UUID) -> None:
    """Removes a category that nothing refers to any more."""
    await tx.execute("DELETE FROM categories WHERE id = $1", category_id)


async def find_unarchived(tx: Transaction, category_id: UUID) -> UUID | None:
    """Some product in the category that is not archived."""
    return await tx.fetch_value(
        """
        SELECT product_id FROM placements
        WHERE category_id = $1 AND status IN ('draft', 'active') LIMIT 1
        """,
        category_id,
    )


async def lock_placed(tx: Transaction, category_id: UUID) -> list[UUID]:
    """All products in the category or below it, locked by id."""
    rows = await tx.fetch(
        """
        SELECT id FROM products
        WHERE id IN (SELECT product_id FROM placements WHERE category_id = $1)
        ORDER BY id FOR NO KEY UPDATE
        """,
        category_id,
    )
    return [row["id"] for row in rows]


async def insert_placements(tx: Transaction, pairs: Sequence[tuple[UUID, UUID]]) -> None:
    """Places products, (product, category) each, there and in all above."""
    await tx.execute(
        """
        WITH RECURSIVE up AS (
            SELECT product_id, category_id, true AS direct
            FROM unnest($1::uuid[], $2::uuid[]) AS given (product_id, category_id)
            UNION
            SELECT up.product_id, categories.parent_id, false
            FROM up JOIN categories ON categories.id = up.category_id
            WHERE categories.parent_id IS NOT NULL
        )
        INSERT INTO placements (product_id, category_id, direct, status, price_minor, title_key)
        SELECT products.id, up.category_id, bool_or(up.direct), status, price_minor, title_key
        FROM up JOIN products ON products.id = up.product_id
        GROUP BY products.id, up.category_id
        """,
        [product_id for product_id, _ in pairs],
        [category_id for _, category_id in pairs],
    )


async def delete_placements(tx: Transaction, product_ids: Sequence[UUID]) -> None:
    """Takes products out of all categories."""
    await tx.execute(
        "DELETE FROM placements WHERE product_id = ANY ($1::uuid[])", list(product_ids)
    )


async def delete_direct(tx: Transaction, category_id: UUID) -> None:
    """Takes products out of a category that has none below it; `update_ancestry` must follow."""
    await tx.execute("DELETE FROM placements WHERE category_id = $1", category_id)


async def update_ancestry(tx: Transaction, product_ids: Sequence[UUID]) -> None:
    """Places locked products anew in what their own categories lie in, after the tree changed."""
    await tx.execute(
        "DELETE FROM placements WHERE product_id = ANY ($1::uuid[]) AND NOT direct",
        list(product_ids),
    )
    await tx.execute(
        """
        WITH RECURSIVE up AS (
            SELECT product_id, categories.parent_id AS category_id, status, price_minor, title_key
            FROM placements JOIN categories ON categories.id = placements.category_id
            WHERE product_id = ANY ($1::uuid[])
            UNION
            SELECT up.product_id, categories.parent_id, status, price_minor, title_key
            FROM up JOIN categories ON categories.id = up.category_id
        )
        INSERT INTO placements (product_id, category_id, direct, status, price_minor, title_key)
        SELECT product_id, category_id, false, status, price_minor, title_key
        FROM up WHERE category_id IS NOT NULL
        ON CONFLICT DO NOTHING
        """,
        list(product_ids),
    )


async def update_copies(tx: Transaction, product_ids: Sequence[UUID]) -> None:
    """Copies what locked products are sorted by to where they are placed."""
    await tx.execute(
        """
        UPDATE placements SET status = products.status, price_minor = products.price_minor,
            title_key = products.title_key
        FROM products
        WHERE placements.product_id = ANY ($1::uuid[]) AND products.id = placements.product_id
            AND (placements.status, placements.price_minor, placements.title_key)
                IS DISTINCT FROM (products.status, products.price_minor, products.title_key)
        """,
        list(product_ids),
    )

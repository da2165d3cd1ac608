"""SQL of carts; one rule: a cart's version grows with every change of its lines."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from tradewind.platform.database import Reading, Row, Transaction

CartState = Literal["open", "checking_out", "checked_out"]


class Cart(msgspec.Struct, frozen=True):
    """A cart's own row."""

    id: UUID
    token_hash: bytes
    user_id: UUID | None
    currency: str | None
    state: CartState
    order_id: UUID | None
    version: int
    created_at: datetime
    updated_at: datetime


def _cart(row: Row | None) -> Cart | None:
    return Cart(*row) if row else None


async def insert_cart(tx: Transaction, cart: Cart, lines: Sequence[tuple[str, int]]) -> None:
    """A new cart with its lines (SKU, quantity)."""
    await tx.execute(
        """
        WITH made AS (
            INSERT INTO carts (id, token_hash, user_id, currency, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $5) RETURNING id
        )
        INSERT INTO cart_lines (cart_id, sku, quantity)
        SELECT made.id, sku, quantity
        FROM made, unnest($6::text[], $7::int[]) AS given (sku, quantity)
        """,
        cart.id,
        cart.token_hash,
        cart.user_id,
        cart.currency,
        cart.created_at,
        [sku for sku, _ in lines],
        [quantity for _, quantity in lines],
    )


async def find_cart(tx: Reading, cart_id: UUID) -> Cart | None:
    """One cart."""
    return _cart(
        await tx.fetch_row(
            """
            SELECT id, token_hash, user_id, currency, state, order_id, version, created_at,
                updated_at
            FROM carts WHERE id = $1
            """,
            cart_id,
        )
    )


async def lock_cart(tx: Transaction, cart_id: UUID) -> Cart | None:
    """One cart, locked."""
    return _cart(
        await tx.fetch_row(
            """
            SELECT id, token_hash, user_id, currency, state, order_id, version, created_at,
                updated_at
            FROM carts WHERE id = $1 FOR UPDATE
            """,
            cart_id,
        )
    )


async def list_lines(tx: Reading, cart_id: UUID) -> list[tuple[str, int]]:
    """(SKU, quantity) in the order in which they were added."""
    rows = await tx.fetch(
        "SELECT sku, quantity FROM cart_lines WHERE cart_id = $1 ORDER BY added_at, sku", cart_id
    )
    return [(row[0], row[1]) for row in rows]


async def upsert_line(tx: Transaction, cart_id: UUID, sku: str, quantity: int) -> None:
    """Sets one line's quantity."""
    await tx.execute(
        """
        INSERT INTO cart_lines (cart_id, sku, quantity) VALUES ($1, $2, $3)
        ON CONFLICT (cart_id, sku) DO UPDATE SET quantity = excluded.quantity
        """,
        cart_id,
        sku,
        quantity,
    )


async def delete_line(tx: Transaction, cart_id: UUID, sku: str) -> None:
    """Removes one line, if it is there."""
    await tx.execute("DELETE FROM cart_lines WHERE cart_id = $1 AND sku = $2", cart_id, sku)


async def update_changed(tx: Transaction, cart_id: UUID, currency: str | None) -> int:
    """Notes a change of a locked cart; answers its new version."""
    return await tx.fetch_value(
        """
        UPDATE carts SET version = version + 1, updated_at = now(), currency = $2
        WHERE id = $1 RETURNING version
        """,
        cart_id,
        currency,
    )


async def delete_cart(tx: Transaction, cart_id: UUID) -> None:
    """Removes a cart and its lines."""
    await tx.execute("DELETE FROM carts WHERE id = $1", cart_id)


async def update_owner(tx: Transaction, cart_id: UUID, user_id: UUID) -> bool:
    """Makes a guest's cart the user's; the guest's secret is of no use any more."""
    tag = await tx.execute(
        """
        UPDATE carts SET user_id = $2, updated_at = now()
        WHERE id = $1 AND user_id IS NULL AND state = 'open'
        """,
        cart_id,
        user_id,
    )
    return tag == "UPDATE 1"


async def update_owners(tx: Transaction, adoptions: Sequence[tuple[bytes, UUID]]) -> set[bytes]:
    """The same by token hash, for many; answers whose carts were adopted."""
    rows = await tx.fetch(
        """
        UPDATE carts SET user_id = given.user_id, updated_at = now()
        FROM unnest($1::bytea[], $2::uuid[]) AS given (token_hash, user_id)
        WHERE carts.token_hash = given.token_hash AND carts.user_id IS NULL AND state = 'open'
        RETURNING carts.token_hash
        """,
        [token_hash for token_hash, _ in adoptions],
        [user_id for _, user_id in adoptions],
    )
    return {row[0] for row in rows}


async def update_checking_out(
    tx: Transaction, carts: Sequence[tuple[UUID, int, UUID]]
) -> set[UUID]:
    """Takes open carts of these versions for checkout: (cart, version, order) each.

    Answers the orders that have theirs: of two that come for the same cart at once, one.
    """
    rows = await tx.fetch(
        """
        UPDATE carts SET state = 'checking_out', order_id = given.order_id, updated_at = now()
        FROM unnest($1::uuid[], $2::int[], $3::uuid[]) AS given (id, version, order_id)
        WHERE carts.id = given.id AND carts.version = given.version AND state = 'open'
        RETURNING carts.order_id
        """,
        [cart_id for cart_id, _, _ in carts],
        [version for _, version, _ in carts],
        [order_id for _, _, order_id in carts],
    )
    return {row[0] for row in rows}


async def update_states(
    tx: Transaction, carts: Sequence[tuple[UUID, UUID]], state: CartState
) -> None:
    """Ends the checkout of carts: (cart, order) each; `open` gives them back to their owner."""
    await tx.execute(
        """
        UPDATE carts SET state = $3, updated_at = now(),
            order_id = CASE $3 WHEN 'open' THEN NULL ELSE carts.order_id END
        FROM unnest($1::uuid[], $2::uuid[]) AS given (id, order_id)
        WHERE carts.id = given.id AND carts.order_id = given.order_id AND state = 'checking_out'
        """,
        [cart_id for cart_id, _ in carts],
        [order_id for _, order_id in carts],
        state,
    )


async def delete_old_carts(tx: Transaction, days: int, most: int) -> int:
    """Forgets carts that nobody touched for so long; answers how many."""
    tag = await tx.execute(
        """
        DELETE FROM carts WHERE id = ANY (ARRAY(
            SELECT id FROM carts WHERE updated_at < now() - make_interval(days => $1)
            AND state <> 'checking_out' LIMIT $2))
        """,
        days,
        most,
    )
    return int(tag.split()[1])


async def delete_carts_of(tx: Transaction, user_ids: Sequence[UUID]) -> None:
    """Removes the open carts of erased people."""
    await tx.execute(
        "DELETE FROM carts WHERE user_id = ANY ($1::uuid[]) AND state <> 'checking_out'",
        list(user_ids),
    )


class HeldCart(msgspec.Struct, frozen=True, rename="camel"):
    """A cart as it is held about a person."""

    id: UUID
    state: str
    lines: dict[str, int]
    created_at: datetime


async def list_held(tx: Reading, user_id: UUID) -> list[HeldCart]:
    """A customer's carts with their lines."""
    rows = await tx.fetch(
        """
        SELECT id, state, created_at, (SELECT coalesce(jsonb_object_agg(sku, quantity), '{}')
            FROM cart_lines WHERE cart_id = carts.id) AS lines
        FROM carts WHERE user_id = $1 ORDER BY id DESC
        """,
        user_id,
    )
    return [
        HeldCart(
            row["id"],
            row["state"],
            msgspec.json.decode(row["lines"], type=dict[str, int]),
            row["created_at"],
        )
        for row in rows
    ]

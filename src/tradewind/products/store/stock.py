"""SQL of stock; one rule: levels are locked in the order of their SKUs before they are changed.

Reservations are locked before levels, by id; only `insert_reservations` comes after, and it makes
rows that nobody else has.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from tradewind.platform.database import Reading, Row, Transaction
from tradewind.platform.ids import new_id
from tradewind.products.model.stock import Article, Level, Movement, Reservation, ReservationState

_lines = msgspec.json.Decoder(dict[str, int])


async def insert_levels(tx: Transaction, skus: Sequence[str]) -> None:
    """A level of nothing for each SKU that has none."""
    await tx.execute(
        "INSERT INTO stock (sku) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", list(skus)
    )


async def find_level(tx: Reading, sku: str) -> Level | None:
    """One SKU's level."""
    row = await tx.fetch_row(
        "SELECT sku, on_hand, reserved, updated_at FROM stock WHERE sku = $1", sku
    )
    return Level(*row) if row else None


async def lock_levels(tx: Transaction, skus: Iterable[str]) -> dict[str, Level]:
    """The levels of these SKUs, locked in order."""
    rows = await tx.fetch(
        """
        SELECT sku, on_hand, reserved, updated_at FROM stock
        WHERE sku = ANY ($1::text[]) ORDER BY sku FOR NO KEY UPDATE
        """,
        list(skus),
    )
    return {row["sku"]: Level(*row) for row in rows}


async def lock_articles(tx: Transaction, skus: Iterable[str]) -> dict[str, Article]:
    """The SKUs as they are sold, their levels locked in order."""
    rows = await tx.fetch(
        """
        SELECT stock.sku, products.title, variants.title AS variant, variants.price_minor,
            variants.currency, products.status = 'active' AS active, on_hand - reserved AS available
        FROM stock JOIN variants USING (sku) JOIN products ON products.id = variants.product_id
        WHERE stock.sku = ANY ($1::text[]) ORDER BY stock.sku FOR NO KEY UPDATE OF stock
        """,
        list(skus),
    )
    return {row["sku"]: _article(row) for row in rows}


async def list_articles(tx: Reading, skus: Iterable[str]) -> dict[str, Article]:
    """The SKUs as they are sold now, unlocked: for showing, not for deciding."""
    rows = await tx.fetch(
        """
        SELECT stock.sku, products.title, variants.title AS variant, variants.price_minor,
            variants.currency, products.status = 'active' AS active, on_hand - reserved AS available
        FROM stock JOIN variants USING (sku) JOIN products ON products.id = variants.product_id
        WHERE stock.sku = ANY ($1::text[])
        """,
        list(skus),
    )
    return {row["sku"]: _article(row) for row in rows}


async def list_priced_currencies(tx: Reading, currencies: Iterable[str]) -> set[str]:
    """Those of the currencies that anything is priced in."""
    rows = await tx.fetch(
        """
        SELECT asked FROM unnest($1::text[]) AS asked
        WHERE EXISTS (SELECT 1 FROM variants WHERE currency = asked)
        """,
        list(currencies),
    )
    return {row[0] for row in rows}


def _article(row: Row) -> Article:
    title, variant = row["title"], row["variant"]
    if variant and variant != title:
        title = f"{title} – {variant}"
    return Article(
        row["sku"], title, row["price_minor"], row["currency"], row["active"], row["available"]
    )


async def insert_reservations(
    tx: Transaction, wanted: Mapping[UUID, Mapping[str, int]], seconds: int
) -> dict[UUID, datetime]:
    """Holds stock that is known to be available under lock; answers when each expires.

    An id that exists already is left alone and missing from the answer; the caller must then
    roll back, because the levels were changed for it too.
    """
    total: dict[str, int] = {}
    for lines in wanted.values():
        for sku, quantity in lines.items():
            total[sku] = total.get(sku, 0) + quantity
    rows = await tx.fetch(
        """
        WITH taken AS (
            UPDATE stock SET reserved = reserved + given.quantity, updated_at = now()
            FROM unnest($1::text[], $2::bigint[]) AS given (sku, quantity)
            WHERE stock.sku = given.sku AND on_hand - reserved >= given.quantity
            RETURNING 1
        ), made AS (
            INSERT INTO reservations (id, state, lines, expires_at)
            SELECT id, 'held', lines, now() + make_interval(secs => $5)
            FROM unnest($3::uuid[], $4::jsonb[]) AS given (id, lines)
            ON CONFLICT DO NOTHING
            RETURNING id, expires_at
        )
        SELECT id, expires_at, (SELECT count(*) FROM taken) AS taken FROM made
        """,
        list(total),
        list(total.values()),
        list(wanted),
        [msgspec.json.encode(lines).decode() for lines in wanted.values()],
        seconds,
    )
    if rows and rows[0]["taken"] != len(total):
        raise RuntimeError("a level changed under its lock")
    return {row["id"]: row["expires_at"] for row in rows}


async def lock_reservations(tx: Transaction, ids: Sequence[UUID]) -> dict[UUID, Reservation]:
    """These reservations, locked by id."""
    rows = await tx.fetch(
        """
        SELECT id, state, lines FROM reservations WHERE id = ANY ($1::uuid[])
        ORDER BY id FOR UPDATE
        """,
        list(ids),
    )
    return {row["id"]: _reservation(row) for row in rows}


async def list_known(tx: Transaction, ids: Sequence[UUID]) -> list[UUID]:
    """Those of these reservations that exist, unlocked: levels are locked already."""
    rows = await tx.fetch("SELECT id FROM reservations WHERE id = ANY ($1::uuid[])", list(ids))
    return [row["id"] for row in rows]


async def list_expired(tx: Reading, most: int) -> list[UUID]:
    """Held reservations whose time is over by the database's clock, the oldest first."""
    rows = await tx.fetch(
        """
        SELECT id FROM reservations WHERE state = 'held' AND expires_at <= now()
        ORDER BY expires_at LIMIT $1
        """,
        most,
    )
    return [row[0] for row in rows]


async def lock_expired(tx: Transaction, ids: Sequence[UUID]) -> list[Reservation]:
    """Those of them that are still held and over, locked, as far as they are free."""
    rows = await tx.fetch(
        """
        SELECT id, state, lines FROM reservations
        WHERE id = ANY ($1::uuid[]) AND state = 'held' AND expires_at <= now()
        ORDER BY expires_at FOR UPDATE SKIP LOCKED
        """,
        list(ids),
    )
    return [_reservation(row) for row in rows]


def _reservation(row: Row) -> Reservation:
    return Reservation(row["id"], row["state"], _lines.decode(row["lines"]))


async def update_held(tx: Transaction, ids: Sequence[UUID], seconds: int) -> None:
    """Holds locked reservations for so long from now, whatever they were."""
    await tx.execute(
        """
        UPDATE reservations SET state = 'held', settled_at = NULL,
            expires_at = now() + make_interval(secs => $2)
        WHERE id = ANY ($1::uuid[])
        """,
        list(ids),
        seconds,
    )


async def update_expiries(tx: Transaction, ids: Sequence[UUID], seconds: int) -> set[UUID]:
    """Holds these for so long from now; answers which were still held or kept."""
    rows = await tx.fetch(
        """
        UPDATE reservations SET
            expires_at = CASE state WHEN 'held' THEN now() + make_interval(secs => $2) END
        WHERE id = ANY ($1::uuid[]) AND state IN ('held', 'kept', 'confirmed') RETURNING id
        """,
        list(ids),
        seconds,
    )
    return {row["id"] for row in rows}


async def update_levels(
    tx: Transaction,
    *,
    reserved: Mapping[str, int] | None = None,
    movements: Sequence[Movement] = (),
    states: Mapping[UUID, ReservationState] | None = None,
) -> None:
    """Changes what is locked: `reserved` by SKU, what is on hand by movements.

    `states` are those that reservations end in.
    """
    on_hand: dict[str, int] = {}
    for movement in movements:
        on_hand[movement.sku] = on_hand.get(movement.sku, 0) + movement.delta
    reserved, states = reserved or {}, states or {}
    skus = sorted({*on_hand, *reserved})
    if not skus and not states:
        return
    await tx.execute(
        """
        WITH noted AS (
            INSERT INTO movements (id, sku, delta, reason, order_id)
            SELECT * FROM unnest($4::uuid[], $5::text[], $6::bigint[], $7::text[], $8::uuid[])
        ), settled AS (
            UPDATE reservations SET state = given.state, settled_at = now(), expires_at = NULL
            FROM unnest($9::uuid[], $10::text[]) AS given (id, state)
            WHERE reservations.id = given.id
        )
        UPDATE stock SET on_hand = on_hand + given.h, reserved = reserved + given.r,
            updated_at = now()
        FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS given (sku, h, r)
        WHERE stock.sku = given.sku
        """,
        skus,
        [on_hand.get(sku, 0) for sku in skus],
        [reserved.get(sku, 0) for sku in skus],
        [new_id() for _ in movements],
        [movement.sku for movement in movements],
        [movement.delta for movement in movements],
        [movement.reason for movement in movements],
        [movement.order_id for movement in movements],
        list(states),
        list(states.values()),
    )


async def insert_settled(tx: Transaction, reservations: Sequence[Reservation]) -> None:
    """Reservations that we have no record of, in the state that they are to have now."""
    await tx.execute(
        """
        INSERT INTO reservations (id, state, lines, settled_at)
        SELECT id, state, lines, now()
        FROM unnest($1::uuid[], $2::text[], $3::jsonb[]) AS given (id, state, lines)
        """,
        [one.id for one in reservations],
        [one.state for one in reservations],
        [msgspec.json.encode(one.lines).decode() for one in reservations],
    )


async def list_movements(
    tx: Reading, sku: str, before: UUID | None, most: int
) -> list[tuple[UUID, int, str, UUID | None, Any]]:
    """The ledger of one SKU, newest first: id, delta, reason, order, time."""
    rows = await tx.fetch(
        """
        SELECT id, delta, reason, order_id, created_at FROM movements
        WHERE sku = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
        """,
        sku,
        before,
        most,
    )
    return [tuple(row) for row in rows]


async def delete_settled(tx: Transaction, most: int) -> int:
    """Forgets reservations that were settled a month ago; answers how many."""
    tag = await tx.execute(
        """
        DELETE FROM reservations WHERE id = ANY (ARRAY(
            SELECT id FROM reservations WHERE settled_at < now() - interval '30 days'
            AND state <> 'kept' LIMIT $1))
        """,
        most,
    )
    return int(tag.split()[1])

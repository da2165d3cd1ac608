"""SQL of orders that stand; one rule: an order's row is locked before anything of it changes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from tradewind.orders.model.order import Line, Order
from tradewind.platform.database import Reading, Row, Transaction

_object = msgspec.json.Decoder(dict[str, Any])
_list = msgspec.json.Decoder(list[dict[str, Any]])
_units = msgspec.json.Decoder(dict[str, int])


class Fulfillment(msgspec.Struct, frozen=True):
    """A parcel; `lines` is quantity by SKU."""

    id: UUID
    order_id: UUID
    lines: dict[str, int]
    carrier: str | None
    tracking: str | None
    status: str
    created_at: datetime
    delivered_at: datetime | None


def _order(row: Row) -> Order:
    values = list(row)
    values[13] = _object.decode(row["shipping_address"])
    values[14] = _object.decode(row["billing_address"]) if row["billing_address"] else None
    values[16] = _list.decode(row["history"])
    return Order(*values)


async def list_orders(tx: Reading, ids: Sequence[UUID]) -> list[Order]:
    """These orders, newest first."""
    rows = await tx.fetch(
        """
        SELECT id, number, user_id, email, status, payment_status, fulfillment_status, currency,
            subtotal_minor, discount_minor, shipping_minor, tax_minor, total_minor,
            shipping_address, billing_address, reservation_id, history, version, created_at,
            updated_at
        FROM orders WHERE id = ANY ($1::uuid[]) ORDER BY id DESC
        """,
        list(ids),
    )
    return [_order(row) for row in rows]


async def lock_order(tx: Transaction, order_id: UUID) -> Order | None:
    """One order, locked."""
    row = await tx.fetch_row(
        """
        SELECT id, number, user_id, email, status, payment_status, fulfillment_status, currency,
            subtotal_minor, discount_minor, shipping_minor, tax_minor, total_minor,
            shipping_address, billing_address, reservation_id, history, version, created_at,
            updated_at
        FROM orders WHERE id = $1 FOR UPDATE
        """,
        order_id,
    )
    return _order(row) if row else None


async def find_owner(tx: Reading, order_id: UUID) -> tuple[UUID | None] | None:
    """Who an order belongs to (None inside: a guest's), or None where there is no such order."""
    row = await tx.fetch_row("SELECT user_id FROM orders WHERE id = $1", order_id)
    return (row[0],) if row else None


async def list_reserved(tx: Reading, reservation_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the reservations on which an order was placed."""
    rows = await tx.fetch(
        "SELECT reservation_id FROM orders WHERE reservation_id = ANY ($1::uuid[])",
        list(reservation_ids),
    )
    return {row[0] for row in rows}


async def list_ids_of_user(
    tx: Reading, user_id: UUID, status: str | None, before: UUID | None, most: int
) -> list[UUID]:
    """A customer's orders, newest first; `status` on any of the three axes."""
    rows = await tx.fetch(
        """
        SELECT id FROM orders WHERE user_id = $1
            AND ($2::text IS NULL OR status = $2 OR payment_status = $2 OR fulfillment_status = $2)
            AND ($3::uuid IS NULL OR id < $3)
        ORDER BY id DESC LIMIT $4
        """,
        user_id,
        status,
        before,
        most,
    )
    return [row[0] for row in rows]


async def list_ids(
    tx: Reading, status: str | None, wanted: str | None, before: UUID | None, most: int
) -> list[UUID]:
    """All orders for staff, newest first; `wanted` is a number or an e-mail address."""
    rows = await tx.fetch(
        """
        SELECT id FROM orders
        WHERE ($1::text IS NULL OR status = $1 OR payment_status = $1 OR fulfillment_status = $1)
            AND ($2::text IS NULL OR number = upper($2) OR email = lower($2))
            AND ($3::uuid IS NULL OR id < $3)
        ORDER BY id DESC LIMIT $4
        """,
        status,
        wanted,
        before,
        most,
    )
    return [row[0] for row in rows]


async def list_lines(tx: Reading, order_ids: Sequence[UUID]) -> list[Line]:
    """The lines of these orders, in order."""
    rows = await tx.fetch(
        """
        SELECT order_id, position, sku, title, quantity, unit_price_minor, total_minor,
            fulfilled_quantity, refunded_quantity
        FROM order_lines WHERE order_id = ANY ($1::uuid[]) ORDER BY order_id, position
        """,
        list(order_ids),
    )
    return [Line(*row) for row in rows]


async def list_fulfillments(tx: Reading, order_ids: Sequence[UUID]) -> list[Fulfillment]:
    """The parcels of these orders, oldest first."""
    rows = await tx.fetch(
        """
        SELECT id, order_id, lines, carrier, tracking, status, created_at, delivered_at
        FROM fulfillments WHERE order_id = ANY ($1::uuid[]) ORDER BY id
        """,
        list(order_ids),
    )
    return [_fulfillment(row) for row in rows]


def _fulfillment(row: Row) -> Fulfillment:
    values = list(row)
    values[2] = _units.decode(row["lines"])
    return Fulfillment(*values)


async def update_order(
    tx: Transaction,
    order: Order,
    *,
    status: str | None = None,
    payment_status: str | None = None,
    fulfillment_status: str | None = None,
    happened: dict[str, Any],
) -> None:
    """Moves a locked order along its axes and adds a line to its history."""
    await tx.execute(
        """
        UPDATE orders SET status = coalesce($2, status),
            payment_status = coalesce($3, payment_status),
            fulfillment_status = coalesce($4, fulfillment_status),
            history = history || $5::jsonb, version = version + 1, updated_at = now()
        WHERE id = $1
        """,
        order.id,
        status,
        payment_status,
        fulfillment_status,
        msgspec.json.encode([happened]).decode(),
    )


async def update_lines(
    tx: Transaction, order_id: UUID, *, fulfilled: dict[str, int], refunded: dict[str, int]
) -> None:
    """Adds to what was shipped and refunded of a locked order's lines."""
    skus = sorted({*fulfilled, *refunded})
    await tx.execute(
        """
        UPDATE order_lines SET fulfilled_quantity = fulfilled_quantity + given.f,
            refunded_quantity = refunded_quantity + given.r
        FROM unnest($2::text[], $3::int[], $4::int[]) AS given (sku, f, r)
        WHERE order_id = $1 AND order_lines.sku = given.sku
        """,
        order_id,
        skus,
        [fulfilled.get(sku, 0) for sku in skus],
        [refunded.get(sku, 0) for sku in skus],
    )


async def insert_fulfillment(tx: Transaction, one: Fulfillment) -> None:
    """A new parcel."""
    await tx.execute(
        """
        INSERT INTO fulfillments (id, order_id, lines, carrier, tracking, created_at)
        VALUES ($1, $2, $3::jsonb, $4, $5, $6)
        """,
        one.id,
        one.order_id,
        msgspec.json.encode(one.lines).decode(),
        one.carrier,
        one.tracking,
        one.created_at,
    )


async def update_delivered(tx: Transaction, order_id: UUID, fulfillment_id: UUID) -> bool:
    """A parcel has arrived; False where there is none such on its way."""
    tag = await tx.execute(
        """
        UPDATE fulfillments SET status = 'delivered', delivered_at = now()
        WHERE id = $2 AND order_id = $1 AND status = 'shipped'
        """,
        order_id,
        fulfillment_id,
    )
    return tag == "UPDATE 1"


async def insert_receipt(tx: Transaction, provider: str, notice_id: str) -> bool:
    """Notes a provider's notice; False where it was here before."""
    tag = await tx.execute(
        "INSERT INTO webhook_receipts (provider, notice_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        provider,
        notice_id,
    )
    return tag == "INSERT 0 1"


async def update_forgotten(tx: Transaction, user_ids: Sequence[UUID]) -> None:
    """Takes the person out of their orders; numbers, goods and sums stay (invoices)."""
    await tx.execute(
        """
        UPDATE orders SET user_id = NULL, email = 'erased@invalid',
            shipping_address = '{}', billing_address = NULL, version = version + 1
        WHERE user_id = ANY ($1::uuid[])
        """,
        list(user_ids),
    )


async def delete_answers_of(tx: Transaction, principals: Sequence[str]) -> None:
    """Removes the stored answers of erased people; a key that is still open stays."""
    await tx.execute(
        "DELETE FROM idempotency_keys WHERE principal = ANY ($1::text[]) AND status IS NOT NULL",
        list(principals),
    )

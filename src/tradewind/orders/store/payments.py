"""SQL of payments and refunds; one rule: what is under way has the time when it is due again."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from tradewind.orders.model.order import Payment
from tradewind.platform.database import Reading, Row, Transaction
from tradewind.platform.idempotency import Key

_units = msgspec.json.Decoder(dict[str, int])


class Refund(msgspec.Struct, frozen=True):
    """Money on its way back; `lines` (quantity by SKU) went back to stock."""

    id: UUID
    order_id: UUID
    payment_id: UUID
    amount_minor: int
    currency: str
    reason: str
    lines: dict[str, int] | None
    state: str
    created_at: datetime


async def list_payments(tx: Reading, order_ids: Sequence[UUID]) -> list[Payment]:
    """The payments of these orders."""
    rows = await tx.fetch(
        """
        SELECT id, order_id, provider, state, currency, amount_minor, authorized_minor,
            captured_minor, refunded_minor, reference, tries, created_at
        FROM payments WHERE order_id = ANY ($1::uuid[])
        """,
        list(order_ids),
    )
    return [Payment(*row) for row in rows]


async def find_payment(tx: Reading, payment_id: UUID) -> Payment | None:
    """One payment by its attempt id."""
    row = await tx.fetch_row(
        """
        SELECT id, order_id, provider, state, currency, amount_minor, authorized_minor,
            captured_minor, refunded_minor, reference, tries, created_at
        FROM payments WHERE id = $1
        """,
        payment_id,
    )
    return Payment(*row) if row else None


async def list_refunds(tx: Reading, order_ids: Sequence[UUID]) -> list[Refund]:
    """The refunds of these orders, oldest first."""
    rows = await tx.fetch(
        """
        SELECT id, order_id, payment_id, amount_minor, currency, reason, lines, state, created_at
        FROM refunds WHERE order_id = ANY ($1::uuid[]) ORDER BY id
        """,
        list(order_ids),
    )
    return [_refund(row) for row in rows]


def _refund(row: Row) -> Refund:
    values = list(row)
    values[6] = _units.decode(row["lines"]) if row["lines"] else None
    return Refund(*values)


async def update_payment(
    tx: Transaction,
    payment_id: UUID,
    *,
    state: str | None = None,
    authorized_minor: int = 0,
    captured_minor: int = 0,
    refunded_minor: int = 0,
    reference: str | None = None,
) -> None:
    """Adds to a payment's sums; it is not due any more."""
    await tx.execute(
        """
        UPDATE payments SET state = coalesce($2, state),
            authorized_minor = authorized_minor + $3, captured_minor = captured_minor + $4,
            refunded_minor = refunded_minor + $5, reference = coalesce($6, reference),
            due_at = NULL, updated_at = now()
        WHERE id = $1
        """,
        payment_id,
        state,
        authorized_minor,
        captured_minor,
        refunded_minor,
        reference,
    )


async def update_capturing(
    tx: Transaction, payment_id: UUID, key: Key | None, due_seconds: float
) -> None:
    """The provider is about to be asked for authorized money, under this idempotency key."""
    await tx.execute(
        """
        UPDATE payments SET state = 'capturing', updated_at = now(),
            due_at = now() + make_interval(secs => $2), capture_principal = $3, capture_key = $4
        WHERE id = $1
        """,
        payment_id,
        due_seconds,
        key.principal if key else None,
        key.key if key else None,
    )


async def find_capture_key(tx: Reading, payment_id: UUID) -> Key | None:
    """The key under which a capture was asked for."""
    row = await tx.fetch_row(
        "SELECT capture_principal, capture_key FROM payments WHERE id = $1", payment_id
    )
    return Key(row[0], row[1], b"") if row and row[0] is not None else None


async def lock_due_payments(tx: Transaction, most: int) -> list[Payment]:
    """Takes undecided payments that are due for a question; the next one is later each time."""
    rows = await tx.fetch(
        """
        UPDATE payments SET tries = tries + 1,
            due_at = now() + least(30, 2 ^ tries) * interval '1 second'
        WHERE id = ANY (ARRAY(SELECT id FROM payments WHERE due_at <= now()
            ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED))
        RETURNING id, order_id, provider, state, currency, amount_minor, authorized_minor,
            captured_minor, refunded_minor, reference, tries, created_at
        """,
        most,
    )
    return [Payment(*row) for row in rows]


async def insert_refund(tx: Transaction, refund: Refund, due_seconds: float) -> None:
    """Saves a refund before the provider is asked for it."""
    await tx.execute(
        """
        INSERT INTO refunds
            (id, order_id, payment_id, amount_minor, currency, reason, lines, due_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, now() + make_interval(secs => $8))
        """,
        refund.id,
        refund.order_id,
        refund.payment_id,
        refund.amount_minor,
        refund.currency,
        refund.reason,
        msgspec.json.encode(refund.lines).decode() if refund.lines else None,
        due_seconds,
    )


async def lock_due_refunds(tx: Transaction, most: int) -> list[Refund]:
    """Takes refunds that the provider has not confirmed yet; the next try is later each time."""
    rows = await tx.fetch(
        """
        UPDATE refunds SET tries = tries + 1,
            due_at = now() + least(60, 2 ^ tries) * interval '1 second'
        WHERE id = ANY (ARRAY(SELECT id FROM refunds WHERE due_at <= now()
            ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED))
        RETURNING id, order_id, payment_id, amount_minor, currency, reason, lines, state, created_at
        """,
        most,
    )
    return [_refund(row) for row in rows]


async def update_refund_settled(tx: Transaction, refund_id: UUID) -> bool:
    """The provider gave it back; False where that was known."""
    tag = await tx.execute(
        "UPDATE refunds SET state = 'settled', due_at = NULL WHERE id = $1 AND state = 'pending'",
        refund_id,
    )
    return tag == "UPDATE 1"

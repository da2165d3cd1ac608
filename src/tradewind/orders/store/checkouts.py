"""SQL of purchases under way and of orders being placed; one rule: arrays in, few statements."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
import msgspec

from tradewind.orders.contract import SoldLine
from tradewind.orders.model.order import Draft, NumberTaken, Order, Payment
from tradewind.platform.database import Reading, Row, Transaction
from tradewind.platform.idempotency import Key
from tradewind.platform.ids import new_id

_draft = msgspec.json.Decoder(Draft)


class OpenCheckout(msgspec.Struct, frozen=True):
    """A payment attempt under way: `id` is the attempt's id at the provider."""

    id: UUID
    key: Key
    draft: Draft


async def insert_checkouts(
    tx: Transaction, checkouts: Sequence[OpenCheckout], lease_seconds: float
) -> set[UUID]:
    """Saves attempts, before anybody is asked for money, together with their idempotency keys.

    Answers which were saved: those whose key nobody has. Each key may come once.
    """
    rows = await tx.fetch(
        """
        WITH given AS (
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bytea[],
                $6::text[], $7::bigint[], $8::text[], $9::bytea[])
                AS one (id, order_id, principal, key, fingerprint, provider, amount, currency,
                    draft)
        ), opened AS (
            INSERT INTO idempotency_keys (principal, key, fingerprint)
            SELECT principal, key, fingerprint FROM given ORDER BY principal, key
            ON CONFLICT DO NOTHING
            RETURNING principal, key
        )
        INSERT INTO checkouts (id, order_id, principal, key, provider, amount_minor, currency,
            draft, due_at)
        SELECT id, order_id, principal, key, provider, amount, currency, draft,
            now() + make_interval(secs => $10)
        FROM given JOIN opened USING (principal, key)
        RETURNING id
        """,
        [one.id for one in checkouts],
        [one.draft.order_id for one in checkouts],
        [one.key.principal for one in checkouts],
        [one.key.key for one in checkouts],
        [one.key.fingerprint for one in checkouts],
        [one.draft.provider for one in checkouts],
        [one.draft.total_minor for one in checkouts],
        [one.draft.currency for one in checkouts],
        [msgspec.json.encode(one.draft) for one in checkouts],
        lease_seconds,
    )
    return {row[0] for row in rows}


async def delete_placed(tx: Transaction, ids: Sequence[UUID]) -> set[UUID]:
    """Ends open checkouts that become orders; answers which were ours to end."""
    rows = await tx.fetch(
        "DELETE FROM checkouts WHERE id = ANY ($1::uuid[]) AND state = 'open' RETURNING id",
        list(ids),
    )
    return {row[0] for row in rows}


async def update_declined(tx: Transaction, ids: Sequence[UUID]) -> set[UUID]:
    """Ends open checkouts whose payment was refused; forgets who it was."""
    rows = await tx.fetch(
        """
        UPDATE checkouts SET state = 'declined', draft = NULL
        WHERE id = ANY ($1::uuid[]) AND state = 'open' RETURNING id
        """,
        list(ids),
    )
    return {row[0] for row in rows}


async def lock_due_checkouts(
    tx: Transaction, most: int, lease_seconds: float
) -> list[OpenCheckout]:
    """Takes half-done checkouts whose time is over, for so long, to finish them."""
    rows = await tx.fetch(
        """
        UPDATE checkouts SET due_at = now() + make_interval(secs => $2)
        WHERE id = ANY (ARRAY(
            SELECT id FROM checkouts WHERE state = 'open' AND due_at <= now()
            ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED))
        RETURNING id, principal, key, draft,
            (SELECT fingerprint FROM idempotency_keys AS kept
             WHERE kept.principal = checkouts.principal AND kept.key = checkouts.key) AS fingerprint
        """,
        most,
        lease_seconds,
    )
    return [_open(row) for row in rows]


async def find_open(tx: Reading, id_: UUID) -> OpenCheckout | None:
    """An attempt that is still under way."""
    row = await tx.fetch_row(
        """
        SELECT id, principal, key, draft, fingerprint
        FROM checkouts JOIN idempotency_keys USING (principal, key)
        WHERE id = $1 AND state = 'open'
        """,
        id_,
    )
    return _open(row) if row else None


def _open(row: Row) -> OpenCheckout:
    key = Key(row["principal"], row["key"], row["fingerprint"] or b"")
    return OpenCheckout(row["id"], key, _draft.decode(row["draft"]))


async def insert_orders(
    tx: Transaction,
    placed: Sequence[tuple[Order, Payment, Sequence[SoldLine]]],
    due_seconds: float,
) -> None:
    """New orders with their lines, payments and what was captured, all in one statement.

    Payments that are not decided are due for a question in `due_seconds`. Raises NumberTaken where
    an order has one of the numbers already.
    """
    try:
        await _insert_orders(tx, placed, due_seconds)
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == "orders_number_key":
            raise NumberTaken from error
        raise


async def _insert_orders(
    tx: Transaction,
    placed: Sequence[tuple[Order, Payment, Sequence[SoldLine]]],
    due_seconds: float,
) -> None:
    """The statement is long because it is four: apart they would be four round trips a batch."""
    encode = msgspec.json.encode
    orders = [order for order, _, _ in placed]
    payments = [payment for _, payment, _ in placed]
    await tx.execute(
        """
        WITH orders_made AS (
            INSERT INTO orders (id, number, user_id, email, status, payment_status, currency,
                subtotal_minor, total_minor, shipping_address, billing_address, reservation_id,
                history, created_at, updated_at)
            SELECT id, number, user_id, email, 'placed', payment_status, currency, subtotal,
                subtotal, shipping, billing, reservation_id, history, created_at, created_at
            FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[],
                $7::bigint[], $8::jsonb[], $9::jsonb[], $10::uuid[], $11::jsonb[],
                $12::timestamptz[])
                AS given (id, number, user_id, email, payment_status, currency, subtotal, shipping,
                    billing, reservation_id, history, created_at)
        ), lines_made AS (
            INSERT INTO order_lines
                (order_id, position, sku, title, quantity, unit_price_minor, total_minor)
            SELECT * FROM unnest($13::uuid[], $14::int[], $15::text[], $16::text[], $17::int[],
                $18::bigint[], $19::bigint[])
        ), transfers_made AS (
            INSERT INTO transfers (id, order_id, kind, debit, credit, amount_minor, currency)
            SELECT id, order_id, 'capture', 'provider:' || provider, 'sales', captured, currency
            FROM unnest($20::uuid[], $1::uuid[], $22::text[], $25::bigint[], $6::text[])
                AS given (id, order_id, provider, captured, currency)
            WHERE captured > 0
        )
        INSERT INTO payments (id, order_id, provider, state, currency, amount_minor,
            authorized_minor, captured_minor, reference, due_at)
        SELECT id, order_id, provider, state, currency, amount, authorized, captured, reference,
            CASE WHEN state IN ('pending', 'unclear') THEN now() + make_interval(secs => $27) END
        FROM unnest($21::uuid[], $1::uuid[], $22::text[], $23::text[], $6::text[], $7::bigint[],
            $24::bigint[], $25::bigint[], $26::text[])
            AS given (id, order_id, provider, state, currency, amount, authorized, captured,
                reference)
        """,
        [one.id for one in orders],
        [one.number for one in orders],
        [one.user_id for one in orders],
        [one.email for one in orders],
        [one.payment_status for one in orders],
        [one.currency for one in orders],
        [one.subtotal_minor for one in orders],
        [encode(one.shipping_address).decode() for one in orders],
        [encode(one.billing_address).decode() if one.billing_address else None for one in orders],
        [one.reservation_id for one in orders],
        [encode(one.history).decode() for one in orders],
        [one.created_at for one in orders],
        *_line_columns(placed),
        [new_id() for _ in placed],
        [one.id for one in payments],
        [one.provider for one in payments],
        [one.state for one in payments],
        [one.authorized_minor for one in payments],
        [one.captured_minor for one in payments],
        [one.reference for one in payments],
        due_seconds,
    )


def _line_columns(
    placed: Sequence[tuple[Order, Payment, Sequence[SoldLine]]],
) -> tuple[list[object], ...]:
    """Order, position, SKU, title, quantity, unit price, total: a list of each."""
    lines = [(order.id, i, line) for order, _, sold in placed for i, line in enumerate(sold)]
    return (
        [order_id for order_id, _, _ in lines],
        [position for _, position, _ in lines],
        [line.sku for _, _, line in lines],
        [line.title for _, _, line in lines],
        [line.quantity for _, _, line in lines],
        [line.unit_price_minor for _, _, line in lines],
        [line.total_minor for _, _, line in lines],
    )


async def insert_transfers(
    tx: Transaction, kind: str, moved: Sequence[tuple[UUID, str, int, str]]
) -> None:
    """Money that moved: (order, provider, minor units, currency) each.

    A capture goes from the provider's account to sales, a refund the other way.
    """
    moved = [one for one in moved if one[2] > 0]
    if not moved:
        return
    await tx.execute(
        """
        INSERT INTO transfers (id, order_id, kind, debit, credit, amount_minor, currency)
        SELECT id, order_id, $1,
            CASE $1 WHEN 'capture' THEN 'provider:' || provider ELSE 'sales' END,
            CASE $1 WHEN 'capture' THEN 'sales' ELSE 'provider:' || provider END, amount, currency
        FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::text[])
            AS given (id, order_id, provider, amount, currency)
        """,
        kind,
        [new_id() for _ in moved],
        [order_id for order_id, _, _, _ in moved],
        [provider for _, provider, _, _ in moved],
        [amount for _, _, amount, _ in moved],
        [currency for _, _, _, currency in moved],
    )


async def delete_old_declined(tx: Transaction, most: int) -> int:
    """Forgets declined attempts a month later."""
    tag = await tx.execute(
        """
        DELETE FROM checkouts WHERE id IN (
            SELECT id FROM checkouts WHERE state = 'declined'
            AND created_at < now() - interval '30 days' LIMIT $1)
        """,
        most,
    )
    return int(tag.split()[1])

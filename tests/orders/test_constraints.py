"""What no statement at all can write: the database has the last word on money and on axes (P5)."""

import asyncpg
import pytest

from orders.parts import Counter

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE payments SET refunded_minor = captured_minor + 1 WHERE order_id = $1",
        "UPDATE payments SET captured_minor = authorized_minor + 1 WHERE order_id = $1",
        "UPDATE payments SET authorized_minor = amount_minor + 1 WHERE order_id = $1",
        "UPDATE payments SET refunded_minor = -1 WHERE order_id = $1",
        "UPDATE payments SET state = 'paid' WHERE order_id = $1",
        "UPDATE orders SET total_minor = total_minor - 1 WHERE id = $1",
        "UPDATE orders SET subtotal_minor = -1, total_minor = -1 WHERE id = $1",
        "UPDATE orders SET discount_minor = subtotal_minor + 1, total_minor = -1 WHERE id = $1",
        "UPDATE orders SET status = 'open' WHERE id = $1",
        "UPDATE orders SET payment_status = 'captured' WHERE id = $1",
        "UPDATE orders SET fulfillment_status = 'shipped' WHERE id = $1",
        "UPDATE order_lines SET quantity = 0 WHERE order_id = $1",
        "UPDATE order_lines SET total_minor = total_minor + 1 WHERE order_id = $1",
        "UPDATE order_lines SET fulfilled_quantity = quantity + 1 WHERE order_id = $1",
        "UPDATE order_lines SET refunded_quantity = quantity + 1 WHERE order_id = $1",
        "UPDATE order_lines SET refunded_quantity = -1 WHERE order_id = $1",
        "UPDATE transfers SET amount_minor = 0 WHERE order_id = $1",
        "UPDATE transfers SET credit = debit WHERE order_id = $1",
    ],
)
async def test_no_statement_can_do_this(counter: Counter, statement: str) -> None:
    """Each of these rows would be a lie."""
    order = await counter.ordered(await counter.product(5))
    with pytest.raises(asyncpg.CheckViolationError):
        await counter.store.quietly("orders", statement, order["id"])


async def test_one_payment_for_an_order(counter: Counter) -> None:
    """A second one is refused."""
    order = await counter.ordered(await counter.product(5))
    with pytest.raises(asyncpg.UniqueViolationError):
        await counter.store.quietly(
            "orders",
            "INSERT INTO payments (id, order_id, provider, state, currency, amount_minor) "
            "VALUES (gen_random_uuid(), $1, 'test', 'pending', 'EUR', 1)",
            order["id"],
        )


LIES = {
    "left alone": """
        UPDATE payments SET state = 'pending', due_at = now() - interval '1 h' WHERE order_id = $1
    """,
    "the ledger says": "UPDATE transfers SET amount_minor = 1 WHERE order_id = $1",
    "sum to 0": """
        UPDATE transfers SET debit = credit, credit = debit WHERE order_id = $1 AND kind = 'capture'
    """,
    "reference is of one payment": """
        UPDATE payments SET reference = (SELECT reference FROM payments WHERE order_id = $1)
    """,
    "axes": "UPDATE orders SET payment_status = 'authorized' WHERE id = $1",
    "what we believe": "UPDATE test_provider_charges SET captured_minor = 1 WHERE order_id = $1",
    "no order holds more shipped": "UPDATE fulfillments SET lines = '{}' WHERE order_id = $1",
    "sum of its lines": "DELETE FROM order_lines WHERE order_id = $1",
    "refunds of a payment add up": "DELETE FROM refunds WHERE order_id = $1",
    "two attempts that both stand": """
        INSERT INTO test_provider_charges
        SELECT gen_random_uuid(), order_id, token, verdict, amount_minor, captured_minor, currency
        FROM test_provider_charges WHERE order_id = $1
    """,
    "no idempotency key stays open": """
        INSERT INTO idempotency_keys (principal, key, fingerprint, created_at)
        SELECT 'x', $1::uuid::text, '', now() - interval '1 h'
    """,
    "waits no longer than a minute": """
        INSERT INTO outbox (event_id, type, key, payload, created_at)
        SELECT $1, 'nobody.wants_it.v1', '', '', now() - interval '1 h'
    """,
}
"""What `check` says of it: a statement that only somebody with all rights could run."""


@pytest.mark.parametrize(("said", "statement"), LIES.items())
async def test_check_finds_what_is_wrong(counter: Counter, said: str, statement: str) -> None:
    """`check_services` names each of these lies, and is silent once it is taken back (P18)."""
    sku = await counter.product(5)
    await counter.ordered(sku)
    order = await counter.ordered({sku: 2})
    await counter.to_order(order["id"], "fulfillments")
    await counter.to_order(order["id"], "refunds", {"reason": "x", "amount": 1})
    assert await counter.broken() == counter.known_broken
    connection = await asyncpg.connect(**counter.owner.arguments())
    tables = ("orders", "order_lines", "payments", "transfers", "refunds", "fulfillments",
        "test_provider_charges", "idempotency_keys", "outbox")  # fmt: skip
    try:
        await connection.execute("SET search_path = orders")
        for table in tables:
            await connection.execute(f"CREATE TEMP TABLE kept_{table} AS TABLE {table}")
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(statement, order["id"])
        found = [fault for fault in await counter.broken() if fault not in counter.known_broken]
        assert any(said in fault for fault in found), found
    finally:
        for table in tables:
            await connection.execute(f"DELETE FROM {table}")
            overriding = "OVERRIDING SYSTEM VALUE" if table == "outbox" else ""
            await connection.execute(f"INSERT INTO {table} {overriding} TABLE kept_{table}")
        await connection.close()
    assert await counter.broken() == counter.known_broken

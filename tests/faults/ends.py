"""The whole promise, looked at in the database when a fault is over; one end for everybody."""

import asyncio
from collections import Counter as Count

import httpx

from faults.running import PATIENCE_SECONDS, Crowd, RunningStore

UNDONE = """
    SELECT 'orders outbox' AS what, count(*) AS many FROM orders.outbox
    UNION ALL SELECT 'products outbox', count(*) FROM products.outbox
    UNION ALL SELECT 'deliveries', count(*) FROM products.deliveries
    UNION ALL SELECT 'told late', count(*) FROM notifications.deliveries
    UNION ALL SELECT 'checkouts', count(*) FROM orders.checkouts WHERE state = 'open'
    UNION ALL SELECT 'keys', count(*) FROM orders.idempotency_keys WHERE status IS NULL
    UNION ALL SELECT 'payments', count(*) FROM orders.payments WHERE due_at IS NOT NULL
    UNION ALL SELECT 'kept', count(*) FROM products.reservations WHERE state = 'kept'
"""
ENDS = """
    SELECT email, count(*) AS orders, min(payment_status) AS payment,
        sum(coalesce(book.charges, 0)) AS charges
    FROM orders.orders LEFT JOIN (
        SELECT order_id, count(*) AS charges FROM orders.test_provider_charges
        WHERE captured_minor > 0 GROUP BY order_id) AS book ON book.order_id = orders.id
    WHERE email = ANY ($1::text[]) GROUP BY email
"""
MAILS = "SELECT recipient, kind FROM notifications.messages WHERE recipient = ANY ($1::text[])"
ON_HAND = 1_000_000
"""More than any crowd buys, however fast it is and however long a fault lasts."""


async def new_goods(running: RunningStore, many: int) -> list[str]:
    """The SKUs of so many new products, of which there is enough."""
    async with httpx.AsyncClient(base_url=running.base, timeout=60) as client:
        login = {"username": "staff@tradewind.example", "password": running.password}
        token = (await client.post("/v1/login", json=login)).json()["token"]
        skus: list[str] = []
        for number in range(many):
            body = {
                "title": f"Kettle {number}",
                "price": {"amount": 1000, "currency": "EUR"},
                "status": "active",
                "onHand": ON_HAND,
            }
            headers = {"Authorization": f"Bearer {token}"}
            made = await client.post("/v1/products", json=body, headers=headers)
            assert made.status_code == 201, made.text
            skus.append(made.json()["variants"][0]["sku"])
    return skus


async def _nothing_undone(running: RunningStore) -> None:
    """Waits until nothing is left in the database that somebody would still take up."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while left := {row[0]: row[1] for row in await running.rows(UNDONE) if row[1]}:
        assert asyncio.get_running_loop().time() < deadline, left
        await asyncio.sleep(0.1)


async def assert_one_end_each(running: RunningStore, crowd: Crowd) -> None:
    """The whole promise, looked at in the database."""
    await crowd.ask_again()
    await _nothing_undone(running)
    # What has left the outbox may still wait at a broker, and nobody may have been told of it yet.
    code, said = await running.command("events", "drained")
    assert code == 0, said
    await _nothing_undone(running)
    buyers = [wish.email for wish in crowd.wishes]
    ends = {row["email"]: row for row in await running.rows(ENDS, buyers)}
    mails: dict[str, Count[str]] = {}
    for email, kind in await running.rows(MAILS, buyers):
        mails.setdefault(email, Count[str]())[kind] += 1
    sold: Count[str] = Count()
    for wish in crowd.wishes:
        assert wish.answer is not None
        status, end = wish.answer[0], ends.get(wish.email)
        if wish.token == "tok_declined":
            assert (status, end) == (402, None)
            assert mails[wish.email] == {"payment_failed": 1}
        else:
            assert status in (201, 202), wish.answer
            assert end is not None
            assert (end["orders"], end["payment"], end["charges"]) == (1, "paid", 1), end
            assert mails[wish.email] == {"order_confirmed": 1}
            sold[wish.body["lines"][0]["sku"]] += 1
    rows = await running.rows(
        """
        SELECT sku, on_hand, coalesce((SELECT sum((lines->>sku)::int) FROM products.reservations
            WHERE state = 'held' AND lines ? sku), 0) AS held, reserved
        FROM products.stock WHERE sku = ANY ($1::text[])
        """,
        crowd.skus,
    )
    for sku, on_hand, held, reserved in rows:
        assert (on_hand, reserved) == (ON_HAND - sold[sku], held)
    code, said = await running.check()
    assert code == 0, said

"""A real store under load, and what happens to it: kill -9, a database that dies, stops, is full.

Everything that was acknowledged is there afterwards (P7), everything that was not has one end under
its key (P3), `tradewind check` holds (P18), each buyer is told once (P6), and nothing is left half
done (P16).
"""

import asyncio
import signal
from collections import Counter as Count
from collections.abc import AsyncGenerator

import asyncpg
import httpx
import pytest
import pytest_asyncio

from faults.running import PATIENCE_SECONDS, Crowd, RunningStore
from tradewind.platform.embedded.endpoint import find_endpoint
from tradewind.platform.embedded.home import Home

pytestmark = pytest.mark.asyncio

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
        sum((SELECT count(*) FROM orders.test_provider_charges AS book
            WHERE book.order_id = orders.id AND captured_minor > 0)) AS charges
    FROM orders.orders GROUP BY email
"""
ON_HAND = 5000


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningStore]:
    """A store that all these tests use, one after the other."""
    store = RunningStore(tmp_path_factory.mktemp("kills"))
    await store.start()
    yield store
    await store.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def crowd(running: RunningStore) -> Crowd:
    """A crowd that wants two goods, of which there is enough."""
    async with httpx.AsyncClient(base_url=running.base, timeout=60) as client:
        login = {"username": "staff@tradewind.example", "password": running.password}
        token = (await client.post("/v1/login", json=login)).json()["token"]
        skus: list[str] = []
        for number in range(2):
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
    return Crowd(running, skus)


async def assert_one_end_each(running: RunningStore, crowd: Crowd) -> None:
    """The whole promise, looked at in the database."""
    await crowd.ask_again()
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while left := {row[0]: row[1] for row in await running.rows(UNDONE) if row[1]}:
        assert asyncio.get_running_loop().time() < deadline, left
        await asyncio.sleep(0.1)
    ends = {row["email"]: row for row in await running.rows(ENDS)}
    mails: dict[str, Count[str]] = {}
    for email, kind in await running.rows("SELECT recipient, kind FROM notifications.messages"):
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


@pytest.mark.parametrize("with_database", [False, True], ids=["the store", "store and database"])
async def test_killed_under_load(running: RunningStore, crowd: Crowd, with_database: bool) -> None:
    """Kill -9 of the whole process, twice, in the middle of many purchases."""
    buying = asyncio.create_task(crowd.buy())
    for _ in range(2):
        await crowd.until(crowd.acknowledged + 40)
        running.kill(with_database=with_database)
        await running.gone()
        await running.start()
    await crowd.until(crowd.acknowledged + 10)
    crowd.end()
    await buying
    assert any(wish.heard for wish in crowd.wishes), "nobody noticed"
    await assert_one_end_each(running, crowd)


async def test_the_database_is_killed(running: RunningStore, crowd: Crowd) -> None:
    """Meanwhile it is 503 with a time to come back; then the store heals by itself."""
    buying = asyncio.create_task(crowd.buy())
    for _ in range(2):
        await crowd.until(crowd.acknowledged + 30)
        running.signal_database(signal.SIGKILL)
        await crowd.until(crowd.acknowledged + 30)
    crowd.end()
    await buying
    heard: Count[str] = Count()
    for wish in crowd.wishes:
        heard += wish.heard
    assert heard["503"], "nobody was told to come back"
    assert set(heard) <= {"503", "409"}, "the store itself always answered"
    await assert_one_end_each(running, crowd)


async def test_the_database_does_not_come_up_for_a_while(
    running: RunningStore, crowd: Crowd
) -> None:
    """Whatever keeps it down, it is tried again, and again, until it comes up; then all goes on."""
    settings = Home.at(running.home).data / "postgresql.auto.conf"
    kept = settings.read_text()
    buying = asyncio.create_task(crowd.buy(4))
    await crowd.until(20)
    settings.write_text(f"{kept}nonsense = 1\n")
    running.signal_database(signal.SIGKILL)
    await running.says("embedded database")  # the third failure in a row is an error
    settings.write_text(kept)
    await crowd.until(crowd.acknowledged + 20)
    crowd.end()
    await buying
    await assert_one_end_each(running, crowd)


async def test_the_database_hangs(running: RunningStore, crowd: Crowd) -> None:
    """SIGSTOP for some seconds: requests wait or are told to come back; then all goes on."""
    buying = asyncio.create_task(crowd.buy(4))
    await crowd.until(20)
    running.signal_database(signal.SIGSTOP)
    await asyncio.sleep(3)  # this long it hangs; nothing here depends on how long that is
    running.signal_database(signal.SIGCONT)
    await crowd.until(crowd.acknowledged + 20)
    crowd.end()
    await buying
    await assert_one_end_each(running, crowd)


async def test_no_connection_is_left(running: RunningStore, crowd: Crowd) -> None:
    """Somebody else has all connections: what is answered is right, the rest comes back later."""
    endpoint = find_endpoint(running.home)
    taken: list[asyncpg.Connection] = []
    buying = asyncio.create_task(crowd.buy(24))
    try:
        while True:
            taken.append(await asyncpg.connect(**endpoint.connect_arguments()))
    except asyncpg.TooManyConnectionsError:
        pass
    await crowd.until(crowd.acknowledged + 30)
    for connection in taken:
        await connection.close()
    await crowd.until(crowd.acknowledged + 30)
    crowd.end()
    await buying
    assert len(taken) > 10
    await assert_one_end_each(running, crowd)


async def test_a_second_look_from_another_terminal(running: RunningStore) -> None:
    """`check` names what is broken and says so by its exit code, while the store runs."""
    [row] = await running.rows(
        """
        INSERT INTO products.movements (id, sku, delta, reason)
        SELECT gen_random_uuid(), sku, 7, 'received' FROM products.stock LIMIT 1 RETURNING id
        """
    )
    code, said = await running.check()
    await running.rows("DELETE FROM products.movements WHERE id = $1", row["id"])
    assert code == 1
    assert "received + returned" in said
    assert (await running.check())[0] == 0

"""Stock: each guard alone, though the others stand behind it (P1, P2)."""

import asyncio
from collections.abc import AsyncGenerator
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from orders.conftest import counters, shared_counter
from orders.parts import Counter
from shop import WAITED_FOR
from tradewind.platform.database import Transaction
from tradewind.products.actions import stock as actions
from tradewind.products.actions.stock import Settlement
from tradewind.products.contract import OutOfStock, Reserve, Reserved, Wanted
from tradewind.products.model.stock import Article, allocated
from tradewind.products.store import stock as store

__all__ = ["counters", "shared_counter"]


@pytest_asyncio.fixture(loop_scope="session")
async def counter(shared_counter: Counter) -> AsyncGenerator[Counter]:
    """A store whose stock is looked at after each test."""
    yield shared_counter
    await shared_counter.store.settle()
    assert await shared_counter.broken() == shared_counter.known_broken


def test_all_of_a_wish_or_nothing() -> None:
    """The model takes nothing for a wish of which one line is short, and names what is left."""
    articles = {sku: Article(sku, sku, 100, "EUR", True, 5) for sku in "ab"}
    available = {"a": 5, "b": 5}
    wish = Reserve(uuid4(), (Wanted("a", 5), Wanted("b", 6)))
    refused = allocated(wish, articles, available)
    assert isinstance(refused, OutOfStock)
    assert refused.extra["lines"] == [{"sku": "b", "requested": 6, "available": 5}]
    assert available == {"a": 5, "b": 5}
    assert not isinstance(
        allocated(Reserve(uuid4(), (Wanted("a", 5),)), articles, available), Exception
    )
    assert available == {"a": 0, "b": 5}


@pytest.mark.asyncio
async def test_sql_takes_no_more_than_there_is(counter: Counter) -> None:
    """The statement that reserves looks once more, whatever its caller believes."""
    sku = await counter.product(3)
    database = counter.store.store.databases["products"]

    async def take(quantity: int) -> None:
        async with database.transaction() as tx:
            await store.insert_reservations(tx, {uuid4(): {sku: quantity}}, 600)

    with pytest.raises(RuntimeError, match="changed under its lock"):
        await take(4)
    assert await counter.level(sku) == (3, 0)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "change",
    [
        "reserved = on_hand + 1",
        "reserved = -1",
        "on_hand = -1",
        "on_hand = reserved - 1",
    ],
)
async def test_the_database_has_the_last_word(counter: Counter, change: str) -> None:
    """No statement at all can leave less on hand than is reserved, or less than nothing."""
    sku = await counter.product(3)
    with pytest.raises(asyncpg.CheckViolationError):
        await counter.store.quietly("products", f"UPDATE stock SET {change} WHERE sku = $1", sku)


@pytest.mark.asyncio
async def test_levels_are_locked_before_they_are_read(counter: Counter) -> None:
    """Who decides about a level holds it: nobody changes it between the look and the change."""
    sku = await counter.product(3)
    database = counter.store.store.databases["products"]
    for lock in (store.lock_articles, store.lock_levels):
        async with database.transaction() as tx:
            await lock(tx, [sku])
            with pytest.raises(asyncpg.LockNotAvailableError):
                await counter.store.quietly(
                    "products", "SELECT 1 FROM stock WHERE sku = $1 FOR NO KEY UPDATE NOWAIT", sku
                )


@pytest.mark.asyncio
async def test_a_repeated_wish_finds_what_it_holds(counter: Counter) -> None:
    """Also where it holds the very last units, so that nothing else is there."""
    sku = await counter.product(3)
    products = counter.store.context("orders").products
    wish = Reserve(uuid4(), (Wanted(sku, 3),))
    for _ in range(3):
        [outcome] = await products.reserve([wish])
        assert isinstance(outcome, Reserved)
    assert await counter.level(sku) == (3, 3)
    [other] = await products.reserve([Reserve(uuid4(), (Wanted(sku, 1),))])
    assert isinstance(other, OutOfStock)
    await products.release([wish.reservation_id])
    assert await counter.level(sku) == (3, 0)


@pytest.mark.asyncio
async def test_cancellations_lock_in_the_order_of_skus(counter: Counter) -> None:
    """A batch that gives one SKU back and returns another waits in order, and nobody deadlocks."""
    first, last = sorted([await counter.product(5), await counter.product(5)])
    products = counter.store.context("products")
    database = products.database
    held, sold = Reserve(uuid4(), (Wanted(last, 1),)), Reserve(uuid4(), (Wanted(first, 1),))
    await actions.reserve_stock(products, [held, sold])
    order = uuid4()
    async with database.transaction() as tx:
        settlement = Settlement(sold.reservation_id, order, "confirmed", {first: 1})
        await actions.settle_reservations(products, tx, [settlement])
    has_first = asyncio.Event()

    async def cancel() -> None:
        await has_first.wait()
        async with database.transaction() as tx:
            await actions.return_cancelled(
                tx,
                [
                    (held.reservation_id, uuid4(), {last: 1}),
                    (sold.reservation_id, order, {first: 1}),
                ],
            )

    async def wait_until_it_waits(tx: Transaction) -> None:
        while not await tx.fetch_value(WAITED_FOR):
            await asyncio.sleep(0.01)

    cancelling = asyncio.create_task(cancel())
    async with database.transaction() as tx:
        await store.lock_levels(tx, [first])
        has_first.set()
        await wait_until_it_waits(tx)
        await store.lock_levels(tx, [last])
    await cancelling
    assert await counter.level(first) == await counter.level(last) == (5, 0)


@pytest.mark.asyncio
async def test_what_is_kept_is_not_released(counter: Counter) -> None:
    """An order stands on it: neither a release nor an expiry gives its units to others."""
    sku = await counter.product(3)
    order = await counter.buy(sku, "tok_pending")
    while await counter.store.relay():
        pass
    rows = await counter.store.quietly(
        "products", "SELECT id FROM reservations WHERE state = 'kept' AND lines ? $1", sku
    )
    await counter.store.context("orders").products.release([row["id"] for row in rows])
    await counter.store.let_an_hour_pass()
    await counter.store.step("expiry")
    assert await counter.level(sku) == (3, 1)
    await counter.store.settle()
    assert (await counter.order(order["id"]))["paymentStatus"] == "paid"
    assert await counter.level(sku) == (2, 0)

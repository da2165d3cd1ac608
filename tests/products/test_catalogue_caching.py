"""Changes reach every process; one that keeps answers forgets what shows the change."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from uuid import UUID

import pytest
import pytest_asyncio

from shop import PATIENCE_SECONDS, SECRET, Shop, eventually
from tradewind.platform.cache import Answer, ResponseCache
from tradewind.platform.database import Database
from tradewind.platform.ids import new_id
from tradewind.platform.migrate import address_of
from tradewind.platform.outbox import Outbox
from tradewind.products.actions.catalogue import edit_product
from tradewind.products.actions.context import CHANNEL, ProductsContext, ProductsSettings
from tradewind.products.model.catalogue import ProductDraft

pytestmark = pytest.mark.asyncio

LONG = 3600.0


@pytest_asyncio.fixture(loop_scope="session")
async def elsewhere(store: Shop) -> AsyncGenerator[ProductsContext]:
    """Products in another process on the same database, with a cache of its own that lasts."""
    database = Database(address_of(store.owner, SECRET, "products"))
    await database.open()
    cache = ResponseCache(fresh_seconds=LONG, stale_seconds=LONG)
    context = ProductsContext(
        database, Outbox(), ProductsSettings(), store.context("products").orders, cache
    )
    await database.listen(CHANNEL, context.hear)
    await database.keep_listening()
    yield context
    await database.close()


def answer(*tags: str) -> Answer:
    """A public answer with these tags."""
    headers = [
        (b"cache-control", b"public, max-age=0, s-maxage=1"),
        (b"surrogate-key", " ".join(tags).encode()),
    ]
    return Answer(200, headers, b"{}")


async def keep(cache: ResponseCache, key: str, *tags: str) -> None:
    """Puts an answer into the cache."""

    async def produce() -> Answer:
        return answer(*tags)

    await cache.fill(key, produce)
    assert cache.get(key) is not None


async def caught_up(elsewhere: ProductsContext) -> None:
    """Waits until everything that was told before has been heard: what is told comes in order."""
    cache, mark = elsewhere.cache, new_id().hex
    assert cache is not None
    heard = asyncio.Event()
    await elsewhere.database.listen(CHANNEL, lambda told: heard.set() if told == mark else None)
    async with elsewhere.database.transaction() as tx:
        await tx.notify(CHANNEL, mark)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await heard.wait()
    await elsewhere.database.listen(CHANNEL, elsewhere.hear)


async def test_told_to_other_processes(store: Shop, elsewhere: ProductsContext) -> None:
    """Edits, adjustments and new categories drop what shows them elsewhere, and nothing else."""
    staff, cache = await store.staff(), elsewhere.cache
    assert cache is not None
    product, other = await store.product(), await store.product()
    level = f"/v1/inventory/{product['sku']}/adjustments"

    async def gone() -> bool:
        return cache.get("/a") is None

    for method, path, body, tag in (
        ("PATCH", f"/v1/products/{product['id']}", {"title": "New"}, f"product:{product['id']}"),
        ("POST", level, {"delta": -1, "reason": "damaged"}, f"product:{product['id']}"),
        ("PATCH", f"/v1/products/{product['id']}", {"title": "Newer"}, "list"),
        ("POST", "/v1/categories", {"name": product["sku"]}, "categories"),
    ):
        await caught_up(elsewhere)
        await keep(cache, "/a", tag)
        await keep(cache, "/b", f"product:{other['id']}")
        assert (await staff.request(method, path, json=body)).status_code in (200, 201)
        await eventually(gone)
        assert cache.get("/b") is not None


async def test_own_answers_go_at_once(store: Shop, elsewhere: ProductsContext) -> None:
    """The process that makes a change forgets what shows it before it answers."""
    product, cache = await store.product(), ResponseCache(fresh_seconds=LONG, stale_seconds=LONG)
    deaf = replace(elsewhere, cache=cache)
    await keep(cache, "/a", f"product:{product['id']}")
    await edit_product(deaf, UUID(product["id"]), ProductDraft(title="New"), None)
    assert cache.get("/a") is None


async def test_fill_overtaken_by_a_change(store: Shop, elsewhere: ProductsContext) -> None:
    """An answer that was fetched before the change, and came after it, is not kept."""
    staff, cache = await store.staff(), elsewhere.cache
    assert cache is not None
    product = await store.product()
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def produce() -> Answer:
        asked.set()
        await may_answer.wait()
        return answer(f"product:{product['id']}")

    await caught_up(elsewhere)
    await keep(cache, "/heard", f"product:{product['id']}")
    filling = asyncio.create_task(cache.fill("/slow", produce))
    await asked.wait()
    path = f"/v1/products/{product['id']}"
    assert (await staff.patch(path, json={"title": "New"})).status_code == 200

    async def heard() -> bool:
        return cache.get("/heard") is None

    await eventually(heard)
    may_answer.set()
    await filling
    assert cache.get("/slow") is None


async def test_too_many_to_name(elsewhere: ProductsContext) -> None:
    """Where a change is too large to be told in one message, everything is forgotten."""
    cache = elsewhere.cache
    assert cache is not None
    await keep(cache, "/a", "product:1")
    elsewhere.hear("")
    assert cache.get("/a") is None

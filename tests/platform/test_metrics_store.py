"""A store's metrics as Prometheus scrapes them, on the internal listener."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from faults.scrapes import Scraped, at, scrape, scrape_known
from servers import REDIS_PASSWORD, Broker, broker, started_redis
from shop import SECRET, NewStore, eventually, key, new_database, purchase, settings_of
from tradewind.compose import PACKAGES, Store, open_store
from tradewind.platform.database import Address
from tradewind.platform.metrics.names import METRICS
from tradewind.platform.migrate import migrate
from tradewind.platform.remote.keys import make_keys
from tradewind.products.service import load_demo_into_empty

__all__ = ["broker"]

ASKED = {
    "tradewind_deliveries_parked",
    "tradewind_deliveries_waiting",
    "tradewind_outbox_events",
    "tradewind_outbox_oldest_seconds",
    "tradewind_queue_messages",
}
"""What a scrape has to ask of other servers, and leaves out where one does not answer in time."""
pytestmark = pytest.mark.asyncio(loop_scope="session")


@asynccontextmanager
async def whole(postgres: Address, url: str, folder: Path) -> AsyncGenerator[Store]:
    """A store with every part there can be; users are elsewhere, and nobody answers there."""
    owner = await new_database(postgres)
    await migrate(owner, SECRET, PACKAGES)
    make_keys(folder / "keys", PACKAGES)
    async with started_redis(folder / "redis") as redis:
        there = f"redis://:{quote(REDIS_PASSWORD, safe='')}@127.0.0.1:{redis.address.port}"
        settings = settings_of(
            {
                "TRADEWIND_SESSIONS_URL": there,
                "TRADEWIND_CACHE_URL": there,
                "TRADEWIND_BROKER_URL": url,
                "TRADEWIND_SERVICE_KEYS": str(folder / "keys"),
                "TRADEWIND_USERS_URL": "http://127.0.0.1:9",
                "TRADEWIND_CLIENT_REQUESTS_PER_SECOND": "1000",
            }
        )
        here = ("products", "orders", "notifications")
        store = await open_store(settings, owner, SECRET, here=here, replica=owner)
        try:
            yield store
        finally:
            await store.close()


@pytest_asyncio.fixture(loop_scope="session")
async def complete(postgres: Address, broker: Broker, tmp_path: Path) -> AsyncGenerator[Store]:
    """A store of every part."""
    async with whole(postgres, broker.url, tmp_path) as store:
        yield store


async def test_every_metric_is_there(complete: Store, served: Any) -> None:
    """After a little traffic every documented metric has a value, and none is undocumented."""
    await load_demo_into_empty(complete.context("products"))
    front, inside = await served(complete.app), await served(complete.internal)
    page = (await front.client.get("/v1/products")).json()
    slug = page["items"][0]["id"]
    assert (await front.client.get(f"/v1/products/{slug}")).status_code == 200
    refused = await front.client.get("/v1/orders", headers={"Authorization": "Bearer nobody's"})
    assert refused.status_code == 503  # users are away

    async def all_there() -> Scraped | None:
        scraped = await scrape(inside.client)
        ours = {name for name, _ in scraped if name.startswith("tradewind_")}
        for part in ("_bucket", "_count", "_sum"):
            ours = {name.removesuffix(part) for name in ours}
        assert ours <= set(METRICS)
        missing = set(METRICS) - ours
        assert missing <= ASKED, missing
        # The queue is there once its consumer is.
        known = not missing and at(scraped, "tradewind_sample_known", sample="queue of orders")
        return scraped if known else None

    scraped = await eventually(all_there)
    users = {"callee": "users"}
    assert at(scraped, "tradewind_remote_failures_total", **users) >= 1
    address = {"address": "http://127.0.0.1:9", **users}
    assert at(scraped, "tradewind_remote_calls_in_flight", **address) == 0
    assert at(scraped, "tradewind_redis_away", redis="sessions") == 0
    assert at(scraped, "tradewind_redis_round_trips_total", redis="sessions") >= 1


async def test_values_move(new_store: NewStore, served: Any) -> None:
    """A purchase, its replay, a page from memory and a wrong path are counted where they belong."""
    shop = await new_store()
    inside = await served(shop.store.internal)
    sku = (await shop.product())["sku"]
    before = await scrape(inside.client)
    client, once = shop.client(), key()
    body = {**purchase(), "lines": [{"sku": sku, "quantity": 1}]}
    for _ in range(2):
        answer = await client.post("/v1/checkout", json=body, headers=once)
        assert answer.status_code == 201
    for _ in range(3):
        assert (await client.get("/v1/products")).status_code == 200
    assert (await client.get("/v1/nowhere/a@person.example")).status_code == 404
    after = await scrape(inside.client)

    def moved(name: str, **labels: str) -> float:
        return at(after, name, **labels) - at(before, name, **labels)

    count = "tradewind_http_request_duration_seconds_count"
    orders = {"service": "orders", "method": "POST", "route": "/v1/checkout"}
    assert moved(count, **orders, status="2xx") == 2
    assert moved("tradewind_http_errors_total", **orders) == 0
    assert moved("tradewind_idempotent_replays_total") == 1
    nobody = {"service": "", "method": "GET", "route": ""}
    assert moved(count, **nobody, status="4xx") == 1
    listed = {"service": "products", "method": "GET", "route": "/v1/products"}
    fetched = moved(count, **listed, status="2xx")
    assert fetched >= 1
    assert moved("tradewind_http_cached_answers_total") == 3 - fetched
    assert moved("tradewind_page_cache_fills_total") >= 1
    assert moved("tradewind_coalescer_members_total", coalescer="checkouts finished") == 1
    statements = "tradewind_database_statement_duration_seconds_count"
    assert moved(statements, service="orders") >= 3
    assert at(after, "tradewind_ready") == 1
    assert at(after, "tradewind_draining") == 0
    assert at(after, "tradewind_database_connections_most", service="orders") == 6


async def test_routes_are_templates(new_store: NewStore, served: Any) -> None:
    """A route is named by its template, kept pages too, and nothing a client sent is told."""
    shop = await new_store()
    inside = await served(shop.store.internal)
    made = await shop.product()
    client = shop.client(Authorization="Bearer canary-token", X_Request_ID="canary-request")
    for path in (
        f"/v1/products/{made['id']}",
        f"/v1/orders/{made['id']}?token=canary-query",
        "/v1/canary-path",
        "/canary@person.example",
    ):
        await client.get(path)
    await shop.client().get(f"/v1/products/{made['id']}", headers={"X-Request-ID": "canary"})
    await client.request("CANARY", "/v1/products")
    text = (await inside.client.get("/metrics")).text
    assert 'route="/v1/products/{product_id}"' in text
    assert "canary" not in text.lower()
    assert made["id"] not in text
    assert made["sku"] not in text


async def test_events_that_wait_are_told(new_store: NewStore, served: Any) -> None:
    """Depth and age of the outbox, and what is parked, are those of the tables."""
    shop = await new_store(working=False)
    inside = await served(shop.store.internal)
    async with shop.database("orders").transaction() as tx:
        await tx.execute(
            """
            INSERT INTO outbox (event_id, type, key, payload, created_at)
            SELECT gen_random_uuid(), 'trial', '', '', now() - interval '90 seconds'
            FROM generate_series(1, 3)
            """
        )
        await tx.execute(
            """
            INSERT INTO deliveries
                (event_id, reaction, type, key, payload, due_at, parked_at, error)
            SELECT gen_random_uuid(), 'r', 'trial', '', '', now(),
                CASE WHEN n > 1 THEN now() END, '' FROM generate_series(1, 5) AS n
            """
        )
    scraped = await scrape_known(inside.client, "events of orders", "events of users")
    assert at(scraped, "tradewind_outbox_events", service="orders") == 3
    assert 90 <= at(scraped, "tradewind_outbox_oldest_seconds", service="orders") < 300
    assert at(scraped, "tradewind_deliveries_waiting", service="orders") == 1
    assert at(scraped, "tradewind_deliveries_parked", service="orders") == 4
    assert at(scraped, "tradewind_outbox_events", service="users") == 0


async def test_a_blocked_loop_shows(new_store: NewStore, served: Any) -> None:
    """What holds the event loop up is seen by the probe."""
    shop = await new_store()
    lag = shop.store.metrics.lag

    async def looked() -> bool:
        return lag.up_to()[-1] >= 1

    await eventually(looked)
    seen = lag.seconds
    import time

    time.sleep(0.7)  # whatever it is, the loop does nothing else meanwhile

    async def noticed() -> bool:
        return lag.seconds - seen > 0.3

    await eventually(noticed)


async def test_two_stores_tell_their_own(new_store: NewStore, served: Any) -> None:
    """Two stores of one process share no counter."""
    one, other = await new_store(), await new_store()
    inside, beside = await served(one.store.internal), await served(other.store.internal)
    await one.client().get("/nowhere")
    nobody = {"service": "", "method": "GET", "route": "", "status": "4xx"}
    name = "tradewind_http_request_duration_seconds_count"
    assert at(await scrape(inside.client), name, **nobody) == 1
    assert at(await scrape(beside.client), name, **nobody) == 0

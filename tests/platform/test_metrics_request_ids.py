"""One request's id and trace in the log lines of all that it causes, over HTTP and AMQP."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from structlog.testing import capture_logs

from servers import Broker, broker
from shop import SECRET, NewStore, eventually, free_port, key, new_database, purchase, settings_of
from tradewind.compose import PACKAGES, Store, open_store
from tradewind.platform.bus import LocalBus
from tradewind.platform.database import Address, Transaction
from tradewind.platform.events import Message, encode
from tradewind.platform.inbox import Inbox
from tradewind.platform.migrate import migrate
from tradewind.platform.outbox import Outbox
from tradewind.platform.remote.keys import make_keys
from tradewind.platform.service import Events, start_workers
from tradewind.platform.web.serving import ServingSettings, serve
from tradewind.products.contract import ProductsChanged
from tradewind.products.service import load_demo_into_empty

__all__ = ["broker"]

pytestmark = pytest.mark.asyncio(loop_scope="session")
REQUEST_ID = "the-one-request"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {"X-Request-ID": REQUEST_ID, "traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01"}
_log = structlog.get_logger(__name__)


@asynccontextmanager
async def listening(app: Any, port: int) -> AsyncGenerator[None]:
    """An application that listens on this port."""
    stop, ready = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(
        serve(app, "127.0.0.1", port, settings=ServingSettings(), ready=ready.set, stop=stop)
    )
    await ready.wait()
    try:
        yield
    finally:
        stop.set()
        await serving


def from_hand_to_hand(inboxes: Mapping[str, Inbox]) -> Events:
    """Events without a broker."""
    bus = LocalBus()
    for inbox in inboxes.values():
        bus.subscribe(inbox)
    return Events(dict.fromkeys(inboxes, bus), ())


class Two:
    """Orders on one side, all others on the other; `front` is orders' public listener."""

    def __init__(self, orders: Store, others: Store, front: httpx.AsyncClient) -> None:
        self.orders = orders
        self.others = others
        self.front = front


@asynccontextmanager
async def two(owner: Address, folder: Path, url: str | None) -> AsyncGenerator[Two]:
    """Both, meeting over HTTP, and over the broker where there is one."""
    make_keys(folder, PACKAGES)
    ports = {name: free_port() for name in ("orders", "others", "front")}
    settings = settings_of(
        {
            "TRADEWIND_SERVICE_KEYS": str(folder),
            "TRADEWIND_ORDERS_URL": f"http://127.0.0.1:{ports['orders']}",
            "TRADEWIND_PRODUCTS_URL": f"http://127.0.0.1:{ports['others']}",
            "TRADEWIND_USERS_URL": f"http://127.0.0.1:{ports['others']}",
            "TRADEWIND_LOG_REQUESTS": "yes",
            **({"TRADEWIND_BROKER_URL": url} if url else {}),
        }
    )
    async with AsyncExitStack() as stack:
        stores: list[Store] = []
        for here in (("orders",), ("users", "products", "notifications")):
            store = await open_store(settings, owner, SECRET, here=here, working=url is not None)
            stack.push_async_callback(store.close)
            stores.append(store)
        orders, others = stores
        if url is None:
            services = [*orders.services, *others.services]
            for worker in await start_workers(services, from_hand_to_hand):
                stack.push_async_callback(worker.stop)
        await stack.enter_async_context(listening(orders.internal, ports["orders"]))
        await stack.enter_async_context(listening(others.internal, ports["others"]))
        await stack.enter_async_context(listening(orders.app, ports["front"]))
        base = f"http://127.0.0.1:{ports['front']}"
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=base, timeout=30))
        yield Two(orders, others, client)


def telling(store: Store) -> None:
    """From now on a reservation asked for over HTTP leaves a log line over there."""
    listener = store.parts.listener
    assert listener is not None
    exposed = listener._exposed["products"]
    method, reserve = exposed.methods["reserve"]

    async def told(*arguments: Any) -> Any:
        _log.info("reserving")
        return await reserve(*arguments)

    exposed.methods = {**exposed.methods, "reserve": (method, told)}


def reactions(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The reactions to events of the one request, as the log tells them."""
    return [
        one for one in lines if one["event"] == "reacted" and one.get("request_id") == REQUEST_ID
    ]


@pytest.mark.parametrize("way", ["from hand to hand", "over RabbitMQ"])
async def test_one_id_all_the_way(
    way: str, postgres: Address, broker: Broker, tmp_path: Path
) -> None:
    """The request, the call it makes, and the reactions to its event name the same request."""
    owner = await new_database(postgres)
    await migrate(owner, SECRET, PACKAGES)
    url = broker.url if way == "over RabbitMQ" else None
    async with two(owner, tmp_path / "keys", url) as both:
        await load_demo_into_empty(both.others.context("products"))
        telling(both.others)
        database = next(one.database for one in both.others.services if one.name == "products")
        async with database.reading() as reading:
            sku = await reading.fetch_value(
                "SELECT sku FROM stock WHERE on_hand - reserved > 0 LIMIT 1"
            )
        body = {**purchase(), "lines": [{"sku": sku, "quantity": 1}]}
        with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
            answer = await both.front.post("/v1/checkout", json=body, headers={**key(), **HEADERS})
            assert answer.status_code == 201, answer.text

            async def reacted() -> bool:
                """Both have reacted to it, not only to events of the demo's data."""
                return {"products", "notifications"} <= {one["service"] for one in reactions(lines)}

            await eventually(reacted)
    [request] = [one for one in lines if one["event"] == "request"]
    # More than one where the machine is so slow that the call is tried again.
    reserving = [one for one in lines if one["event"] == "reserving"]
    assert reserving
    assert request["request_id"] == REQUEST_ID
    for one in reserving:
        assert REQUEST_ID in (one["request_id"], one["request_ids"])
    for one in (request, *reserving, *reactions(lines)):
        assert one["trace_id"] == TRACE_ID, one


async def test_what_a_reaction_tells_has_the_same_cause(new_store: NewStore) -> None:
    """An event told by a reaction comes from the request of the event that it reacts to.

    Where a batch comes from several requests, what is told in it belongs to none of them.
    """
    shop = await new_store(working=False)
    database, outbox = shop.database("products"), Outbox()

    async def tell(tx: Transaction, events: Sequence[ProductsChanged]) -> None:
        await outbox.add(tx, events)

    inbox = Inbox("products", database, {ProductsChanged: [tell]})
    event = ProductsChanged(product_ids=(uuid.uuid4(),))

    def message(request_id: str) -> Message:
        now = database.clock.now()
        return Message(uuid.uuid4(), event.TYPE, event.key, encode(event), now, request_id)

    async with database.transaction() as tx:
        await tx.execute("DELETE FROM outbox")
    await inbox.handle([message("one"), message("one")])
    await inbox.handle([message("two"), message("three")])
    async with database.reading() as reading:
        rows = await reading.fetch("SELECT request_id FROM outbox ORDER BY position")
    assert [row[0] for row in rows] == ["one", "one", "", ""]

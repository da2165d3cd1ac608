"""A whole store without workers and without a server: tests take every step themselves.

It can be made before there is a database to reach, so that a process that has one ready can fork
any number of processes that only have to connect. Each has the store's own code and wiring; only
who calls the steps of its workers, and when, is in the test's hands.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from unittest import mock
from uuid import UUID

from shop import ADDRESS, SECRET, settings_of
from tradewind import compose
from tradewind.orders.model.payment import Charge, Charged, Notice
from tradewind.platform.bus import LocalBus
from tradewind.platform.database import Address, Database, Probe
from tradewind.platform.events import Message
from tradewind.platform.outbox import relay_once

TwoPartProbe = Callable[[str, str], None]
"""Told which part (a service, the provider, the bus) is before or after what."""
STEPS = ("expiry", "checkouts", "payments", "refunds")
_AN_HOUR = {
    "orders": (
        "UPDATE checkouts SET due_at = due_at - interval '1 hour' WHERE state = 'open'",
        "UPDATE payments SET due_at = due_at - interval '1 hour' WHERE due_at IS NOT NULL",
        "UPDATE refunds SET due_at = due_at - interval '1 hour' WHERE due_at IS NOT NULL",
        """
        UPDATE test_provider_charges SET created_at = created_at - interval '1 hour'
        WHERE verdict = 'pending'
        """,
        "UPDATE deliveries SET due_at = due_at - interval '1 hour'",
    ),
    "products": (
        """
        UPDATE reservations SET expires_at = expires_at - interval '1 hour'
        WHERE expires_at IS NOT NULL
        """,
        "UPDATE deliveries SET due_at = due_at - interval '1 hour'",
    ),
    "notifications": ("UPDATE deliveries SET due_at = due_at - interval '1 hour'",),
    "users": ("UPDATE deliveries SET due_at = due_at - interval '1 hour'",),
}


_UNDONE = """
    SELECT 'outbox' AS what, count(*) AS many FROM outbox
    UNION ALL SELECT 'failed deliveries', count(*) FROM deliveries
    UNION ALL SELECT 'open keys', count(*) FROM idempotency_keys WHERE status IS NULL
"""
_UNDONE_OF = {
    "orders": """
        UNION ALL SELECT 'open checkouts', count(*) FROM checkouts WHERE state = 'open'
        UNION ALL SELECT 'carts in checkout', count(*) FROM carts WHERE state = 'checking_out'
        UNION ALL SELECT 'undecided payments', count(*) FROM payments WHERE due_at IS NOT NULL
        UNION ALL SELECT 'refunds not confirmed', count(*) FROM refunds WHERE state <> 'settled'
    """,
    "products": """
        UNION ALL SELECT 'reservations', count(*) FROM reservations
            WHERE state IN ('held', 'kept')
    """,
}


class Watched:
    """A payment provider or a bus, with the probe told before and after every call."""

    def __init__(self, inner: Any, probe: Callable[[str], None]) -> None:
        self._inner = inner
        self._probe = probe

    @property
    def name(self) -> str:
        """The provider's."""
        return self._inner.name

    async def charge(self, wish: Charge) -> Charged:
        """As the port says."""
        return await self._told("charge", self._inner.charge(wish))

    async def find(self, attempt_id: UUID) -> Charged | None:
        """As the port says."""
        return await self._told("find", self._inner.find(attempt_id))

    async def capture(self, attempt_id: UUID, amount_minor: int) -> None:
        """As the port says."""
        await self._told("capture", self._inner.capture(attempt_id, amount_minor))

    async def refund(self, refund_id: UUID, attempt_id: UUID, amount_minor: int) -> None:
        """As the port says."""
        await self._told("refund", self._inner.refund(refund_id, attempt_id, amount_minor))

    def read_notice(self, headers: Mapping[str, str], body: bytes, now: Any) -> Notice:
        """As the port says."""
        return self._inner.read_notice(headers, body, now)

    def sign(self, notice_id: str, timestamp: int, body: bytes) -> str:
        """The test provider's."""
        return self._inner.sign(notice_id, timestamp, body)

    async def publish(self, messages: Sequence[Message]) -> None:
        """As a bus."""
        await self._told("publish", self._inner.publish(messages))

    async def _told(self, what: str, call: Any) -> Any:
        self._probe(f"before {what}")
        try:
            return await call
        finally:
            self._probe(f"after {what}")


class StillStore:
    """The store, its bus, and the steps that its workers would take."""

    def __init__(self, store: compose.Store, probe: TwoPartProbe | None) -> None:
        self.store = store
        self._probe = probe
        bus = LocalBus()
        for service in store.services:
            bus.subscribe(service.inbox)
        self.bus = Watched(bus, self._probe_of("bus"))
        self.workers = {
            worker.name: worker for service in store.services for worker in service.workers
        }
        orders = self.context("orders")
        orders.providers["test"] = Watched(orders.providers["test"], self._probe_of("provider"))
        if probe is not None:
            for name, database in store.databases.items():
                database._probe = self._probe_of(name)

    @classmethod
    async def make(
        cls,
        owner: Address,
        changes: Mapping[str, str] | None = None,
        probe: TwoPartProbe | None = None,
    ) -> "StillStore":
        """A store that is ready but for its connections; `connect` makes them."""

        async def not_yet(_: Database) -> None:
            await asyncio.sleep(0)

        with mock.patch.object(Database, "open", not_yet):
            store = await compose.open_store(settings_of(changes), owner, SECRET, working=False)
        return cls(store, probe)

    def _probe_of(self, part: str) -> Probe:
        def tell(what: str) -> None:
            if self._probe is not None:
                self._probe(part, what)

        return tell

    async def connect(self, *services: str) -> None:
        """From now on it can act; with names, only these services can."""
        databases = self.store.databases
        await asyncio.gather(*(databases[name].open() for name in services or databases))

    def context(self, service: str) -> Any:
        """What the actions of a service work with."""
        return self.store.context(service)

    @property
    def provider(self) -> Watched:
        """The test provider."""
        return self.context("orders").providers["test"]

    async def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, bytes]:
        """One request, through all layers but the network."""
        sent = b"" if body is None else (body if isinstance(body, bytes) else dumps(body))
        named = {"host": "shop.example", **headers}
        if sent:
            named |= {"content-type": "application/json", "content-length": str(len(sent))}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [
                (name.replace("_", "-").lower().encode(), value.encode())
                for name, value in named.items()
            ],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        messages = [{"type": "http.request", "body": sent, "more_body": False}]
        answered: list[Any] = []

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await asyncio.Event().wait()
            return None

        async def send(message: Any) -> None:
            answered.append(message)
            await asyncio.sleep(0)

        # In a task of its own, as from a server: what a request carries along ends with it.
        await asyncio.create_task(self.store.app(scope, receive, send))
        return answered[0]["status"], b"".join(one.get("body", b"") for one in answered[1:])

    def _connected(self) -> dict[str, Database]:
        databases = self.store.databases
        return {name: one for name, one in databases.items() if one.pool.is_open}

    async def relay(self) -> int:
        """Every relay that has something to relay, once; answers how many events.

        The server may not have noticed yet that the process before this one is gone, and its turn
        at the relay with it: that is waited for.
        """
        moved = 0
        for name, database in self._connected().items():
            while await self.quietly(name, "SELECT 1 FROM outbox LIMIT 1"):
                told = await relay_once(database, self.bus)
                moved += told
                if told:
                    break
                await asyncio.sleep(0.005)
        return moved

    async def step(self, *names: str) -> None:
        """The step of each of these workers, until it has no more to do."""
        for name in names:
            while await self.workers[name]._step():
                pass

    async def drain(self, steps: Iterable[str] = STEPS) -> None:
        """Everything that the workers would do now."""
        steps = tuple(steps)
        while True:
            for service in self.store.services:
                while await service.inbox.retry_once():
                    pass
            await self.step(*steps)
            if not await self.relay():
                return

    async def let_an_hour_pass(self) -> None:
        """Whatever is due within the hour is due now: leases, expiries, pauses."""
        for service in self._connected():
            for statement in _AN_HOUR[service]:
                await self.quietly(service, statement)

    async def settle(self) -> None:
        """Everything that finishes by itself has finished; what has not will not."""
        for _ in range(6):
            await self.let_an_hour_pass()
            await self.drain()
            if not await self.undone():
                return

    async def undone(self) -> dict[str, int]:
        """What is begun and not at its end, counted by what it is."""
        left: dict[str, int] = {}
        for service in self.store.databases:
            rows = await self.quietly(service, _UNDONE + _UNDONE_OF.get(service, ""))
            left |= {f"{service}: {name}": count for name, count in rows if count}
        return left

    async def lose_reservations(self, sku: str) -> None:
        """What is held of a SKU runs out, as before the order was placed (a process that hung).

        Expiry gives no stock away on which an order stands, so this is done by hand.
        """
        await self.quietly(
            "products",
            """
            WITH over AS (UPDATE reservations
                SET state = 'expired', expires_at = NULL, settled_at = now()
                WHERE state = 'held' AND lines ? $1 RETURNING (lines->>$1)::bigint AS units)
            UPDATE stock SET reserved = reserved - (SELECT sum(units) FROM over) WHERE sku = $1
            """,
            sku,
        )

    async def quietly(self, service: str, query: str, *arguments: Any) -> list[Any]:
        """A statement that no probe is told of."""
        async with self.store.databases[service].pool.acquired() as connection:
            return await connection.fetch(query, *arguments)


def dumps(value: Any) -> bytes:
    """JSON."""
    return json.dumps(value).encode()


def checkout_body(email: str, token: str, **more: Any) -> dict[str, Any]:
    """A purchase but for its lines."""
    return {"email": email, "shippingAddress": ADDRESS, "payment": {"token": token}, **more}

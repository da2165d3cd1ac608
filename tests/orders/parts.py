"""A store in the hands of a test: people, goods, and purchases through all its layers."""

import json
from collections.abc import Mapping
from typing import Any, cast
from uuid import uuid4

import asyncpg
import msgspec

from faults.stillness import STEPS, StillStore, TwoPartProbe, checkout_body
from shop import SECRET, STAFF, new_database
from tradewind.compose import PACKAGES
from tradewind.platform.database import Address
from tradewind.platform.invariants import check_services
from tradewind.platform.migrate import address_of, migrate
from tradewind.users.service import add_staff

_templates: dict[str, str] = {}


async def fresh_owner(postgres: Address) -> Address:
    """A migrated database of one's own: a copy of one that was migrated once."""
    if postgres.host not in _templates:
        template = await new_database(postgres)
        await migrate(template, SECRET, PACKAGES)
        _templates[postgres.host] = template.database
    name = f"copy_{uuid4().hex[:12]}"
    connection = await asyncpg.connect(**postgres.arguments())
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {_templates[postgres.host]}")
        # These settings live in the database they were made for, and a copy has none of them.
        for service in PACKAGES:
            await connection.execute(
                f'ALTER ROLE tradewind_{service} IN DATABASE "{name}" '
                f"SET search_path = {service}, public"
            )
    finally:
        await connection.close()
    return msgspec.structs.replace(postgres, database=name)


class Answer(dict[str, Any]):
    """A JSON answer with its status."""

    status: int = 0
    raw: bytes = b""


class Counter:
    """Where a test buys and sells. More than one of them on one database are several processes."""

    def __init__(self, store: StillStore, owner: Address) -> None:
        self.store = store
        self.owner = owner
        self.staff: dict[str, str] = {}
        self.known_broken: list[str] = []
        """What earlier tests broke, and said so."""

    @classmethod
    async def open(
        cls,
        owner: Address,
        changes: Mapping[str, str] | None = None,
        probe: TwoPartProbe | None = None,
    ) -> "Counter":
        """A store on this database; the first one there makes a member of staff."""
        store = await StillStore.make(owner, changes, probe)
        await store.connect()
        counter = cls(store, owner)
        if not await store.quietly("users", "SELECT 1 FROM users WHERE email = $1", STAFF[0]):
            await add_staff(store.context("users"), *STAFF, "admin")
        counter.staff = await counter.sign_in(*STAFF)
        return counter

    async def close(self) -> None:
        """Ends its connections."""
        await self.store.store.close()

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request."""
        status, raw = await self.store.ask(method, path, body, **headers)
        told: Any = json.loads(raw) if raw else {}
        answer = Answer(cast("dict[str, Any]", told) if isinstance(told, dict) else {"items": told})
        answer.status, answer.raw = status, raw
        return answer

    async def sign_in(self, username: str, password: str) -> dict[str, str]:
        """The headers of a session."""
        answer = await self.ask("POST", "/v1/login", {"username": username, "password": password})
        assert answer.status == 200, answer
        return {"authorization": f"Bearer {answer['token']}"}

    async def customer(self) -> dict[str, str]:
        """The headers of a new customer's session."""
        email, password = f"{uuid4().hex[:12]}@example.com", "correct horse battery staple"
        answer = await self.ask("POST", "/v1/register", {"email": email, "password": password})
        assert answer.status == 201, answer
        return await self.sign_in(email, password)

    async def product(self, on_hand: int = 10, amount: int = 1000, **more: Any) -> str:
        """A product for sale; its SKU."""
        sku = f"S-{uuid4().hex[:10]}"
        body = {
            "title": f"Kettle {sku}",
            "price": {"amount": amount, "currency": "EUR"},
            "sku": sku,
            "status": "active",
            "onHand": on_hand,
            **more,
        }
        answer = await self.ask("POST", "/v1/products", body, **self.staff)
        assert answer.status == 201, answer
        return sku

    async def level(self, sku: str) -> tuple[int, int]:
        """On hand and reserved."""
        answer = await self.ask("GET", f"/v1/inventory/{sku}", **self.staff)
        return answer["onHand"], answer["reserved"]

    async def buy(
        self,
        lines: str | Mapping[str, int],
        token: str = "tok_approved",
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Answer:
        """A purchase in one request: of one unit of a SKU, or of these quantities by SKU."""
        wanted = {lines: 1} if isinstance(lines, str) else lines
        body = checkout_body(
            more.pop("email", f"{uuid4().hex[:12]}@example.com"),
            token,
            lines=[{"sku": sku, "quantity": quantity} for sku, quantity in wanted.items()],
            **more,
        )
        named = {"idempotency-key": key or uuid4().hex, **(headers or {})}
        return await self.ask("POST", "/v1/checkout", body, **named)

    async def ordered(self, lines: str | Mapping[str, int], token: str = "tok_approved") -> Answer:
        """An order that stands, and everything it brings about has happened.

        But a payment that is not decided stays so: after a second somebody would ask what became of
        it, and a slow machine has taken that long by now.
        """
        answer = await self.buy(lines, token)
        assert answer.status in (201, 202), answer
        await self.store.drain(step for step in STEPS if step != "payments")
        return answer

    async def order(self, order_id: str) -> Answer:
        """An order as staff see it."""
        return await self.ask("GET", f"/v1/orders/{order_id}", **self.staff)

    async def to_order(
        self, order_id: str, what: str, body: Any = None, key: str | None = None
    ) -> Answer:
        """Something that staff do to an order."""
        named = {"idempotency-key": key or uuid4().hex, **self.staff}
        return await self.ask("POST", f"/v1/orders/{order_id}/{what}", body or {}, **named)

    async def cart(self, lines: Mapping[str, int], **headers: str) -> Answer:
        """A new cart."""
        body = {"lines": [{"sku": sku, "quantity": n} for sku, n in lines.items()]}
        answer = await self.ask("POST", "/v1/carts", body, **headers)
        assert answer.status == 201, answer
        return answer

    async def buy_cart(
        self,
        cart: Mapping[str, Any],
        token: str = "tok_approved",
        key: str | None = None,
        **headers: str,
    ) -> Answer:
        """A checkout of a cart, by whoever has its token or the session."""
        named = {"idempotency-key": key or uuid4().hex, **headers}
        if "token" in cart and "authorization" not in headers:
            named["cart-token"] = cart["token"]
        body = checkout_body(f"{uuid4().hex[:12]}@example.com", token)
        return await self.ask("POST", f"/v1/carts/{cart['id']}/checkout", body, **named)

    async def kept(self, order_id: str) -> int:
        """What the payment provider holds for this order, in minor units."""
        rows = await self.store.quietly(
            "orders",
            """
            SELECT (captured_minor - coalesce((SELECT sum(amount_minor) FROM test_provider_refunds
                AS given WHERE given.attempt_id = book.attempt_id), 0))::bigint
            FROM test_provider_charges AS book WHERE order_id = $1::text::uuid
            """,
            str(order_id),
        )
        return sum(row[0] for row in rows)

    async def broken(self) -> list[str]:
        """The invariants of all services that do not hold now."""
        addresses = {name: address_of(self.owner, SECRET, name) for name in PACKAGES}
        _, broken = await check_services(addresses, PACKAGES)
        return [f"{one.service}: {one.name} {one.rows}" for one in broken]

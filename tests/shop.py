"""A whole store on a real PostgreSQL, served, and what tests use it with; one rule: real parts."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, LiteralString

import asyncpg
import httpx
import msgspec

from tradewind.compose import PACKAGES, SETTINGS, Store, open_store
from tradewind.platform.config import load
from tradewind.platform.database import Address, Database
from tradewind.platform.migrate import migrate
from tradewind.platform.web.serving import ServingSettings, serve
from tradewind.split.ports import Ports
from tradewind.users.service import add_staff

SECRET = b"a secret of the test run, not of any store"
ADDRESS = {
    "name": "Ann Lee",
    "line1": "1 Main St",
    "city": "Berlin",
    "postalCode": "10115",
    "country": "DE",
}
STAFF = ("staff@example.com", "a long passphrase for staff")
PATIENCE_SECONDS = 30.0
_MOMENT_SECONDS = 0.05
WAITED_FOR: LiteralString = """
SELECT EXISTS (
    SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))
"""
"""Asked inside a transaction: whether another one waits for what this one has locked.

Not of `pg_stat_activity`, which within a transaction shows always what it showed first.
"""
# One for the whole run: a port that was given to a test is given to no other one, though nobody
# listens there yet, or nobody for a while.
_PORTS = Ports(0)


def free_port() -> int:
    """A loopback port that nobody listens on just now, and that no other test was given."""
    return _PORTS.take()


def key() -> dict[str, str]:
    """A new idempotency key as a header."""
    return {"Idempotency-Key": uuid.uuid4().hex}


def purchase(token: str = "tok_approved", **more: Any) -> dict[str, Any]:
    """The body of a checkout but for its lines."""
    return {
        "email": f"{uuid.uuid4().hex[:12]}@example.com",
        "shippingAddress": ADDRESS,
        "payment": {"token": token},
        **more,
    }


async def eventually(question: Callable[[], Awaitable[Any]], patience: float = 60.0) -> Any:
    """Asks until the answer is true, and gives it; fails with the last answer."""
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        answer = await question()
        if answer:
            return answer
        assert asyncio.get_running_loop().time() < deadline, f"never came true: {answer!r}"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def lived(seconds: float) -> AsyncGenerator[None]:
    """A time-out in time that this process has lived: moments in which the whole machine stood
    still, or all went to others, do not count.
    """

    async def live() -> None:
        for _ in range(round(seconds / _MOMENT_SECONDS)):
            await asyncio.sleep(_MOMENT_SECONDS)
        limit.reschedule(asyncio.get_running_loop().time())

    async with asyncio.timeout(None) as limit:
        living = asyncio.create_task(live())
        try:
            yield
        finally:
            living.cancel()
            await asyncio.wait([living])


class Front:
    """A store as it is seen from outside, and clients of it; whose accounts may make products."""

    def __init__(self, base: str, staff: tuple[str, str]) -> None:
        self.base = base
        self._account = staff
        self._clients: list[httpx.AsyncClient] = []
        self._staff: httpx.AsyncClient | None = None

    def client(self, **headers: str) -> httpx.AsyncClient:
        """A client with these headers (`Cart_Token` becomes `Cart-Token`)."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        limits = httpx.Limits(max_connections=300, max_keepalive_connections=300)
        client = httpx.AsyncClient(
            base_url=self.base, headers=named, timeout=PATIENCE_SECONDS, limits=limits
        )
        self._clients.append(client)
        return client

    async def customer(self) -> httpx.AsyncClient:
        """A new customer, signed in."""
        email, password = f"{uuid.uuid4().hex[:12]}@example.com", "correct horse battery staple"
        client = self.client()
        body = {"email": email, "password": password, "name": "Ann Lee"}
        assert (await client.post("/v1/register", json=body)).status_code == 201
        return await self.sign_in(email, password)

    async def sign_in(self, username: str, password: str) -> httpx.AsyncClient:
        """A client with a session."""
        client = self.client()
        answer = await client.post("/v1/login", json={"username": username, "password": password})
        assert answer.status_code == 200, answer.text
        client.cookies.clear()
        client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        return client

    async def staff(self) -> httpx.AsyncClient:
        """An administrator, signed in."""
        if self._staff is None:
            self._staff = await self.sign_in(*self._account)
        return self._staff

    async def product(self, on_hand: int = 100, amount: int = 3999, **more: Any) -> dict[str, Any]:
        """A product for sale; its full view and `sku`."""
        sku = f"SKU-{uuid.uuid4().hex[:10].upper()}"
        body = {
            "title": f"Kettle {sku}",
            "price": {"amount": amount, "currency": "EUR"},
            "sku": sku,
            "status": "active",
            "onHand": on_hand,
            **more,
        }
        answer = await (await self.staff()).post("/v1/products", json=body)
        assert answer.status_code == 201, answer.text
        return {"sku": sku, **answer.json()}

    async def level(self, sku: str) -> dict[str, Any]:
        """How much there is of a SKU, as staff see it."""
        return (await (await self.staff()).get(f"/v1/inventory/{sku}")).json()

    async def end(self) -> None:
        """Closes the clients."""
        for client in self._clients:
            await client.aclose()


class Shop(Front):
    """A store that is served by this process."""

    def __init__(self, store: Store, owner: Address, port: int) -> None:
        super().__init__(f"http://127.0.0.1:{port}", STAFF)
        self.store = store
        self.owner = owner
        self.port = port

    async def staff(self) -> httpx.AsyncClient:
        """An administrator, signed in."""
        if self._staff is None:
            await add_staff(self.context("users"), *STAFF, "admin")
        return await super().staff()

    def context(self, service: str) -> Any:
        """What the actions of a service work with."""
        return next(one.context for one in self.store.services if one.name == service)

    def database(self, service: str) -> Database:
        """The service's own connections."""
        return self.store.databases[service]


async def new_database(postgres: Address) -> Address:
    """An empty database of its own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(**postgres.arguments())
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return msgspec.structs.replace(postgres, database=name)


def settings_of(changes: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The default settings with some set, named as in the environment."""
    return load(SETTINGS, dict(changes or {}), None)


async def served_store(
    postgres: Address, changes: Mapping[str, str] | None = None, **wiring: Any
) -> AsyncGenerator[Shop]:
    """A store on a new database, served until the generator is closed."""
    owner = await new_database(postgres)
    await migrate(owner, SECRET, PACKAGES)
    store = await open_store(settings_of(changes), owner, SECRET, **wiring)
    port, stop, listening = free_port(), asyncio.Event(), asyncio.Event()

    def ready() -> None:
        store.health.ready = True
        listening.set()

    serving = asyncio.create_task(
        serve(store.app, "127.0.0.1", port, settings=ServingSettings(), ready=ready, stop=stop)
    )
    waiting = asyncio.create_task(listening.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    shop = Shop(store, owner, port)
    try:
        yield shop
    finally:
        await shop.end()
        stop.set()
        await serving
        await store.close()


NewStore = Callable[..., Awaitable[Shop]]
"""`await new_store({"TRADEWIND_…": "…"}, probe=…)`: a store of the test's own."""


def repository() -> Path:
    """The root of the working tree."""
    return Path(__file__).resolve().parent.parent

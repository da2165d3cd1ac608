"""The same store in several topologies, side by side; one rule: they differ by their command alone.

They stand side by side and idle while one of them works, so that runs can be interleaved and what
else the machine does falls on all of them. What an idle world costs the others is measured too.
"""

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import httpx

from bench.shop import SKUS, TRADEWIND, Shop
from bench.topologies.processes import cpu_seconds, memory_mib
from bench.topologies.work import PURCHASE_BODY, Work

ONE, CODEC, SPLIT = "one process", "wire codec", "split"
SINGLE = "split, one instance each"
COMMANDS: Mapping[str, tuple[str, ...]] = {
    ONE: (TRADEWIND, "run"),
    CODEC: (sys.executable, "-m", "bench.topologies.codec_store", "run"),
    SPLIT: (TRADEWIND, "split", "--first-port", "0"),
    SINGLE: (
        *(TRADEWIND, "split", "--first-port", "0"),
        *("--instances", "users=1,products=1,orders=1,notifications=1"),
    ),
}
PURCHASE, PRODUCT, LIST, ORDER = "purchase", "product page", "list of 20", "own order"
_SPREAD = 50
_PASSWORD = "a customer's long passphrase"
_PATIENCE_SECONDS = 30.0


class World:
    """One store at work: its catalogue filled, one customer with orders, and what is asked."""

    def __init__(self, name: str, shop: Shop) -> None:
        self.name, self.shop = name, shop
        token, orders = self._customer()
        pages = range(1, SKUS + 1, SKUS // _SPREAD)
        works = (
            Work(PURCHASE, ("/v1/checkout",), buys=True),
            Work(PRODUCT, tuple(f"/v1/products/thing-{number}" for number in pages)),
            Work(LIST, ("/v1/products?limit=20",)),
            Work(ORDER, tuple(f"/v1/orders/{one}" for one in orders), token=token),
        )
        self.works = {work.name: work for work in works}
        self.wait_drained()
        self.idle_mib = memory_mib(shop.pid)
        self.loaded_mib: Mapping[str, float] = {}

    def cpu_seconds(self) -> Mapping[str, float]:
        """What its processes have used so far, by group."""
        return cpu_seconds(self.shop.pid)

    def note_loaded(self) -> None:
        """What its processes hold now, under load."""
        self.loaded_mib = memory_mib(self.shop.pid)

    def wait_drained(self) -> None:
        """Returns when every event was told."""
        self.shop.command("events", "drained")

    def check(self) -> None:
        """Ends the benchmark where the books do not balance."""
        self.shop.command("check")

    def _customer(self) -> tuple[str, list[str]]:
        """Somebody who has ordered; the token of a session, and the orders."""
        base = f"http://127.0.0.1:{self.shop.port}"
        email = "customer@example.com"
        with httpx.Client(base_url=base, timeout=_PATIENCE_SECONDS) as client:
            account = {"email": email, "password": _PASSWORD, "name": "Ann Lee"}
            _ask(client, "/v1/register", account)
            entry = {"username": email, "password": _PASSWORD}
            token = _ask(client, "/v1/login", entry)["token"]
            client.cookies.clear()
            client.headers["Authorization"] = f"Bearer {token}"
            bodies = [
                {**PURCHASE_BODY, "lines": _lines(number)} for number in range(1, _SPREAD + 1)
            ]
            return token, [_ask(client, "/v1/checkout", one)["id"] for one in bodies]


def open_worlds(commands: Mapping[str, tuple[str, ...]], stack: ExitStack) -> list[World]:
    """Starts them one after the other; the stack ends them."""
    worlds: list[World] = []
    for name, command in commands.items():
        shop = Shop(command)
        stack.callback(shop.end)
        worlds.append(World(name, shop))
    return worlds


def _lines(number: int) -> list[dict[str, Any]]:
    return [{"sku": f"BENCH-{number}", "quantity": 1}]


def _ask(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    key = f"bench-{path}-{body.get('lines', '')}"
    answer = client.post(path, json=body, headers={"Idempotency-Key": key})
    if not answer.is_success:
        sys.exit(f"POST {path} was answered {answer.status_code}: {answer.text}")
    return answer.json()

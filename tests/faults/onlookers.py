"""Customers who only look, and remember when they were let down."""

import asyncio
import time
from collections import Counter as Count
from typing import Any
from uuid import uuid4

import httpx
import msgspec

from shop import ADDRESS

PAGES = ("/v1/products?limit=20", "/v1/products/harbour-kettle", "/v1/categories")
_PAUSE_SECONDS = 0.02


class Seen(msgspec.Struct):
    """What a customer met in the course of one fault; seconds from its beginning."""

    asked: int = 0
    failed: Count[str] = msgspec.field(default_factory=Count[str])
    first_seconds: float | None = None
    last_seconds: float | None = None
    longest_seconds: float = 0.0

    def note(self, began: float, started: float, failure: str | None) -> None:
        """One request, begun at this moment of a fault that began at that one."""
        now = time.monotonic()
        self.asked += 1
        self.longest_seconds = max(self.longest_seconds, now - started)
        if failure is not None:
            self.failed[failure] += 1
            self.first_seconds = self.first_seconds or round(started - began, 2)
            self.last_seconds = round(now - began, 2)

    def told(self) -> dict[str, Any]:
        """As it is written down."""
        return {
            "asked": self.asked,
            "failed": dict(self.failed),
            "from": self.first_seconds,
            "to": self.last_seconds,
            "longest": round(self.longest_seconds, 2),
        }


class Onlookers:
    """Guests who browse, and customers who read what they have just bought."""

    def __init__(self, base: str, sku: str) -> None:
        self.base = base
        self._sku = sku
        self.browsing = Seen()
        self.reading = Seen()
        self.wrong: list[str] = []
        """What no fault excuses: an old state after a newer one, a body that is none."""
        self.began = time.monotonic()
        self._ending = False

    def end(self) -> None:
        """No more looks."""
        self._ending = True

    async def look(self, guests: int = 4, customers: int = 2) -> None:
        """Until `end` is called."""
        async with httpx.AsyncClient(base_url=self.base, timeout=60) as client:
            await asyncio.gather(
                *(self._browse(client, number) for number in range(guests)),
                *(self._buy_and_read(client) for _ in range(customers)),
            )

    async def _browse(self, client: httpx.AsyncClient, number: int) -> None:
        while not self._ending:
            number += 1
            # One that no cache has, every other time.
            page = PAGES[number % len(PAGES)] if number % 2 else f"/v1/products?q=x{number}"
            told = await self._ask(self.browsing, client, page)
            if told is not None and told.status_code != 200:
                self.wrong.append(f"{page}: {told.status_code} {told.text}")
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _buy_and_read(self, client: httpx.AsyncClient) -> None:
        """Whoever was told of an order sees it in the next moment, wherever it is read."""
        body = {
            "lines": [{"sku": self._sku, "quantity": 1}],
            "shippingAddress": ADDRESS,
            "payment": {"token": "tok_approved"},
        }
        while not self._ending:
            email = f"{uuid4().hex[:16]}@example.com"
            try:
                told = await client.post(
                    "/v1/checkout",
                    json={**body, "email": email},
                    headers={"Idempotency-Key": uuid4().hex},
                )
            except httpx.TransportError:
                continue
            if told.status_code != 201:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            order = told.json()
            for _ in range(3):
                path, headers = f"/v1/orders/{order['id']}", {"Order-Token": order["token"]}
                seen = await self._ask(self.reading, client, path, headers)
                if seen is not None and seen.status_code != 200:
                    self.wrong.append(f"{path}: {seen.status_code} {seen.text}")
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _ask(
        self,
        seen: Seen,
        client: httpx.AsyncClient,
        path: str,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response | None:
        started = time.monotonic()
        try:
            told = await client.get(path, headers=headers)
        except httpx.TransportError as error:
            seen.note(self.began, started, type(error).__name__)
            return None
        if told.status_code >= 500:
            seen.note(self.began, started, str(told.status_code))
            if "problem+json" not in told.headers["content-type"]:
                self.wrong.append(f"{path}: no problem document: {told.text[:200]}")
            return None
        seen.note(self.began, started, None)
        return told

"""The public API over HTTP; one rule: a request is repeated only with its key, so that it is safe.

What is refused for a while (503, 429, a key still in progress) or gets no answer is sent again,
the same bytes with the same key, until PATIENCE_SECONDS are over.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec

from bench.real_year.deviations import Deviated, Deviations

PATIENCE_SECONDS = 120.0
PAUSE_MOST_SECONDS = 2.0
T = TypeVar("T")


class Problem(msgspec.Struct):
    """What the store says when it refuses."""

    code: str = ""


class Page(msgspec.Struct):
    """One page of a list; `items` are still to be decoded."""

    items: list[msgspec.Raw]
    next: str | None


class Api:
    """One store. `retries` counts what had to be sent again, by reason."""

    def __init__(self, http: aiohttp.ClientSession, deviations: Deviations) -> None:
        self.deviations = deviations
        self.retries: Counter[str] = Counter()
        self.requests = 0
        self._http = http

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        key: str | None = None,
        expect: int = 200,
    ) -> bytes:
        """The answer's body. Raises Deviated where its status is not the one to expect."""
        data = b"" if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if key is not None:
            headers["Idempotency-Key"] = key
        status, answer = await self._patiently(method, path, data, headers)
        if status != expect:
            self.deviations.note_answer(f"{method} {path} (key {key})", data, status, answer)
            raise Deviated(path)
        return answer

    async def _patiently(
        self, method: str, path: str, data: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        deadline, pause = time.monotonic() + PATIENCE_SECONDS, 0.05
        while True:
            try:
                self.requests += 1
                async with self._http.request(method, path, data=data, headers=headers) as response:
                    status, answer = response.status, await response.read()
                reason = _reason_to_repeat(status, answer)
            except (aiohttp.ClientError, TimeoutError) as error:
                reason = type(error).__name__
                status, answer = 0, repr(error).encode()
            if reason is None or time.monotonic() > deadline:
                return status, answer
            self.retries[reason] += 1
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSE_MOST_SECONDS)

    async def walk(self, path: str, kind: type[T], *, token: str) -> list[T]:
        """Every item of a list, page by page."""
        items: list[T] = []
        first = f"{path}{'&' if '?' in path else '?'}limit=100"
        page = msgspec.json.decode(await self.send("GET", first, token=token), type=Page)
        while True:
            items += [msgspec.json.decode(one, type=kind) for one in page.items]
            if page.next is None:
                return items
            following = f"{first}&cursor={page.next}"
            page = msgspec.json.decode(await self.send("GET", following, token=token), type=Page)


def _reason_to_repeat(status: int, answer: bytes) -> str | None:
    if status in {429, 503}:
        return str(status)
    if status == 409 and b"idempotency_key_in_progress" in answer:
        return "idempotency_key_in_progress"
    return None

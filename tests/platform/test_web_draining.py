"""More requests than can be answered, and requests that are under way when we stop."""

import asyncio
from typing import Any

import pytest

from tradewind.platform.web.asgi import Receive, Scope, Send
from tradewind.platform.web.front import Front
from tradewind.platform.web.settings import WebSettings


async def call(front: Front, path: str = "/", method: str = "GET") -> dict[str, Any]:
    """Ask the front layer directly, without a server; give the start of its answer."""
    started: dict[str, Any] = {}
    raw = path.encode()
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": raw,
        "query_string": b"",
        "headers": [(b"host", b"a")],
        "root_path": "",
        "state": {},
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            started.update(message)

    await asyncio.create_task(front(scope, receive, send))
    return started


@pytest.mark.asyncio
async def test_beyond_the_limit_requests_are_turned_away_at_once() -> None:
    """With max_in_flight at work the next gets 503 and a Retry-After, without waiting."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(_scope: Scope, _receive: Receive, send: Send) -> None:
        entered.set()
        await leave.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    front = Front(slow, WebSettings(max_in_flight=1))
    first = asyncio.create_task(call(front))
    await entered.wait()
    assert front.in_flight == 1
    refused = await call(front)
    assert refused["status"] == 503
    assert dict(refused["headers"])[b"retry-after"] == b"1"
    leave.set()
    assert (await first)["status"] == 200
    await front.wait_idle()


@pytest.mark.asyncio
async def test_draining_answers_what_is_under_way_and_closes(served: Any) -> None:
    """On stop the request at work is answered, with `connection: close`, and serving ends."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(_scope: Scope, _receive: Receive, send: Send) -> None:
        entered.set()
        await leave.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    front = Front(slow, WebSettings())
    one = await served(front)
    asked = asyncio.create_task(one.client.get("/"))
    await entered.wait()
    one.stop.set()
    while not front.draining:
        await asyncio.sleep(0)
    leave.set()
    answer = await asked
    assert answer.text == "done"
    await one.serving


@pytest.mark.asyncio
async def test_while_draining_answers_ask_to_close() -> None:
    """Keep-alive clients are told to go elsewhere."""

    async def at_once(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    front = Front(at_once, WebSettings())
    front.drain()
    answer = await call(front)
    assert (b"connection", b"close") in answer["headers"]

"""A small instance of a service, as a process of its own or in a test's; it tells what it got.

Public: whatever comes is answered with what arrived, as JSON. `?pause=` seconds, `?bytes=` of
answer, `?drip=` events of a stream one `pause` apart, and none of it while `going` is not set.
Internal: `/readyz` as the store's processes answer it: ready, draining or not ready; `/healthz` is
200 all the same. As a process it ends as they do: on SIGTERM it is draining for a while and serves
on, then finishes what it has.
"""

import asyncio
import hashlib
import json
import signal
import sys
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from tradewind.platform.web.asgi import Receive, Scope, Send
from tradewind.platform.web.front import Front
from tradewind.platform.web.serving import ServingSettings, serve
from tradewind.platform.web.settings import WebSettings

READY, DRAINING, NOT_READY = 200, 404, 503


@dataclass
class Instance:
    """What one instance knows of itself."""

    name: str
    health: int = READY
    taken: list[str] = field(default_factory=list[str])
    """Methods and addresses, in order of arrival."""
    going: asyncio.Event = field(default_factory=asyncio.Event)
    """Answers, and events of a stream after the first, wait until it is set; it is at first."""

    def __post_init__(self) -> None:
        """Nothing waits until a test says so."""
        self.going.set()

    def front(self) -> Front:
        """Its public side, behind the store's own front layer, which here hides nothing: what is
        internal is then hidden by the balancer or not at all.
        """
        return Front(self.answer, WebSettings(private_prefixes=()))

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tells what arrived."""
        body = await _body(receive)
        query = parse_qs(scope["query_string"].decode("latin-1"))
        self.taken.append(f"{scope['method']} {scope['raw_path'].decode('latin-1')}")
        pause_seconds = float(query.get("pause", ["0"])[0])
        if "drip" in query:
            await self._drip(send, int(query["drip"][0]), pause_seconds)
            return
        await asyncio.sleep(pause_seconds)
        await self.going.wait()
        if "bytes" in query:
            await _answer(send, pattern(int(query["bytes"][0])))
            return
        told = {
            "instance": self.name,
            "method": scope["method"],
            "path": scope["path"],
            "raw_path": scope["raw_path"].decode("latin-1"),
            "query": scope["query_string"].decode("latin-1"),
            "headers": [[a.decode("latin-1"), b.decode("latin-1")] for a, b in scope["headers"]],
            "length": len(body),
            "digest": hashlib.sha256(body).hexdigest(),
        }
        await _answer(send, json.dumps(told).encode())

    async def answer_inside(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Its internal side: whether it is ready, and that it is alive."""
        status = {"/readyz": self.health, "/healthz": 200}.get(scope["path"], 404)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def _drip(self, send: Send, events: int, pause_seconds: float) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number in range(events):
            part = f"data: {number}\n\n".encode()
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(pause_seconds)
            await self.going.wait()
        await send({"type": "http.response.body", "body": b""})


def pattern(size: int) -> bytes:
    """So many bytes, every value among them, in no short period."""
    block = bytes(range(256)) + b"".join(hashlib.sha256(bytes([n])).digest() for n in range(251))
    return (block * (size // len(block) + 1))[:size]


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _answer(send: Send, body: bytes) -> None:
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", b"%d" % len(body)),
        (b"x-odd", "kept: \u00e4 \u00ff;  two  spaces".encode("latin-1")),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2; HttpOnly"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def run(name: str, port: int, internal_port: int, linger_seconds: float) -> None:
    """The process: both sides until SIGTERM, then out in order."""
    instance = Instance(name)
    leaving, gone = asyncio.Event(), asyncio.Event()

    def drain() -> None:
        instance.health = DRAINING
        leaving.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, drain)
    inside: Any = serve(
        instance.answer_inside,
        "127.0.0.1",
        internal_port,
        settings=ServingSettings(),
        ready=lambda: None,
        stop=gone,
    )
    internal = asyncio.create_task(inside)
    settings = ServingSettings(linger_seconds=linger_seconds, drain_seconds=10.0)
    await serve(
        instance.front(), "127.0.0.1", port, settings=settings, ready=lambda: None, stop=leaving
    )
    gone.set()
    await internal


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))

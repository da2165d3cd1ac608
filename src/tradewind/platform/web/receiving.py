"""Request bodies, taken in whole; one rule: a route sees a complete body of fitting size, or none.

Reading ahead lets every fault of a body be answered before a handler has done half its work. Sizes
are bounded by the route's limit and the number of requests in flight.
"""

import asyncio

from tradewind.platform.errors import StoreError
from tradewind.platform.web.asgi import Message, Receive
from tradewind.platform.web.problems import BadRequest, TimedOut
from tradewind.platform.web.screening import too_large


async def read_body(receive: Receive, limit: int, seconds: float) -> bytes | StoreError:
    """The whole body, or why it is refused; every refusal must close the connection.

    The server reports bad chunks and a client that went away alike: the body breaks off.
    """
    try:
        async with asyncio.timeout(seconds):
            message = await receive()
            if message["type"] != "http.request":
                return _cut_short()
            body: bytes = message.get("body", b"")
            if len(body) > limit:
                return too_large(limit)
            if not message.get("more_body"):
                return body
            return await _read_on(receive, limit, body)
    except TimeoutError:
        return TimedOut(f"A body must arrive within {seconds:g} seconds.")


async def _read_on(receive: Receive, limit: int, first: bytes) -> bytes | StoreError:
    parts = [first]
    size = len(first)
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return _cut_short()
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            return too_large(limit)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


class Replay:
    """A `receive` that gives a body already read, then what the server has to say (disconnect)."""

    __slots__ = ("_body", "_receive")

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        """The next event."""
        body, self._body = self._body, None
        if body is None:
            return await self._receive()
        return {"type": "http.request", "body": body, "more_body": False}


def _cut_short() -> StoreError:
    return BadRequest("The body broke off or was badly framed.")

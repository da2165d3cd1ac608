"""The ASGI protocol as this package speaks it; one rule: types only, no behaviour.

The framework's own TypedDicts are narrower than what a server really sends, so the front layer
uses these instead. Source: the ASGI 3.0 HTTP specification, version 2.3.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
"""What the server knows of one connection."""

Message = MutableMapping[str, Any]
"""One event, in either direction."""

Receive = Callable[[], Awaitable[Message]]
"""Gives the next event from the client."""

Send = Callable[[Message], Awaitable[None]]
"""Takes the next event for the client."""

Application = Callable[[Any, Any, Any], Awaitable[None]]
"""Anything that can be served: of a scope, a receive and a send, each framework has its types."""

RawHeaders = list[tuple[bytes, bytes]]
"""Headers in order; names are lower case and may repeat."""

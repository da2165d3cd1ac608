"""The least that this server can do: one JSON answer, no framework. `python -m bench.bare PORT`."""

import asyncio
import signal
import sys
from typing import Any

import uvloop

from tradewind.platform.web.serving import ServingSettings, serve

_BODY = b'{"id":"01a2043b-b92a-74e0-815e-f278e4915354","title":"Kettle","price":3999}' + b" " * 900
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))],
}
_END = {"type": "http.response.body", "body": _BODY}


async def app(scope: Any, _receive: Any, send: Any) -> None:
    """The application."""
    if scope["type"] == "http":
        await send(_START)
        await send(_END)


async def main() -> None:
    """Serves until told to end."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    port = int(sys.argv[1])

    def ready() -> None:
        sys.stdout.write("Ready\n")
        sys.stdout.flush()

    await serve(app, "127.0.0.1", port, settings=ServingSettings(), ready=ready, stop=stop)


if __name__ == "__main__":
    uvloop.run(main())

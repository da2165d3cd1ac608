"""An owner in a process of its own, for tests to kill: `owner.py HOME [uvloop] [fork]`.

It says in one line what became of the start: `started PID …`, or `error` and why.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

import uvloop

from tradewind.platform.embedded.errors import EmbeddedError
from tradewind.platform.embedded.server import EmbeddedPostgres


async def own(home: Path, words: list[str]) -> None:
    """Own the server of `home` until it ends."""
    server = EmbeddedPostgres(home)
    try:
        await server.start()
    except EmbeddedError as error:
        print("error", error, flush=True)
        return
    children: list[int] = []
    if "fork" in words:
        children.append(os.fork())
        if children[0] == 0:
            signal.pause()
    print("started", server.pid, *children, flush=True)
    await server.wait()


if __name__ == "__main__":
    run = uvloop.run if "uvloop" in sys.argv else asyncio.run
    run(own(Path(sys.argv[1]), sys.argv[2:]))

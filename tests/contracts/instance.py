"""One instance of a small service, as a process: `python instance.py KEYS PORT LINGER`.

It stands in for products in tests of what becomes of calls when instances are stopped and killed.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Protocol

from contracts.internal import House
from tradewind.platform.lifecycle import Health
from tradewind.platform.web.serving import ServingSettings, serve


class Numbers(Protocol):
    """A contract of one method."""

    async def where(self, number: int) -> tuple[int, int]:
        """The number, and the process that answers."""
        ...


class LocalNumbers:
    """The contract, in a process."""

    async def where(self, number: int) -> tuple[int, int]:
        """As the contract says."""
        await asyncio.sleep(0.002)
        return number, os.getpid()


async def run(keys: Path, port: int, linger_seconds: float) -> None:
    """Listens until SIGTERM; then it says that it leaves, for so long, and leaves."""
    health, stop = Health(), asyncio.Event()
    app = House(keys).application("products", Numbers, LocalNumbers(), health=health)

    def end() -> None:
        health.draining = True
        stop.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    settings = ServingSettings(linger_seconds=linger_seconds)
    await serve(app, "127.0.0.1", port, settings=settings, ready=lambda: None, stop=stop)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))

"""A real internal listener and the way to it, for tests; one rule: as the store makes them."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from shop import free_port
from tradewind.platform.lifecycle import Health
from tradewind.platform.remote.client import Remote, RemoteSettings
from tradewind.platform.remote.identity import Signer, Verifier
from tradewind.platform.remote.keys import make_keys
from tradewind.platform.remote.server import Exposed, InternalApplication
from tradewind.platform.web.serving import ServingSettings, serve
from tradewind.topology.services import SERVICES, callers_of


async def _no_metrics() -> tuple[bytes, str]:
    return b"nothing 1\n", "text/plain"


class House:
    """The keys of all services, and what is made with them. `clock` is that of the database."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self.clock = clock
        self._remotes: list[Remote] = []
        make_keys(folder, SERVICES)

    def signer(self, service: str) -> Signer:
        """Proves that one is this service."""
        return Signer(service, self.folder, self.clock, time.monotonic)

    def application(
        self, service: str, contract: type[Any], implementation: Any, **more: Any
    ) -> InternalApplication:
        """What a process of the service listens with; `health` says that it is ready."""
        health = more.pop("health", None) or Health()
        health.ready = True
        return InternalApplication(
            [Exposed(service, contract, implementation, callers_of(service))],
            {service: Verifier(service, self.folder, self.clock, time.monotonic)},
            health,
            more.pop("metrics", _no_metrics),
            **more,
        )

    def remote(
        self,
        service: str,
        contract: type[Any],
        urls: Sequence[str],
        *,
        caller: str = "orders",
        settings: RemoteSettings | None = None,
    ) -> Remote:
        """The way to it for another service."""
        made = Remote(
            service, contract, urls, self.signer(caller).token, settings, clock=self.clock
        )
        self._remotes.append(made)
        return made

    async def close(self) -> None:
        """Closes every way that was made."""
        for remote in self._remotes:
            await remote.close()


@asynccontextmanager
async def listening(app: InternalApplication, port: int | None = None) -> AsyncGenerator[str]:
    """The application behind a listener as every process has it; gives its address."""
    at = port or free_port()
    stop, ready = asyncio.Event(), asyncio.Event()
    settings = ServingSettings(drain_seconds=1.0)
    serving = asyncio.create_task(
        serve(app, "127.0.0.1", at, settings=settings, ready=ready.set, stop=stop)
    )
    await asyncio.wait(
        {serving, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED
    )
    if serving.done():
        serving.result()
    try:
        yield f"http://127.0.0.1:{at}"
    finally:
        stop.set()
        await serving

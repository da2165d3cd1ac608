"""A service as it runs in this process; one rule: whoever starts it owns it and ends it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from litestar import Router
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from tradewind.platform.bus import Bus
from tradewind.platform.database import Database
from tradewind.platform.inbox import Inbox
from tradewind.platform.lifecycle import Worker
from tradewind.platform.outbox import CHANNEL as OUTBOX_CHANNEL
from tradewind.platform.outbox import Outbox, relay

Hearing = Callable[[str], None]
"""Told the payload of a NOTIFY."""
Contract_co = TypeVar("Contract_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Running(Generic[Contract_co]):
    """What a service's `local()` gives to `compose`."""

    name: str
    contract: Contract_co
    """Implements the service's Protocol by plain calls."""
    context: Any
    """What its actions work with; for the command line and for tests."""
    router: Router
    database: Database
    outbox: Outbox
    inbox: Inbox
    workers: Sequence[Worker] = field(default=())
    """Beside the relay and the retries, which every service has."""
    channels: Mapping[str, Hearing] = field(default_factory=dict[str, Hearing])
    """What to call with the payload of each NOTIFY, by channel; empty when some were missed."""


@dataclass(frozen=True, slots=True)
class Events:
    """How the services of a process publish and hear: a bus for each, and workers beside."""

    buses: Mapping[str, Bus]
    workers: Sequence[Worker]


class Later:
    """Stands for a contract until all services are made, for they need each other in a ring."""

    def __init__(self) -> None:
        self.target: Any = None

    def __getattr__(self, name: str) -> Any:
        """A method of the contract."""
        return getattr(self.target, name)


def given(value: object) -> Provide:
    """A dependency that is always this value."""

    def give() -> object:
        return value

    return Provide(give, sync_to_thread=False)


def undone_router(
    handlers: Sequence[ControllerRouterHandler], dependencies: Sequence[str]
) -> Router:
    """Routes to be told of and not to be called: what they work with is not there."""
    return Router(
        path="/", route_handlers=handlers, dependencies={name: given(None) for name in dependencies}
    )


async def start_workers(
    services: Sequence[Running[Any]], connect: Callable[[Mapping[str, Inbox]], Events]
) -> list[Worker]:
    """Starts what works beside the requests; `connect` joins inboxes to whoever publishes."""
    events = connect({one.name: one.inbox for one in services})
    workers: list[Worker] = [*events.workers]
    for service in services:
        one = relay(service.name, service.database, events.buses[service.name])
        service.outbox.wake = one.wake
        channels = {OUTBOX_CHANNEL: partial(_wake, one), **service.channels}
        for channel, callback in channels.items():
            await service.database.listen(channel, callback)
        workers += [one, service.inbox.retries(), service.inbox.forgetting(), *service.workers]
        workers.append(_listening(service))
    for worker in workers:
        worker.start()
    return workers


def _wake(worker: Worker, _payload: str) -> None:
    worker.wake()


def _listening(service: Running[Any]) -> Worker:
    async def step() -> bool:
        await service.database.keep_listening()
        return False

    return Worker(f"listen {service.name}", step, every_seconds=5.0)

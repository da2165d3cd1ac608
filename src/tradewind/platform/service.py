"""A service as it runs in this process; one rule: whoever starts it owns it and ends it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from litestar import Router
from litestar.di import Provide

from tradewind.platform.database import Database
from tradewind.platform.inbox import Inbox
from tradewind.platform.lifecycle import Worker
from tradewind.platform.outbox import Outbox

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

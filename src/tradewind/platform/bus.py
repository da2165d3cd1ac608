"""How events reach their consumers; one rule: `publish` returns when they are in safe hands.

Otherwise it raises, so that the outbox keeps them.

`LocalBus` serves one process: it hands messages to the inbox of each subscribed service, which
has committed their effects, or parked them for another try, when it returns.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol

from tradewind.platform.events import Message


class Bus(Protocol):
    """Carries messages to every service that subscribed to their type."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Returns when every consumer has them for good; raises if any has not."""
        ...


class Consumer(Protocol):
    """The receiving end: a service's inbox."""

    @property
    def types(self) -> frozenset[str]:
        """The event types that it wants."""
        ...

    async def handle(self, messages: Sequence[Message]) -> None:
        """Takes messages, each at most once; raises only where none could be taken."""
        ...


class LocalBus:
    """Within one process: all consumers at once, each its own transaction."""

    def __init__(self) -> None:
        self._consumers: list[Consumer] = []

    def subscribe(self, consumer: Consumer) -> None:
        """Adds a service's inbox."""
        self._consumers.append(consumer)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Hands each consumer what it wants. One that fails does not keep the others waiting."""
        work: list[Awaitable[None]] = []
        for consumer in self._consumers:
            wanted = [message for message in messages if message.type in consumer.types]
            if wanted:
                work.append(consumer.handle(wanted))
        outcomes = await asyncio.gather(*work, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

"""A contract to try calls with, and ways to stand-ins of it; one rule: who answers is waited for.

A test process that is held up for a second or two must not take its own standing still for that of
an instance: only where nobody ever answers does a time-out pass.
"""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from contracts.internal import House
from contracts.stand_ins import answering
from tradewind.platform.remote.client import Remote, RemoteSettings


class Trial(Protocol):
    """A contract to try calls with."""

    async def tell(self, ids: Sequence[UUID]) -> list[bool]:
        """Something for each."""
        ...

    async def name(self, number: int) -> str:
        """Something for one."""
        ...


NAMED = answering(b'[{"value":"seven"}]')
PROBLEM = answering(b'{"code":"internal_error","detail":"about Ann"}', 500)
CALM = RemoteSettings(connect_seconds=20.0, first_seconds=3.0, try_seconds=3.0, total_seconds=60.0)
"""Long enough that whoever answers has answered."""
PATIENT = RemoteSettings(
    connect_seconds=20.0, first_seconds=60.0, try_seconds=60.0, total_seconds=60.0
)
"""No try ends by itself, where the test ends them all."""
HASTY = RemoteSettings(connect_seconds=20.0, first_seconds=0.3, try_seconds=0.3)
"""For whom it means nothing whether a time-out was deserved."""


def way(house: House, *urls: str, settings: RemoteSettings = CALM) -> Remote:
    """A way to these instances."""
    return house.remote("products", Trial, urls, settings=settings)


def first_goes_to(remote: Remote, number: int) -> None:
    """The next call goes there first: the others look busier."""
    for at, endpoint in enumerate(remote.endpoints):
        endpoint.at_work = int(at != number)

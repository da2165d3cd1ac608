"""A contract to try calls with, and ways to stand-ins of it; one rule: nothing waits for long."""

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
QUICK = RemoteSettings(first_seconds=0.3, try_seconds=0.4, total_seconds=5.0)


def way(house: House, *urls: str, settings: RemoteSettings = QUICK) -> Remote:
    """A way to these instances."""
    return house.remote("products", Trial, urls, settings=settings)


def first_goes_to(remote: Remote, number: int) -> None:
    """The next call goes there first: the others look busier."""
    for at, endpoint in enumerate(remote.endpoints):
        endpoint.at_work = int(at != number)

"""The promise of products, over HTTP; one rule: it says what the contract says."""

from collections.abc import Sequence
from uuid import UUID

from tradewind.platform.remote.client import Remote
from tradewind.platform.remote.gathering import Gathered
from tradewind.products.contract import (
    NoPrice,
    NotSold,
    Quote,
    QuotedLine,
    Refusal,
    Reserve,
    Reserved,
)


class RemoteProducts:
    """Products, wherever it runs. Every call may be made twice: the ids are the caller's."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._reserves: Gathered[Reserve, Reserved | Refusal] = Gathered(remote, "reserve")
        self._quotes: Gathered[Quote, tuple[QuotedLine, ...] | NotSold | NoPrice] = Gathered(
            remote, "quote"
        )
        self._extends: Gathered[UUID, bool] = Gathered(remote, "extend")

    async def reserve(self, requests: Sequence[Reserve]) -> list[Reserved | Refusal]:
        """As the contract says."""
        return await self._reserves.submit_all(requests)

    async def extend(self, reservation_ids: Sequence[UUID]) -> list[bool]:
        """As the contract says."""
        return await self._extends.submit_all(reservation_ids)

    async def release(self, reservation_ids: Sequence[UUID]) -> None:
        """As the contract says."""
        await self._remote.call("release", reservation_ids)

    async def quote(
        self, requests: Sequence[Quote]
    ) -> list[tuple[QuotedLine, ...] | NotSold | NoPrice]:
        """As the contract says."""
        return await self._quotes.submit_all(requests)

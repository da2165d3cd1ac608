"""The promise of orders, over HTTP; one rule: it says what the contract says."""

from collections.abc import Sequence
from uuid import UUID

from tradewind.orders.contract import CartAdoption, HeldOrders
from tradewind.platform.remote.client import Remote


class RemoteOrders:
    """Orders, wherever it runs."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    async def adopt_carts(self, adoptions: Sequence[CartAdoption]) -> list[bool]:
        """As the contract says; not asked again: the second answer would be that there is none."""
        return await self._remote.call("adopt_carts", adoptions, twice=False)

    async def standing(self, reservation_ids: Sequence[UUID]) -> list[bool]:
        """As the contract says."""
        return await self._remote.call("standing", reservation_ids)

    async def export(self, user_id: UUID) -> HeldOrders:
        """As the contract says."""
        return await self._remote.call("export", user_id)

"""Orders, as products may meet it where nothing was ever ordered."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from tradewind.orders.contract import CartAdoption, HeldOrders


class NobodyOrdered:
    """Orders, where no order was ever placed."""

    async def standing(self, reservation_ids: Sequence[UUID]) -> list[bool]:
        """As the contract says."""
        return [False for _ in reservation_ids]

    async def adopt_carts(self, adoptions: Sequence[CartAdoption]) -> list[bool]:
        """As the contract says."""
        return [False for _ in adoptions]

    async def export(self, user_id: UUID) -> HeldOrders:
        """As the contract says."""
        return HeldOrders(msgspec.Raw(b"[]"), msgspec.Raw(b"[]"))

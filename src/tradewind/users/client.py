"""The promise of users, over HTTP; one rule: it says what the contract says."""

from collections.abc import Sequence
from uuid import UUID

from tradewind.platform.principals import Principal
from tradewind.platform.remote.client import Remote
from tradewind.platform.remote.gathering import Gathered
from tradewind.users.contract import Contact


class RemoteUsers:
    """Users, wherever it runs; lookups that come together are one call."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._principals: Gathered[str, Principal | None] = Gathered(remote, "principals", most=512)

    async def authenticate(self, token: str) -> Principal | None:
        """As the contract says."""
        return await self._principals.submit(token)

    async def principals(self, tokens: Sequence[str]) -> list[Principal | None]:
        """As the contract says."""
        return await self._principals.submit_all(tokens)

    async def contacts(self, user_ids: Sequence[UUID]) -> list[Contact]:
        """As the contract says."""
        return await self._remote.call("contacts", user_ids)

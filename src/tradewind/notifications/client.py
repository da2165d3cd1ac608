"""The promise of notifications, over HTTP; one rule: it says what the contract says."""

from uuid import UUID

from tradewind.notifications.contract import HeldMessages
from tradewind.platform.remote.client import Remote


class RemoteNotifications:
    """Notifications, wherever it runs."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    async def export(self, user_id: UUID) -> HeldMessages:
        """As the contract says."""
        return await self._remote.call("export", user_id)

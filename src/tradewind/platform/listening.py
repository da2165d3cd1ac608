"""Hearing of NOTIFY; one rule: a NOTIFY only wakes, for it may be missed: listeners also poll.

Behind a pooler in transaction mode nobody can LISTEN: there every step tells all channels that
something may have been missed, and the pace of the steps is the pace of polling.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import structlog

from tradewind.platform.connections import Address

_log = structlog.get_logger(__name__)
_ANSWER_SECONDS = 5


class Listening:
    """One connection that listens to any number of channels, made anew when it is lost."""

    def __init__(
        self, address: Address, check: Callable[[Any], Awaitable[None]], *, pooled: bool
    ) -> None:
        self._address = address
        self._check = check
        self._pooled = pooled
        self._connection: Any = None
        self._channels: dict[str, Callable[[str], None]] = {}

    async def add(self, channel: str, callback: Callable[[str], None]) -> None:
        """Calls back with the payload of each NOTIFY; empty where something may be missed."""
        self._channels[channel] = callback
        if self._connection is not None:
            await self._connection.add_listener(channel, self._notified)

    async def step(self) -> None:
        """Makes sure that the connection lives; raises where it cannot be had."""
        if self._pooled:
            self._tell_all()
            return
        if self._connection is not None and not self._connection.is_closed():
            try:
                await self._check(self._connection)
            except Exception:
                # It may never say so itself: a server that hangs, an answer cut in two.
                self.close()
                raise
            return
        connection = await asyncpg.connect(
            **self._address.arguments(), timeout=_ANSWER_SECONDS, command_timeout=_ANSWER_SECONDS
        )
        try:
            for channel in self._channels:
                await connection.add_listener(channel, self._notified)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection
        self._tell_all()  # whatever was missed meanwhile

    def close(self) -> None:
        """Ends the connection."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.terminate()

    def _tell_all(self) -> None:
        for channel, callback in self._channels.items():
            _log.debug("listening", channel=channel)
            callback("")

    def _notified(self, _connection: Any, _pid: int, channel: str, payload: object) -> None:
        self._channels[channel](str(payload))

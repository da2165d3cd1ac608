"""HTTP over kept connections, as little as there can be; one rule: every answer is read whole."""

import asyncio
import re
from collections.abc import Callable
from typing import cast

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
BROKEN = 0


class Connection(asyncio.Protocol):
    """One connection with one request at a time; `answered` is told the status, BROKEN if none."""

    def __init__(self, answered: "Callable[[Connection, int], None]") -> None:
        self.ticket = -1
        """Whatever the sender knows its request by."""
        self.is_open = False
        self._answered = answered
        self._transport: asyncio.Transport | None = None
        self._got = b""
        self._waits = False

    def send(self, ticket: int, request: bytes) -> None:
        """Sends; the one before must have been answered."""
        assert self._transport is not None
        assert not self._waits
        self.ticket, self._waits, self._got = ticket, True, b""
        self._transport.write(request)

    def close(self) -> None:
        """Closes it."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there; uvloop's transports look like asyncio's and are of another class."""
        self._transport, self.is_open = cast("asyncio.Transport", transport), True

    def data_received(self, data: bytes) -> None:
        """A part of an answer, or all of it."""
        self._got = self._got + data if self._got else data
        head_end = self._got.find(_HEAD_END)
        if head_end < 0:
            return
        length = _LENGTH.search(self._got, 0, head_end)
        if length is None:
            # Nothing here is answered in chunks; if it is, this measure does not understand it.
            self._end(BROKEN)
            self.close()
        elif len(self._got) >= head_end + len(_HEAD_END) + int(length[1]):
            self._end(int(self._got[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits gets no answer any more."""
        self.is_open = False
        self._end(BROKEN)

    def _end(self, status: int) -> None:
        if self._waits:
            self._waits = False
            self._answered(self, status)

"""What comes of handing a mail over, and when to try again; one rule: pure decisions.

A mail is tried again until it is a day old, with pauses that grow with its age: after a fault of
any length it goes out at the latest half as long after the fault's end. Where the server itself is
at fault the pauses stay short, for one try then tells of all.
"""

from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

import msgspec

SERVER_PAUSE_MOST_SECONDS: Final = 15.0
MESSAGE_PAUSE_MOST_SECONDS: Final = 1800.0
_PAUSE_LEAST_SECONDS: Final = 1.0
_PAUSE_PER_AGE: Final = 0.5


class Delivered(msgspec.Struct, frozen=True):
    """The server has taken it."""


class Deferred(msgspec.Struct, frozen=True):
    """Not now. `is_server`: the server was at fault, not this mail."""

    reason: str
    is_server: bool


class Refused(msgspec.Struct, frozen=True):
    """Never."""

    reason: str


Outcome = Delivered | Deferred | Refused


class Claimed(msgspec.Struct, frozen=True):
    """A mail that is this process's to send until its lease is over."""

    id: UUID
    kind: str
    recipient: str
    data: bytes
    attempts: int
    """This one included."""
    resends: int
    queued_at: datetime
    created_at: datetime


def pause_seconds(age_seconds: float, chance: float, *, is_server: bool) -> float:
    """How long to wait before the next try; `chance` in [0, 1) spreads tries apart."""
    most = SERVER_PAUSE_MOST_SECONDS if is_server else MESSAGE_PAUSE_MOST_SECONDS
    pause = min(most, max(_PAUSE_LEAST_SECONDS, age_seconds * _PAUSE_PER_AGE))
    return pause * (0.5 + chance / 2)


def breaker_seconds(failures: int, chance: float) -> float:
    """How long to leave a server alone that failed so many times in a row."""
    return min(SERVER_PAUSE_MOST_SECONDS, 0.25 * 2 ** min(failures, 10)) * (0.5 + chance / 2)


class Mail(msgspec.Struct, frozen=True):
    """A mail ready for the wire."""

    sender: str
    recipient: str
    is_utf8: bool
    """The recipient's name is not ASCII, so the server must know SMTPUTF8 (RFC 6531)."""
    content: bytes


class CarrierDown(Exception):
    """The mail server cannot be reached or does not let us in."""


class Connection(Protocol):
    """An open way to the mail server."""

    async def send(self, mail: Mail) -> Outcome:
        """Hands one mail over."""
        ...

    async def close(self) -> None:
        """Says goodbye."""
        ...


class Carrier(Protocol):
    """Whoever takes mails away."""

    async def connect(self) -> Connection:
        """Opens a way to the mail server; raises CarrierDown."""
        ...

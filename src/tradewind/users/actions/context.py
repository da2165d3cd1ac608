"""What every action of users works with; one rule: everything from outside comes in here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import msgspec

from tradewind.notifications.contract import Notifications
from tradewind.orders.contract import Orders
from tradewind.platform.config import Positive, Seconds
from tradewind.platform.database import Database
from tradewind.platform.outbox import Outbox
from tradewind.users.actions.attempts import Attempts
from tradewind.users.actions.hashing import Hashing
from tradewind.users.actions.live_sessions import LiveSessions


class UsersSettings(msgspec.Struct, frozen=True):
    """What can be set about users (`TRADEWIND_USERS_…`)."""

    session_days: Annotated[int, msgspec.Meta(ge=1, le=365)] = 30
    """How long a session lives, whatever happens."""
    session_cache_seconds: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.8
    """How long a session is believed without asking, where no word of its end comes through."""
    account_failures_most: Positive = 100
    """Failed sign-ins of one account in 15 minutes."""
    client_failures_most: Positive = 300
    """Failed sign-ins from one client in 15 minutes."""
    delay_most_seconds: Seconds = 2.0
    """How long an attempt is held back at most after many failures."""
    failure_seconds: Annotated[float, msgspec.Meta(ge=0, le=5)] = 0.4
    """A failed sign-in is answered no sooner, so that its time does not tell an unknown name from a
    known one whose hash is of another kind."""
    hash_memory_kib: Annotated[int, msgspec.Meta(ge=19_456)] = 19_456
    """Memory that one password hash takes (argon2id); weaker hashes are made anew at sign-in."""
    hash_passes: Annotated[int, msgspec.Meta(ge=2)] = 2
    """Passes over it."""
    hash_threads: Positive | None = None
    """As many as cores if not given; each takes `hash_memory_kib` while it works."""
    hashes_waiting_most: Positive = 400
    """Sign-ins and registrations that may wait for their hash; the next is answered 503."""
    reset_minutes: Positive = 60
    """How long the link of a password reset is good."""
    verification_hours: Positive = 72
    """How long the link of an e-mail verification is good."""
    verify_email_required: bool = False
    """Registering a taken address is answered like a free one, and its owner told by mail."""
    unverified_sign_in: bool = True
    """Accounts may sign in before their address is verified. False closes the last way to find
    out, by registering and signing in, whether an address has an account."""


class Bell:
    """Wakes a worker, once there is one."""

    def __init__(self) -> None:
        self.wake: Callable[[], None] | None = None

    def ring(self) -> None:
        """There is something to do."""
        if self.wake is not None:
            self.wake()


@dataclass(frozen=True, slots=True)
class UsersContext:
    """One process's users service."""

    database: Database
    outbox: Outbox
    settings: UsersSettings
    orders: Orders
    notifications: Notifications
    hashing: Hashing
    attempts: Attempts
    live_sessions: LiveSessions
    common_passwords: frozenset[str]
    pepper: bytes
    """Keys the fingerprints of bodies that hold a password; 32 bytes."""
    reset_bell: Bell
    """Rung when there are password resets to be sent."""

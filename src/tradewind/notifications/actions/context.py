"""What the actions of notifications work with; one rule: everything from outside comes in here."""

from collections.abc import Callable
from dataclasses import dataclass

from tradewind.notifications.actions.streams import Streams
from tradewind.notifications.model.delivery import Carrier
from tradewind.notifications.model.entries import Entry
from tradewind.notifications.model.letters import Letters
from tradewind.notifications.model.settings import NotificationsSettings
from tradewind.notifications.store.entries import Ask
from tradewind.platform.coalesce import Coalescer
from tradewind.platform.database import Database
from tradewind.platform.outbox import Outbox


class Bell:
    """Wakes a worker of this process; rings into the void where there is none."""

    __slots__ = ("wake",)

    def __init__(self) -> None:
        self.wake: Callable[[], None] | None = None

    def ring(self) -> None:
        """There may be something to do."""
        if self.wake is not None:
            self.wake()


@dataclass(frozen=True, slots=True)
class NotificationsContext:
    """One process's notifications service."""

    database: Database
    outbox: Outbox
    settings: NotificationsSettings
    letters: Letters
    carrier: Carrier | None
    """Takes mails away; None keeps them in the store."""
    streams: Streams
    reads: Coalescer[Ask, list[Entry]]
    """What streams read from the database, many in one statement."""
    chance: Callable[[], float]
    """A random number in [0, 1), to spread tries apart."""
    mail_bell: Bell
    stream_bell: Bell

"""The database's time on this machine; one rule: no wall clock but the database's decides."""

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """The database's time, without asking it each time: its clock at a known monotonic moment.

    A wall clock that jumps on this machine changes nothing here.
    """

    def __init__(self) -> None:
        self._at = datetime.now(UTC)
        self._monotonic = time.monotonic()

    def set(self, now: datetime, monotonic: float) -> None:
        """The database said `now` at this monotonic moment."""
        self._at, self._monotonic = now, monotonic

    def now(self) -> datetime:
        """Database time, UTC."""
        return self._at + timedelta(seconds=time.monotonic() - self._monotonic)

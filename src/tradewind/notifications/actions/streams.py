"""The event streams that this process has open; one rule: a stream is a position, not a buffer.

Whoever writes an entry only says whose inbox it is in; each stream then reads on from its own
position in the database. So a slow client costs nothing but its place in here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID

from tradewind.notifications.contract import StreamsFull, TooManyStreams


class Stream:
    """One client that listens. `woken` is set where there may be something new, or it is over."""

    __slots__ = ("is_over", "may_go_on", "user_id", "woken")

    def __init__(self, user_id: UUID, may_go_on: Callable[[], Awaitable[bool]]) -> None:
        self.user_id = user_id
        self.may_go_on = may_go_on
        """Whether its session still lives and this process stays."""
        self.woken = asyncio.Event()
        self.is_over = False

    def end(self) -> None:
        """Lets it say goodbye; its client comes back where it may."""
        self.is_over = True
        self.woken.set()


class Streams:
    """All of them, by user; and whose inboxes other processes have not heard of yet."""

    def __init__(self, *, most: int, per_user_most: int) -> None:
        self._most = most
        self._per_user_most = per_user_most
        self._by_user: dict[UUID, set[Stream]] = {}
        self._count = 0
        self.untold: set[UUID] = set()
        """Whose inboxes changed here, to be told to other processes."""

    def __len__(self) -> int:
        """How many are open."""
        return self._count

    def __iter__(self) -> Iterator[Stream]:
        """Those open now, safe against openings and ends meanwhile."""
        return iter([one for many in self._by_user.values() for one in many])

    @contextmanager
    def opened(self, user_id: UUID, may_go_on: Callable[[], Awaitable[bool]]) -> Generator[Stream]:
        """A stream for as long as the block lasts. Raises TooManyStreams or StreamsFull."""
        if self._count >= self._most:
            raise StreamsFull(
                "Too many event streams are open just now; the inbox can still be read.",
                retry_after_seconds=30,
            )
        of_user = self._by_user.setdefault(user_id, set())
        if len(of_user) >= self._per_user_most:
            raise TooManyStreams(
                f"You have {len(of_user)} event streams open; close one first.",
                retry_after_seconds=30,
            )
        stream = Stream(user_id, may_go_on)
        of_user.add(stream)
        self._count += 1
        try:
            yield stream
        finally:
            self._count -= 1
            of_user.discard(stream)
            if not of_user:
                self._by_user.pop(user_id, None)

    def wake(self, user_ids: Iterable[UUID]) -> None:
        """Something came for these users."""
        if self._by_user:
            for user_id in user_ids:
                for stream in self._by_user.get(user_id, ()):
                    stream.woken.set()

    def wake_all(self) -> None:
        """Something may have been missed."""
        for stream in self:
            stream.woken.set()

    def end_of(self, user_ids: Iterable[UUID]) -> None:
        """Ends all streams of these users."""
        for user_id in user_ids:
            for stream in self._by_user.get(user_id, ()):
                stream.end()

    def end_all(self) -> None:
        """Ends every stream: the process is about to go."""
        for stream in self:
            stream.end()

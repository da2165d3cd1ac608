"""Public answers, kept as bytes; one rule: nothing that a drop has overtaken is ever kept.

An answer is fresh for `fresh_seconds`; until it is `stale_seconds` old it is still given while a
new one is fetched beside it; however many ask, one fetch runs per key. Answers are dropped by the
tags in their `Surrogate-Key`. Where fetching fails (status >= 500), an answer up to
`rescue_seconds` old that no drop has touched is given instead: stale at worst, never wrong.

Memory is bounded in bytes. New answers stand in a small waiting room (a fifth) until they are
asked for again, so that a flood of queries never asked twice cannot push out what all ask for.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import msgspec
import structlog

from tradewind.platform.web.answers import etag_of_body
from tradewind.platform.web.asgi import Message, RawHeaders
from tradewind.platform.web.sending import NOSNIFF, without_body_headers

_OK = 200
_FAILED = 500
_OVERHEAD_BYTES = 1_000
"""What an entry costs besides its body; generous."""
_PROBATION_SHARE = 5
_SET_HERE = (b"content-length", b"x-content-type-options")

_log = structlog.stdlib.get_logger(__name__)


class Answer(msgspec.Struct, frozen=True):
    """What a handler answered: status, raw headers, whole body."""

    status: int
    headers: RawHeaders
    body: bytes
    route: str = ""
    """The template of the route that answered; for metrics and logs alone."""


Produce = Callable[[], Awaitable[Answer]]
"""Fetches an answer anew."""


class Beyond(Protocol):
    """What other instances have fetched (`platform/redis/pages.py`), behind what is kept here."""

    async def fetch(self, key: str, produce: Produce) -> Answer:
        """Another's answer that no drop has overtaken, else what `produce` gives."""
        ...

    def drop(self, tags: Iterable[str]) -> None:
        """From now on no answer with one of these tags whose fetch began before is given."""
        ...

    def clear(self) -> None:
        """From now on no answer whose fetch began before is given."""
        ...


class Kept(msgspec.Struct, gc=False):
    """A public answer, ready to be sent any number of times; times are of the cache's clock."""

    headers: RawHeaders
    """Those of a whole answer; the server adds the length."""
    head_headers: RawHeaders
    """Those of the answer to HEAD."""
    unchanged_headers: RawHeaders
    """Those of the 304."""
    body: Message
    etag: str
    tags: frozenset[str]
    size_bytes: int
    stale_at: float
    gone_at: float
    rescue_until: float
    refreshing: bool = False
    route: str = ""


class _Flight:
    """One fetch under way, and what was dropped since it began."""

    __slots__ = ("all_dropped", "dropped", "landed")

    def __init__(self) -> None:
        self.landed: asyncio.Future[Kept | None] = asyncio.get_running_loop().create_future()
        self.dropped: set[str] = set()
        self.all_dropped = False

    def overtaken(self) -> bool:
        return self.all_dropped or bool(self.dropped)


class ResponseCache:
    """Public GET answers by key (path and normalised query). One event loop only."""

    def __init__(
        self,
        *,
        max_bytes: int = 64 * 1024 * 1024,
        max_entry_bytes: int = 1024 * 1024,
        fresh_seconds: float = 0.5,
        stale_seconds: float = 1.0,
        rescue_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        beyond: Beyond | None = None,
    ) -> None:
        self.bytes_kept = 0
        self.fills = 0
        """Answers fetched."""
        self.rescues = 0
        """Failed fetches that an older answer stood in for."""
        self._beyond = beyond
        self._max_bytes = max_bytes
        self._max_entry_bytes = max_entry_bytes
        self._fresh_seconds = fresh_seconds
        self._stale_seconds = max(stale_seconds, fresh_seconds)
        self._rescue_seconds = rescue_seconds
        self._clock = clock
        self._proven: OrderedDict[str, Kept] = OrderedDict()
        self._waiting: OrderedDict[str, Kept] = OrderedDict()
        self._waiting_bytes = 0
        self._by_tag: dict[str, set[str]] = {}
        self._flights: dict[str, _Flight] = {}
        self._tasks: set[asyncio.Task[Kept | Answer]] = set()

    @property
    def entries(self) -> int:
        """How many answers are kept."""
        return len(self._proven) + len(self._waiting)

    def get(self, key: str, now: float | None = None) -> Kept | None:
        """The answer for a key, if there is one that may still be given."""
        kept = self._proven.get(key)
        if kept is not None:
            if (self._clock() if now is None else now) >= kept.gone_at:
                return None
            self._proven.move_to_end(key)
            return kept
        kept = self._waiting.get(key)
        if kept is None or (self._clock() if now is None else now) >= kept.gone_at:
            return None
        del self._waiting[key]
        self._waiting_bytes -= kept.size_bytes
        self._proven[key] = kept
        return kept

    def refresh(self, key: str, kept: Kept, produce: Produce) -> None:
        """Fetch an answer anew, beside the one who asked; once at a time.

        To be called for a kept answer that is stale (`kept.stale_at` is over).
        """
        if kept.refreshing:
            return
        kept.refreshing = True
        if key not in self._flights:
            self._start(key, produce)

    async def fill(self, key: str, produce: Produce) -> Kept | Answer | None:
        """Fetch an answer, or wait for whoever already does.

        Gives `Kept` if it is for everybody; the plain `Answer` if it is not, but then only to the
        one whose fetch it was; None to the others, who must ask by themselves.
        """
        flight = self._flights.get(key)
        if flight is not None and not flight.overtaken():
            return await asyncio.shield(flight.landed)
        return await asyncio.shield(self._start(key, produce))

    def drop(self, tags: Iterable[str]) -> int:
        """Forget every answer with one of these tags, also those being fetched; counts them."""
        given = set(tags)
        if self._beyond is not None:
            self._beyond.drop(given)
        for flight in self._flights.values():
            flight.dropped |= given
        keys: set[str] = set()
        for tag in given:
            keys |= self._by_tag.get(tag, set())
        for key in keys:
            self._remove(key)
        return len(keys)

    def clear(self) -> None:
        """Forget everything, also what is being fetched."""
        if self._beyond is not None:
            self._beyond.clear()
        for flight in self._flights.values():
            flight.all_dropped = True
        for key in [*self._proven, *self._waiting]:
            self._remove(key)

    def _start(self, key: str, produce: Produce) -> asyncio.Task[Kept | Answer]:
        flight = self._flights[key] = _Flight()
        self.fills += 1
        task = asyncio.create_task(self._fly(key, flight, produce))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Kept | Answer]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("fill_failed", error=repr(error))

    async def _fly(self, key: str, flight: _Flight, produce: Produce) -> Kept | Answer:
        kept: Kept | None = None
        beyond = self._beyond
        try:
            answer = await (produce() if beyond is None else beyond.fetch(key, produce))
            if answer.status >= _FAILED:
                kept = self._rescue(key)
                self.rescues += kept is not None
            elif (tags := public_tags(answer)) is not None:
                kept = self._prepare(answer, tags)
                # A flight that another has replaced hears of no further drops, so it keeps nothing.
                heard_all = self._flights.get(key) is flight and not flight.all_dropped
                if heard_all and tags.isdisjoint(flight.dropped):
                    self._keep(key, kept)
            return kept or answer
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]
            if (old := self._proven.get(key) or self._waiting.get(key)) is not None:
                old.refreshing = False
            if not flight.landed.done():
                flight.landed.set_result(kept)

    def _rescue(self, key: str) -> Kept | None:
        old = self._proven.get(key) or self._waiting.get(key)
        return old if old is not None and self._clock() < old.rescue_until else None

    def _prepare(self, answer: Answer, tags: frozenset[str]) -> Kept:
        present = dict(answer.headers)
        headers = list(answer.headers)
        etag = present.get(b"etag", b"").decode("latin-1") or etag_of_body(answer.body)
        if b"etag" not in present:
            headers.append((b"etag", etag.encode("latin-1")))
        headers = [header for header in headers if header[0] not in _SET_HERE]
        headers.append(NOSNIFF)
        now = self._clock()
        return Kept(
            headers=headers,
            head_headers=[*headers, (b"content-length", b"%d" % len(answer.body))],
            unchanged_headers=without_body_headers(headers),
            body={"type": "http.response.body", "body": answer.body, "more_body": False},
            etag=etag,
            tags=tags,
            size_bytes=len(answer.body) + _OVERHEAD_BYTES,
            stale_at=now + self._fresh_seconds,
            gone_at=now + self._stale_seconds,
            rescue_until=now + self._rescue_seconds,
            route=answer.route,
        )

    def _keep(self, key: str, kept: Kept) -> None:
        if kept.size_bytes > self._max_entry_bytes:
            self._remove(key)
            return
        proven = key in self._proven
        self._remove(key)
        if proven:
            self._proven[key] = kept
        else:
            self._waiting[key] = kept
            self._waiting_bytes += kept.size_bytes
        self.bytes_kept += kept.size_bytes
        for tag in kept.tags:
            self._by_tag.setdefault(tag, set()).add(key)
        while self._waiting_bytes > self._max_bytes // _PROBATION_SHARE:
            self._remove(next(iter(self._waiting)))
        while self.bytes_kept > self._max_bytes:
            self._remove(next(iter(self._waiting or self._proven)))

    def _remove(self, key: str) -> None:
        kept = self._proven.pop(key, None)
        if kept is None:
            kept = self._waiting.pop(key, None)
            if kept is None:
                return
            self._waiting_bytes -= kept.size_bytes
        self.bytes_kept -= kept.size_bytes
        for tag in kept.tags:
            keys = self._by_tag.get(tag)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._by_tag[tag]


def public_tags(answer: Answer) -> frozenset[str] | None:
    """The tags of an answer that is the same for everybody; None if it is not that."""
    if answer.status != _OK:
        return None
    tags: list[str] = []
    public = False
    for name, value in answer.headers:
        if name == b"cache-control":
            public = b"public" in value and b"no-store" not in value and b"private" not in value
        elif name == b"surrogate-key":
            tags += value.decode("latin-1").split()
        elif name in (b"set-cookie", b"vary"):
            return None
    return frozenset(tags) if public else None

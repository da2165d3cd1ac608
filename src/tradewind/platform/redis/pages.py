"""Public answers that another instance has fetched; one rule: a drop is a drop in every process.

A page lives for a few seconds. It carries the number of drops there had been when its fetch began,
and Redis the number of the last drop of each tag: a page one of whose tags was dropped later is
not given, whoever kept it and when. Numbers count within an era with a random name, which stands
in the same key, so that numbers which were lost can never come back equal. What this process has
heard to be dropped it refuses by itself until Redis knows.

Of many instances that want a page one fetches, and does so before the page is over, while the
others still give it; nobody waits for another's fetch longer than 50 ms.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from tradewind.platform.cache import Answer, Produce, public_tags
from tradewind.platform.clock import Clock
from tradewind.platform.coalesce import Coalescer
from tradewind.platform.errors import Unavailable
from tradewind.platform.redis.connection import Command, RedisLink, Reply
from tradewind.platform.redis.page_drops import DROPS, PageDrops, new_era, tag_name
from tradewind.platform.redis.page_scripts import KEEP, LOOK
from tradewind.platform.redis.sealed import Seal

VERSION = 1
"""Of what a page holds; to be raised with every change of it."""
_FAILED = 500
_LOOKS_MOST = 6
_PAUSE_SECONDS = 0.01
_CLOCKS_APART_SECONDS = 0.5


class PageTimes(msgspec.Struct, frozen=True):
    """How long what lasts; in seconds."""

    lifetime: float = 2.0
    """From the beginning of its fetch, a page is given at most so long."""
    early: float = 1.0
    """So long before its end one instance fetches it anew."""
    fetching: float = 0.5
    """So long one instance is taken to be fetching, if it says nothing more."""


class Page(msgspec.Struct, frozen=True, array_like=True):
    """What was fetched, and when that began (database time, seconds since 1970)."""

    began: float
    answer: Answer


class Ticket(msgspec.Struct, frozen=True):
    """What a fetch must have to be kept: how many drops there were before it began."""

    key: str
    era: bytes
    number: int
    began: float


class PageCounts(msgspec.Struct):
    """What came of the looks so far."""

    hits: int = 0
    misses: int = 0
    kept: int = 0


class RedisPages:
    """The second level of a `ResponseCache`. One event loop only."""

    def __init__(
        self,
        redis: RedisLink,
        secret: bytes,
        clock: Clock,
        *,
        times: PageTimes | None = None,
        max_bytes: int = 256 * 1024,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts = PageCounts()
        self._redis = redis
        self._clock = clock
        self._times = times or PageTimes()
        self._max_bytes = max_bytes
        self._drops = PageDrops(redis, self._times.lifetime, monotonic)
        self._seal = Seal(secret, "pages", VERSION)
        self._pages = msgspec.msgpack.Decoder(Page)
        self._looking = Coalescer("redis pages", self._carry_out, most=64, at_once=2)

    async def fetch(self, key: str, produce: Produce) -> Answer:
        """The page another instance fetched, or what `produce` gives, which the others then have.

        Raises only what `produce` does.
        """
        found = await self.get(key)
        if isinstance(found, Answer):
            return found
        answer = await produce()
        if found is None:
            return answer
        await self.keep(found, answer)
        if answer.status < _FAILED:
            return answer
        # It may have been fetched before the one that is there was over, or be there by now.
        fields = await self._look(key)
        page = None if fields is None else self._good(key, fields)
        return answer if page is None else page

    async def get(self, key: str) -> Answer | Ticket | None:
        """A page; else the right to keep what is fetched from now on; None while Redis is away."""
        for look in range(_LOOKS_MOST):
            if look:
                await asyncio.sleep(_PAUSE_SECONDS)
            began = self._clock.now().timestamp()
            fields = await self._look(key)
            if fields is None:
                break
            answer = self._good(key, fields)
            # Of those who find a page that is nearly over, one fetches it anew.
            if answer is not None and not fields.won:
                self.counts.hits += 1
                return answer
            # Nobody is known to fetch what stands there and may not be given.
            if fields.won or fields.value or look + 1 == _LOOKS_MOST:
                self.counts.misses += 1
                return Ticket(key, fields.era, fields.number, began)
        self.counts.misses += 1
        return None

    async def keep(self, ticket: Ticket, answer: Answer) -> None:
        """Gives the others what was fetched, if it is for everybody and nothing overtook it."""
        tags, left = public_tags(answer), self._left(ticket.began)
        if left <= 0 or len(answer.body) > self._max_bytes or self._drops.refuses(tags or ()):
            tags = None
        names = b" ".join(sorted(map(tag_name, tags or ())))
        bound = _bound(ticket.key, ticket.number, names)
        value = b""
        if tags is not None:
            value = self._seal.seal(bound, msgspec.msgpack.encode(Page(ticket.began, answer)))
        arguments = (ticket.era, ticket.number, names, value, max(1, int(left * 1000)))
        kept = await self._ask(("EVAL", KEEP, 3, *_keys(ticket.key), *arguments))
        self.counts.kept += kept == 1

    def drop(self, tags: Iterable[str]) -> None:
        """No page with one of these tags that was begun before now is given any more."""
        self._drops.drop(tags)

    def clear(self) -> None:
        """No page that was begun before now is given any more."""
        self._drops.clear()

    async def close(self) -> None:
        """Waits for what is being told; harmless when repeated."""
        await self._drops.told()

    async def _look(self, key: str) -> "_Fields | None":
        times = self._times
        fetching, early = int(times.fetching * 1000), int(times.early * 1000)
        return _fields(await self._ask(("EVAL", LOOK, 3, *_keys(key), new_era(), fetching, early)))

    def _good(self, key: str, fields: "_Fields") -> Answer | None:
        bound = _bound(key, fields.page_number, fields.names)
        content = self._seal.unseal(bound, fields.value)
        if content is None:
            return None
        try:
            page = self._pages.decode(content)
        except msgspec.MsgspecError:
            return None  # ours, of a schema that was changed without raising its version
        tags = fields.names.decode("latin-1").split()
        good = self._left(page.began) > 0 and not self._drops.refuses(tags)
        return page.answer if good else None

    def _left(self, began: float) -> float:
        """Seconds that a page has left whose fetch began then."""
        age = self._clock.now().timestamp() - began
        return self._times.lifetime - age if age > -_CLOCKS_APART_SECONDS else 0.0

    async def _ask(self, command: Command) -> Reply:
        try:
            return await self._looking.submit(command)
        except Unavailable:
            return None

    async def _carry_out(self, commands: list[Command]) -> Sequence[Reply]:
        replies = await self._redis.ask(commands)
        # A refusal would be raised, not answered; the link has counted it.
        return [None if isinstance(reply, Exception) else reply for reply in replies]


class _Fields(msgspec.Struct, array_like=True):
    """What a look answers."""

    era: bytes
    number: int
    won: int
    page_number: int
    names: bytes
    value: bytes


def _fields(reply: Reply) -> _Fields | None:
    try:
        return msgspec.convert(reply, _Fields)
    except msgspec.ValidationError:
        return None


def _keys(key: str) -> tuple[bytes, bytes, bytes]:
    name = b"%d:%b" % (VERSION, _name(key))
    return b"page:" + name, b"page-fetched:" + name, DROPS


def _bound(key: str, number: int, names: bytes) -> bytes:
    """What a page's seal is bound to."""
    return b"\n".join((_name(key), b"%d" % number, names))


def _name(key: str) -> bytes:
    """A path and query, whatever a client made of it."""
    return key.encode("utf-8", "surrogatepass")

"""The response cache, alone and behind the front layer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tradewind.platform.cache import Answer, Kept, Produce, ResponseCache
from tradewind.platform.web.asgi import Receive, Scope, Send
from tradewind.platform.web.front import Front
from tradewind.platform.web.settings import CachedPath, WebSettings

PUBLIC = [(b"cache-control", b"public, s-maxage=5"), (b"surrogate-key", b"p1 list")]


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Read it."""
        return self.now


class Source:
    """Produces numbered answers, each held back until `release`."""

    def __init__(self, headers: Any = PUBLIC, status: int = 200, *, held: bool = False) -> None:
        self.calls = 0
        self.headers = headers
        self.status = status
        self._gates: list[asyncio.Event] = []
        self._held = held

    async def __call__(self) -> Answer:
        """Fetch the next answer."""
        self.calls += 1
        number = self.calls
        if self._held:
            gate = asyncio.Event()
            self._gates.append(gate)
            await gate.wait()
        return Answer(self.status, list(self.headers), b"answer %d" % number)

    async def started(self, count: int) -> None:
        """Return when so many fetches have begun."""
        while len(self._gates) < count:
            await asyncio.sleep(0)

    def release(self, number: int) -> None:
        """Let the fetch of that number (from 1) end."""
        self._gates[number - 1].set()


def body(found: Kept | Answer | None) -> bytes:
    """The body of whatever a fill gave."""
    assert found is not None
    return found.body if isinstance(found, Answer) else found.body["body"]


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until the condition holds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_an_answer_is_fresh_then_stale_then_gone() -> None:
    """Its age alone decides, by the clock that was passed in."""
    clock = Clock()
    cache = ResponseCache(clock=clock, fresh_seconds=0.5, stale_seconds=1.0)
    await cache.fill("/a", Source())
    kept = cache.get("/a")
    assert kept is not None
    assert clock.now < kept.stale_at
    clock.now += 0.6
    assert cache.get("/a") is kept
    assert clock.now >= kept.stale_at
    clock.now += 0.4
    assert cache.get("/a") is None


@pytest.mark.asyncio
async def test_many_who_ask_at_once_share_one_fetch() -> None:
    """Single flight: one fetch, the same answer for all."""
    cache, source = ResponseCache(), Source(held=True)
    asking = [asyncio.create_task(cache.fill("/a", source)) for _ in range(50)]
    await source.started(1)
    source.release(1)
    found = await asyncio.gather(*asking)
    assert source.calls == 1
    assert {body(one) for one in found} == {b"answer 1"}


@pytest.mark.asyncio
async def test_the_first_may_leave_without_harm_to_the_others() -> None:
    """A fetch does not die with the one who began it."""
    cache, source = ResponseCache(), Source(held=True)
    first = asyncio.create_task(cache.fill("/a", source))
    await source.started(1)
    second = asyncio.create_task(cache.fill("/a", source))
    await asyncio.sleep(0)
    first.cancel()
    source.release(1)
    assert body(await second) == b"answer 1"


@pytest.mark.asyncio
async def test_a_stale_answer_is_refreshed_beside_and_once() -> None:
    """Those who ask meanwhile get the stale one at once."""
    clock = Clock()
    cache, source = ResponseCache(clock=clock), Source()
    await cache.fill("/a", source)
    clock.now += 0.7
    kept = cache.get("/a")
    assert kept is not None
    for _ in range(3):
        cache.refresh("/a", kept, source)
    await until(lambda: cache.get("/a") is not kept)
    assert body(cache.get("/a")) == b"answer 2"
    assert source.calls == 2


@pytest.mark.asyncio
async def test_drop_by_tag_forgets_exactly_the_tagged() -> None:
    """Other answers stay; what was dropped is gone at once."""
    cache = ResponseCache(clock=Clock())
    await cache.fill("/a", Source())
    await cache.fill("/b", Source([(b"cache-control", b"public"), (b"surrogate-key", b"p2")]))
    assert cache.drop(["p1", "unknown"]) == 1
    assert cache.get("/a") is None
    assert cache.get("/b") is not None
    cache.clear()
    assert cache.get("/b") is None
    assert cache.bytes_kept == 0


@pytest.mark.asyncio
async def test_a_fetch_begun_before_a_drop_is_not_kept() -> None:
    """Its answer may be of the time before; and who asks after the drop does not join it."""
    cache, source = ResponseCache(clock=Clock()), Source(held=True)
    before = asyncio.create_task(cache.fill("/a", source))
    await source.started(1)
    cache.drop(["p1"])
    after = asyncio.create_task(cache.fill("/a", source))
    await source.started(2)
    source.release(2)
    assert body(await after) == b"answer 2"
    source.release(1)
    assert body(await before) == b"answer 1"
    assert body(cache.get("/a")) == b"answer 2"


@pytest.mark.asyncio
async def test_a_drop_during_the_only_fetch_is_heard() -> None:
    """What that fetch brings is given to its owner and not kept."""
    cache, source = ResponseCache(clock=Clock()), Source(held=True)
    asking = asyncio.create_task(cache.fill("/a", source))
    await source.started(1)
    cache.drop(["p1"])
    source.release(1)
    assert body(await asking) == b"answer 1"
    assert cache.get("/a") is None


@pytest.mark.asyncio
async def test_a_replaced_fetch_keeps_nothing_after_later_drops() -> None:
    """A fetch that another one replaced no longer hears of drops, so it may not be believed."""
    cache, source = ResponseCache(clock=Clock()), Source(held=True)
    first = asyncio.create_task(cache.fill("/a", source))
    await source.started(1)
    cache.drop(["unrelated"])
    second = asyncio.create_task(cache.fill("/a", source))
    await source.started(2)
    source.release(2)
    await second
    cache.drop(["p1"])
    source.release(1)
    await first
    assert cache.get("/a") is None


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 200),
        ([(b"cache-control", b"private, no-store")], 200),
        ([*PUBLIC, (b"set-cookie", b"a=b")], 200),
        ([*PUBLIC, (b"vary", b"cookie")], 200),
        (PUBLIC, 404),
        (PUBLIC, 201),
    ],
)
async def test_only_what_is_public_is_kept_or_shared(headers: Any, status: int) -> None:
    """The one whose fetch it was gets the answer, the others ask by themselves."""
    cache, source = ResponseCache(clock=Clock()), Source(headers, status, held=True)
    mine = asyncio.create_task(cache.fill("/a", source))
    await source.started(1)
    other = asyncio.create_task(cache.fill("/a", source))
    await asyncio.sleep(0)
    source.release(1)
    assert isinstance(await mine, Answer)
    assert await other is None
    assert cache.get("/a") is None


@pytest.mark.asyncio
async def test_memory_is_bounded_and_a_flood_of_once_asked_keys_pushes_nothing_out() -> None:
    """What was asked for twice outlives any number of keys that were asked for once."""
    cache = ResponseCache(clock=Clock(), max_bytes=50_000)
    await cache.fill("/hot", Source())
    assert cache.get("/hot") is not None
    for number in range(500):
        await cache.fill(f"/cold?{number}", Source())
        assert cache.bytes_kept <= 50_000
    assert cache.get("/hot") is not None


@pytest.mark.asyncio
async def test_an_answer_beyond_its_limit_is_given_and_not_kept() -> None:
    """One giant cannot take all the room."""
    cache = ResponseCache(clock=Clock(), max_entry_bytes=1_001)
    assert body(await cache.fill("/a", Source())) == b"answer 1"
    assert cache.get("/a") is None


@pytest.mark.asyncio
async def test_where_fetching_fails_the_old_answer_helps_out() -> None:
    """Up to its rescue time, and not after a drop."""
    clock = Clock()
    cache = ResponseCache(clock=clock, rescue_seconds=60)
    failing = Source([], 503)
    await cache.fill("/a", Source())
    clock.now += 30
    assert body(await cache.fill("/a", failing)) == b"answer 1"
    clock.now += 31
    assert isinstance(await cache.fill("/a", failing), Answer)
    await cache.fill("/a", Source())
    cache.drop(["p1"])
    assert isinstance(await cache.fill("/a", failing), Answer)


@pytest.mark.asyncio
async def test_a_fetch_that_raises_fails_for_its_owner_only() -> None:
    """The others are told to ask by themselves, and the next fetch starts anew."""
    cache, gate = ResponseCache(), asyncio.Event()

    async def explode() -> Answer:
        await gate.wait()
        raise RuntimeError("boom")

    mine = asyncio.create_task(cache.fill("/a", explode))
    await asyncio.sleep(0)
    other = asyncio.create_task(cache.fill("/a", explode))
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(RuntimeError):
        await mine
    assert await other is None
    assert body(await cache.fill("/a", Source())) == b"answer 1"


class Catalogue:
    """An application that says what it was asked, and counts."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer with the path and query."""
        self.scopes.append(scope)
        headers = [(b"content-type", b"application/json"), *PUBLIC]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        text = b'"%s?%s"' % (scope["path"].encode(), scope["query_string"])
        await send({"type": "http.response.body", "body": text})


SETTINGS = WebSettings(
    cached_paths=(CachedPath("/v1/things", frozenset({"q", "limit"})),),
    personal_headers=("authorization", "x-token"),
)
Ask = Callable[..., Awaitable[Any]]


@pytest.mark.asyncio
async def test_hot_reads_never_reach_the_application(served: Any) -> None:
    """The second GET, HEAD and 304 come from bytes, each with its own request id."""
    catalogue = Catalogue()
    cache = ResponseCache(clock=Clock())
    one = await served(Front(catalogue, SETTINGS, cache=cache))
    first = await one.client.get("/v1/things/1")
    second = await one.client.get("/v1/things/1", headers={"X-Request-Id": "my-own-id"})
    assert len(catalogue.scopes) == 1
    assert first.content == second.content
    assert first.headers["etag"] == second.headers["etag"]
    assert second.headers["x-request-id"] == "my-own-id"
    assert second.headers["x-content-type-options"] == "nosniff"
    assert "public" in second.headers["cache-control"]
    unless = {"If-None-Match": second.headers["etag"]}
    unchanged = await one.client.get("/v1/things/1", headers=unless)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    head = await one.client.head("/v1/things/1")
    assert (head.content, head.headers["content-length"]) == (b"", str(len(first.content)))
    assert len(catalogue.scopes) == 1
    cache.drop(["p1"])
    await one.client.get("/v1/things/1")
    assert len(catalogue.scopes) == 2


@pytest.mark.asyncio
async def test_queries_are_normalised_to_what_the_route_reads(served: Any) -> None:
    """Order and unknown parameters make no difference, known values do."""
    catalogue = Catalogue()
    one = await served(Front(catalogue, SETTINGS, cache=ResponseCache(clock=Clock())))
    texts = [
        (await one.client.get(f"/v1/things{query}")).text
        for query in ("?q=a&limit=2", "?limit=2&q=a&utm=x", "?utm=y", "", "?q=b", "?q=b%26c")
    ]
    assert texts == [
        '"/v1/things?limit=2&q=a"',
        '"/v1/things?limit=2&q=a"',
        '"/v1/things?"',
        '"/v1/things?"',
        '"/v1/things?q=b"',
        '"/v1/things?q=b%26c"',
    ]
    assert len(catalogue.scopes) == 4


@pytest.mark.asyncio
async def test_no_header_of_a_client_reaches_a_shared_answer(served: Any) -> None:
    """A fetch for all is made with headers of our own: nothing unkeyed can poison it."""
    catalogue = Catalogue()
    one = await served(Front(catalogue, SETTINGS, cache=ResponseCache()))
    poison = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Accept-Language": "x"}
    assert (await one.client.get("/v1/things", headers=poison)).is_success
    assert b"evil" not in repr(catalogue.scopes[0]["headers"]).encode()
    assert {name for name, _ in catalogue.scopes[0]["headers"]} == {b"host", b"accept"}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer x"},
        {"X-Token": "x"},
        {"Cookie": "a=b; session=x"},
        {"Cookie": "__Host-session=x"},
    ],
)
async def test_who_shows_who_they_are_passes_the_cache_by(
    served: Any, headers: dict[str, str]
) -> None:
    """Such a request reaches the application as it is, and its answer stays private."""
    catalogue = Catalogue()
    one = await served(Front(catalogue, SETTINGS, cache=ResponseCache(clock=Clock())))
    await one.client.get("/v1/things")
    answer = await one.client.get("/v1/things", headers=headers)
    assert len(catalogue.scopes) == 2
    assert answer.headers["cache-control"] == "private, no-store"


@pytest.mark.asyncio
async def test_other_paths_are_not_shared(served: Any) -> None:
    """Only what was named may be kept, whatever the handler says of itself."""
    catalogue = Catalogue()
    one = await served(Front(catalogue, SETTINGS, cache=ResponseCache(clock=Clock())))
    for path in ("/v1/thingsome", "/v1/other"):
        await one.client.get(path)
        await one.client.get(path)
    assert len(catalogue.scopes) == 4


@pytest.mark.asyncio
async def test_a_failure_behind_the_cache_is_a_problem(served: Any) -> None:
    """A fetch that raises is answered with 500 and stays uncached."""

    async def explode(*_: Any) -> None:
        raise RuntimeError("secret")

    one = await served(Front(explode, SETTINGS, cache=ResponseCache()))
    for _ in range(2):
        answer = await one.client.get("/v1/things")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert "secret" not in answer.text


def test_a_source_is_a_produce() -> None:
    """The stand-in has the shape of the real thing."""
    produce: Produce = Source()
    assert callable(produce)

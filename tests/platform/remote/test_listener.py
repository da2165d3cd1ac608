"""The internal listener: whoever calls proves who they are, and learns no more than they may."""

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import httpx
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.internal import House, listening
from shop import eventually
from tradewind.platform.errors import StoreError
from tradewind.platform.lifecycle import Health
from tradewind.platform.remote import server
from tradewind.platform.remote.gathering import Gathered
from tradewind.platform.remote.identity import UnknownService
from tradewind.platform.remote.keys import read_public
from tradewind.platform.web.context import remaining_seconds

pytestmark = pytest.mark.asyncio
URL = "/internal/products/double"


class Doubling(Protocol):
    """A contract to try the listener with."""

    async def double(self, numbers: Sequence[int]) -> list[int]:
        """Each of them twice."""
        ...

    async def left(self) -> float:
        """How many seconds the caller still waits."""
        ...


class Doubles:
    """Doubles numbers, but for those that it cannot."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.spoils: set[int] = set()
        self.open = asyncio.Event()
        self.open.set()

    async def double(self, numbers: Sequence[int]) -> list[int]:
        """Twice each."""
        self.asked.append(list(numbers))
        await self.open.wait()
        if self.spoils & set(numbers):
            raise ValueError("spoilt by Ann Lee")
        return [2 * one for one in numbers]

    async def left(self) -> float:
        """As the contract says."""
        return remaining_seconds()


class Listener:
    """A listener, and who speaks to it."""

    def __init__(self, house: House, doubles: Doubles, health: Health, url: str) -> None:
        self.house = house
        self.doubles = doubles
        self.health = health
        self.url = url
        self.client = httpx.AsyncClient(base_url=url, timeout=20)

    async def call(
        self, token: str = "", body: bytes = b"[[[1]]]", **headers: str
    ) -> httpx.Response:
        """One call by hand."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            named["authorization"] = f"Bearer {token}"
        return await self.client.post(URL, content=body, headers=named)

    def token(self, service: str = "orders", audience: str = "products") -> str:
        """A good token."""
        return self.house.signer(service).token(audience)


@asynccontextmanager
async def open_listener(house: House, **more: Any) -> AsyncGenerator[Listener]:
    """One of products, as only orders may call it."""
    doubles, health = Doubles(), Health()
    app = house.application("products", Doubling, doubles, health=health, **more)
    async with listening(app) as url:
        one = Listener(house, doubles, health, url)
        yield one
        await one.client.aclose()


@pytest_asyncio.fixture(loop_scope="session")
async def listener(house: House) -> AsyncGenerator[Listener]:
    """A new one."""
    async with open_listener(house) as one:
        yield one


def forged(house: House, **changes: Any) -> str:
    """A token of orders' own key for products, but for the changes."""
    signer, now = house.signer("orders"), int(time.time())
    claims: dict[str, Any] = {"iss": "orders", "aud": "products", "iat": now, "exp": now + 60}
    claims.update(changes.pop("claims", {}))
    headers = {"kid": signer._kid, **changes.pop("headers", {})}
    given: dict[str, Any] = {"key": signer._key, "algorithm": "EdDSA", **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, headers=headers, **given)


def bad_tokens(house: House) -> dict[str, str]:
    """Tokens that prove nothing."""
    now = int(time.time())
    orders = next(one for one in read_public(house.folder) if one.service == "orders")
    users = house.signer("users")
    good = forged(house)
    head, claims, signature = good.split(".")
    return {
        "none": "",
        "no token": "nonsense",
        "two parts": "a.b",
        "for another service": house.signer("orders").token("users"),
        "for nobody": forged(house, claims={"aud": None}),
        "of another service's key": forged(house, key=users._key, headers={"kid": users._kid}),
        "signed by a stranger": forged(house, key=Ed25519PrivateKey.generate()),
        "of an unknown key": forged(house, headers={"kid": "orders.000000000000"}),
        "a kid that is a path": forged(house, headers={"kid": "../orders.pem"}),
        "expired": forged(house, claims={"iat": now - 200, "exp": now - 140}),
        "from the future": forged(house, claims={"iat": now + 300, "exp": now + 360}),
        "good for a year, made long ago": forged(
            house, claims={"iat": now - 3600, "exp": now + 31_536_000}
        ),
        "without a time": forged(house, claims={"iat": None}),
        "without an end": forged(house, claims={"exp": None}),
        "an end that is no number": forged(house, claims={"exp": "never"}),
        "without an issuer": forged(house, claims={"iss": None}),
        "unsigned": forged(house, key=None, algorithm="none"),
        "HS256 with the public key as secret": forged(
            house, key=orders.x.encode(), algorithm="HS256"
        ),
        "its signature cut": f"{head}.{claims}.{signature[:-4]}",
        "its signature of another": f"{head}.{claims}.{forged(house, claims={'x': 1})[-86:]}",
        "huge": f"{head}.{claims}{'A' * 20_000}.{signature}",
    }


async def test_who_proves_nothing(listener: Listener) -> None:
    """Whatever is wrong with a token: 401, nothing is carried out, and no key is told of."""
    keys = [one.x for one in read_public(listener.house.folder)]
    for name, token in bad_tokens(listener.house).items():
        answer = await listener.call(token)
        assert (answer.status_code, answer.json()["code"]) == (401, "unknown_service"), name
        assert not any(key in answer.text for key in keys)
        assert "orders." not in answer.text, name
    for scheme in ("Basic", "bearer", "Bearer Bearer"):
        answer = await listener.call(authorization=f"{scheme} {listener.token()}")
        assert answer.status_code == 401
    assert listener.doubles.asked == []
    assert (await listener.call(listener.token())).json() == [[{"value": 2}]]


async def test_who_may_not(listener: Listener) -> None:
    """A service that is known and does not call this one by the topology: 403."""
    answer = await listener.call(listener.token("notifications"))
    assert (answer.status_code, answer.json()["code"]) == (403, "service_not_allowed")
    assert listener.doubles.asked == []


@pytest.mark.parametrize("minutes", [-10, 10])
async def test_the_databases_clock_decides(house: House, minutes: int) -> None:
    """A machine whose clock is wrong calls on: tokens go by the time of the database."""
    house.clock = lambda: time.time() + minutes * 60
    async with open_listener(house) as listener:
        assert (await listener.call(listener.token())).status_code == 200
        assert (await listener.call(forged(house))).status_code == 401


async def test_a_token_ends(house: House) -> None:
    """One that was good a moment ago is not for ever, remembered or not."""
    now = time.time()
    house.clock = lambda: now
    async with open_listener(house) as listener:
        token = listener.token()
        assert (await listener.call(token)).status_code == 200
        now += 71
        assert (await listener.call(token)).status_code == 401
        now -= 200
        assert (await listener.call(listener.token())).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"[",
        b"[1]",
        b"[[]]",
        b'[["a"]]',
        b'[[["a"]]]',
        b"[[[1.5]]]",
        b"[[[1]],[]]",
        b"[[[1], 2]]",
        b"[" * 100_000,
        b"\xff\xfe[",
        b"[" + b"[[1]]," * 1024 + b"[[1]]]",
    ],
)
async def test_what_is_not_called_so(listener: Listener, body: bytes) -> None:
    """A body that is no array of calls: 400, and nothing of it is carried out."""
    answer = await listener.call(listener.token(), body)
    assert (answer.status_code, answer.json()["code"]) == (400, "call_not_understood")
    assert listener.doubles.asked == []


async def refused(call: Coroutine[Any, Any, httpx.Response]) -> int | None:
    """The status; None where the connection was cut while it was still being sent."""
    try:
        return (await call).status_code
    except (httpx.ReadError, httpx.WriteError):
        return None


async def test_bounds(listener: Listener) -> None:
    """Bodies and headers have a most; what is too large ends in 4xx and not in memory."""
    token = listener.token()
    large = b"[[[" + b"1," * (5 * 1024 * 1024) + b"1]]]"
    assert await refused(listener.call(token, large)) in (413, None)
    assert await refused(listener.call(token, x_large="x" * 300_000)) in (431, None)
    assert listener.doubles.asked == []
    assert (await listener.call(token)).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
async def test_methods(listener: Listener, method: str) -> None:
    """A call is posted, and nothing else; what is read is only read."""
    headers = {"authorization": f"Bearer {listener.token()}"}
    assert (await listener.client.request(method, URL, headers=headers)).status_code == 405
    expected = 200 if method in ("GET", "HEAD") else 405
    for path in ("/readyz", "/healthz", "/metrics"):
        assert (await listener.client.request(method, path)).status_code == expected


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/internal/",
        "/internal/products",
        "/internal/products/",
        "/internal/users/double",
        "/internal/products/double/",
        "/internal/products/__init__",
        "/internal/products/asked",
        "/internal/../metrics/x",
        "/v1/products",
    ],
)
async def test_nothing_else_is_there(listener: Listener, path: str) -> None:
    """Only the methods of the contract can be called."""
    headers = {"authorization": f"Bearer {listener.token()}"}
    answer = await listener.client.post(path, content=b"[[[1]]]", headers=headers)
    assert answer.status_code == 404


async def test_too_many_calls_at_once(house: House) -> None:
    """Beyond its bound a call is refused at once, as one that was not carried out."""
    async with open_listener(house, calls_most=2) as listener:
        listener.doubles.open.clear()
        tasks = [asyncio.create_task(listener.call(listener.token())) for _ in range(2)]
        await eventually(lambda: asyncio.sleep(0, len(listener.doubles.asked) == 2))
        answer = await listener.call(listener.token())
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        listener.doubles.open.set()
        assert [one.status_code for one in await asyncio.gather(*tasks)] == [200, 200]
        assert len(listener.doubles.asked) == 2


async def test_the_deadline_goes_on(listener: Listener) -> None:
    """What is called has what the caller has left; what is not done by then is given up."""
    headers = {"authorization": f"Bearer {listener.token()}", "x-deadline-ms": "7000"}
    answer = await listener.client.post("/internal/products/left", content=b"[[]]", headers=headers)
    assert 0 < answer.json()[0]["value"] <= 7
    listener.doubles.open.clear()

    async def given_up() -> int:
        """Its time may be over before it was read; some call is given up at work."""
        answer = await listener.call(listener.token(), x_deadline_ms="20")
        assert answer.status_code == 503
        return len(listener.doubles.asked)

    assert await eventually(given_up) == 1
    answer = await listener.call(listener.token(), x_deadline_ms="0")
    assert answer.status_code == 429
    assert len(listener.doubles.asked) == 1


async def test_what_was_long_on_its_way(listener: Listener) -> None:
    """A call that waited here (we were stopped) is not carried out for a caller that left, and
    one that is only a little late, or from a clock that is ahead, is.
    """
    for seconds, status in ((20, 429), (0.5, 200), (-5, 200)):
        at = str(int((time.time() - seconds) * 1000))
        answer = await listener.call(listener.token(), x_deadline_ms="15000", x_asked_at_ms=at)
        assert answer.status_code == status
    assert len(listener.doubles.asked) == 2


async def test_one_bad_call_fails_alone(listener: Listener) -> None:
    """Many calls in one request: each has its own outcome, and nothing is told of a failure."""
    listener.doubles.spoils = {7}
    answer = await listener.call(listener.token(), b"[[[1]],[[7]],[[2, 3]]]")
    first, bad, last = answer.json()
    assert (first, last) == ([{"value": 2}], [{"value": 4}, {"value": 6}])
    assert bad["error"]["code"] == "internal_error"
    assert "Ann" not in answer.text


async def test_one_bad_member_fails_alone(listener: Listener) -> None:
    """Members of a gathered call belong to different callers: what spoils it is asked for alone,
    where it is, and the others have their answers, in one request.
    """
    listener.doubles.spoils = {7}
    remote = listener.house.remote("products", Doubling, [listener.url])
    gathered = Gathered[int, int](remote, "double")
    outcomes: list[Any] = await gathered.submit_all(range(16))
    bad = outcomes.pop(7)
    assert isinstance(bad, StoreError)
    assert bad.code == "internal_error"
    assert outcomes == [2 * one for one in range(16) if one != 7]
    assert remote.gauges.calls == 1


async def test_a_draining_instance_says_so(listener: Listener) -> None:
    """It answers what comes, and asks for no more; /readyz takes it out of the balancer."""
    remote = listener.house.remote("products", Doubling, [listener.url])
    assert await remote.call("double", [1]) == [2]
    listener.health.draining = True
    assert (await listener.client.get("/readyz")).status_code == 404
    answer = await listener.call(listener.token())
    assert (answer.status_code, answer.headers[server.LEAVING[0].decode()]) == (200, "1")
    assert await remote.call("double", [1]) == [2]
    assert await remote.call("double", [2]) == [4], "where there is no other, it is still asked"


async def test_what_fails_beside_calls(house: House) -> None:
    """A failure of ours is told as one, without any of it, whatever was asked."""

    async def failing() -> tuple[bytes, str]:
        raise ValueError("a secret")

    async with open_listener(house, metrics=failing) as listener:
        answer = await listener.client.get("/metrics")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert "secret" not in answer.text


async def test_what_is_remembered_of_tokens_is_bounded(house: House) -> None:
    """Only tokens that proved something are remembered, and not without end."""
    app = house.application("products", Doubling, Doubles())
    verifier = app._verifiers["products"]
    for number in range(1_100):
        assert verifier.caller(forged(house, claims={"n": number})) == "orders"
    for token in bad_tokens(house).values():
        with pytest.raises(UnknownService):
            verifier.caller(token)
    assert len(verifier._verified) == 1_000

"""What is passed on as it is, and what is said anew on the way."""

import hashlib
import json
import re
from collections.abc import AsyncIterator

import pytest

from topology.conftest import Opening
from topology.house import client
from topology.instance import pattern

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 32 * 1024, 64 * 1024, 1024 * 1024])
async def test_bodies_arrive_as_sent(opened: Opening, size: int, chunked: bool) -> None:
    """Bodies of every size and framing are the same bytes on the other side."""
    house = await opened()
    body = pattern(size)

    async def pieces() -> AsyncIterator[bytes]:
        yield body[: size // 3]
        yield body[size // 3 :]

    async with client() as session:
        data = pieces() if chunked else body
        async with session.post(f"{house.door.url}/v1/orders", data=data) as answer:
            told = await answer.json(content_type=None)
    assert (told["length"], told["digest"]) == (size, hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 3 * 1024 * 1024])
async def test_answers_arrive_as_sent(opened: Opening, size: int) -> None:
    """Answers are the same bytes here, with the headers that the instance gave, twice given too."""
    house = await opened()
    target = f"GET /v1/products?bytes={size} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"
    head, _, body = (await house.door.raw(target.encode())).partition(b"\r\n\r\n")
    assert body == pattern(size)
    lines = head.split(b"\r\n")
    assert b"x-odd: kept: \xe4 \xff;  two  spaces" in lines
    assert [one for one in lines if one.startswith(b"set-cookie")] == [
        b"set-cookie: a=1",
        b"set-cookie: b=2; HttpOnly",
    ]


async def test_request_headers_arrive_as_sent(opened: Opening) -> None:
    """A client's headers arrive with their values and their order, repeated ones too."""
    house = await opened()
    sent = [
        ("accept", "*/*;q=0.5, text/plain"),
        ("cookie", "session=abc; csrf=1"),
        ("x-csrf-token", "t"),
        ("cart-token", "c"),
        ("order-token", "o"),
        ("consistency-token", "1f"),
        ("idempotency-key", "k-1"),
        ("if-match", '"7"'),
        ("authorization", "Bearer abc"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-odd", "\u00e4 \u00ff;  two  spaces"),
        ("x-odd", ""),
        ("x-odd", "again"),
    ]
    lines = ["GET /v1/orders?q=%2F+%20&q HTTP/1.1", "Host: shop", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in sent]
    answer = await house.door.raw("\r\n".join([*lines, "", ""]).encode("latin-1"))
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    names = {name for name, _ in sent}
    assert [(name, value) for name, value in told["headers"] if name in names] == sent
    assert ["host", "shop"] in told["headers"]
    assert told["query"] == "q=%2F+%20&q"


FORGED = {
    "X-Forwarded-For": "9.9.9.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil",
    "X-Forwarded-Anything": "x",
    "Forwarded": "for=9.9.9.9",
    "X-Real-IP": "9.9.9.9",
    "X-Client-IP": "9.9.9.9",
    "X-Cluster-Client-IP": "9.9.9.9",
    "Client-IP": "9.9.9.9",
    "True-Client-IP": "9.9.9.9",
    "CF-Connecting-IP": "9.9.9.9",
    "Remote-User": "admin",
    "X-Remote-User": "admin",
    "X-User-Id": "1",
    "X-Auth-Request-User": "admin",
    "X-Authenticated-Userid": "1",
    "X-Client-Cert": "x",
    "X-SSL-Client-Verify": "SUCCESS",
    "X-Internal-Token": "x",
    "X-Service-Name": "orders",
    "X-Tradewind-Service": "orders",
    "Tradewind-Service": "orders",
    "X-Original-Host": "evil",
    "X-Original-URL": "/internal",
    "X-Rewrite-URL": "/internal",
    "Proxy": "http://evil",
    "Upgrade": "h2c",
}


async def test_forged_headers(opened: Opening) -> None:
    """Who a client says it is means nothing: its address and scheme are said by the balancer."""
    house = await opened()
    async with client() as session:
        url = f"{house.door.url}/v1/me"
        async with session.get(url, headers=FORGED) as answer:
            told = await answer.json(content_type=None)
    names = {name.lower() for name in FORGED}
    assert sorted(one for one in told["headers"] if one[0] in names) == [
        ["x-forwarded-for", "127.0.0.1"],
        ["x-forwarded-proto", "http"],
    ]


async def test_request_ids(opened: Opening) -> None:
    """A well-formed id is passed on and any other replaced, one and the same on both sides."""
    house = await opened()
    async with client() as session:
        for given, kept in [("abc-1.Z_", True), ("a" * 129, False), ("a b", False), (None, False)]:
            headers = {} if given is None else {"X-Request-Id": given}
            async with session.get(f"{house.door.url}/v1/me", headers=headers) as answer:
                told = dict((await answer.json(content_type=None))["headers"])
                assert answer.headers["x-request-id"] == told["x-request-id"]
                assert (told["x-request-id"] == given) is kept
                assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", told["x-request-id"])


async def test_nobody_there(opened: Opening) -> None:
    """A service of which no instance is there is a 503 problem with Retry-After."""
    house = await opened(
        instances=dict.fromkeys(("users", "products", "orders"), ()) | {"notifications": ()}
    )
    async with client() as session, session.post(f"{house.door.url}/v1/checkout") as answer:
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["cache-control"] == "no-store"
        told = await answer.json(content_type=None)
    assert told["type"] == "urn:problem:unavailable"
    assert told["requestId"] == answer.headers["x-request-id"]


async def test_head_has_no_body(opened: Opening) -> None:
    """A HEAD is answered without a body, whoever answers it."""
    house = await opened()
    for target in (b"/v1/orders", b"/internal"):
        sent = b"HEAD " + target + b" HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"
        assert (await house.door.raw(sent)).partition(b"\r\n\r\n")[2] == b""

"""Requests that two readers could read differently; nothing of them may reach an instance.

What HAProxy 2.6.12 does by itself, and what its rules add, was found out with these bytes. Its
parser's own refusals have its own words, which no setting changes; they too are 400 and the end of
the connection. One case no rule can see: of a length beside chunked it drops the length.
"""

import json

import pytest

from topology.conftest import Opening
from topology.house import House
from topology.instance import pattern
from tradewind.platform.web.settings import MEBIBYTE

pytestmark = pytest.mark.asyncio

SECOND = b"GET /v1/orders/smuggled HTTP/1.1\r\nHost: shop\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def post(*headers: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    """A POST with exactly these header lines, and another request behind it."""
    head = b"POST /v1/orders HTTP/" + version + b"\r\nHost: shop\r\n"
    return head + b"".join(headers) + b"\r\n" + body + SECOND


def taken(house: House) -> list[str]:
    """What any instance got."""
    return [what for many in house.inside.values() for one in many for what in one.taken]


REFUSED_BY_RULES = {
    "2^64 + 2": post(b"Content-Length: 18446744073709551618\r\n", body=b"ab"),
    "a length of 23 digits": post(b"Content-Length: 00000000000000000000003\r\n", body=b"abc"),
    "chunked of HTTP/1.0": post(CHUNKED, body=b"0\r\n\r\n", version=b"1.0"),
}
REFUSED_BY_PARSER = {
    "2^63": post(b"Content-Length: 9223372036854775808\r\n", body=b"ab"),
    "two lengths": post(b"Content-Length: 2\r\nContent-Length: 3\r\n", body=b"abc"),
    "two lengths in one": post(b"Content-Length: 2, 3\r\n", body=b"abc"),
    "a signed length": post(b"Content-Length: +3\r\n", body=b"abc"),
    "no length": post(b"Content-Length:\r\n", body=b"abc"),
    "a space before the colon": post(b"Content-Length : 3\r\n", body=b"abc"),
    "no chunk size": post(CHUNKED, body=b"zz\r\nabc\r\n0\r\n\r\n"),
    "a chunk size beyond 2^64": post(CHUNKED, body=b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    "a chunk without its end": post(CHUNKED, body=b"3\r\nabcXX0\r\n\r\n"),
    "chunked twice": post(CHUNKED, CHUNKED, body=b"0\r\n\r\n"),
    "another coding": post(b"Transfer-Encoding: xchunked\r\n", body=b"0\r\n\r\n"),
    "identity": post(b"Transfer-Encoding: identity\r\nContent-Length: 3\r\n", body=b"abc"),
    "two hosts": post(b"Host: other\r\n", body=b""),
    "HTTP/2 without being asked": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("name", REFUSED_BY_RULES)
async def test_refused_by_rules(opened: Opening, name: str) -> None:
    """What HAProxy would have passed on is a problem document and the end of the connection."""
    house = await opened()
    answer = await house.door.raw(REFUSED_BY_RULES[name])
    head, _, body = answer.partition(b"\r\n\r\n")
    told = json.loads(body)
    assert head.startswith(b"HTTP/1.1 400 "), answer
    assert (told["type"], told["status"]) == ("urn:problem:bad_request", 400)
    lines = {line.split(b": ")[0].lower(): line.split(b": ")[1] for line in head.split(b"\r\n")[1:]}
    assert lines[b"content-type"] == b"application/problem+json"
    assert lines[b"cache-control"] == b"no-store"
    assert lines[b"x-content-type-options"] == b"nosniff"
    assert lines[b"x-request-id"].decode() == told["requestId"] != ""
    assert taken(house) == []


async def test_refused_by_the_parser(opened: Opening) -> None:
    """What cannot be read is 400 and the end of the connection, and nobody else sees it."""
    house = await opened()
    for name, sent in REFUSED_BY_PARSER.items():
        answer = await house.door.raw(sent)
        assert answer.startswith(b"HTTP/1.1 400 "), name
        assert answer.count(b"HTTP/1.1 ") == 1, name
    assert taken(house) == []


async def test_other_codings(opened: Opening) -> None:
    """A coding before chunked is refused, and the connection ends."""
    house = await opened()
    sent = post(b"Transfer-Encoding: gzip, chunked\r\n", body=b"3\r\nabc\r\n0\r\n\r\n")
    answer = await house.door.raw(sent)
    assert answer.startswith(b"HTTP/1.1 422 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert taken(house) == []


async def test_bad_chunks_after_good_ones(opened: Opening) -> None:
    """A body that turns out badly framed is a problem document, and no instance sees any of it."""
    house = await opened()
    first = post(CHUNKED).removesuffix(SECOND) + b"3\r\nabc\r\n"
    answer = await house.door.raw(first, b"zz\r\nabc\r\n0\r\n\r\n" + SECOND)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert taken(house) == []


@pytest.mark.parametrize("order", [1, -1])
async def test_length_beside_chunked(opened: Opening, order: int) -> None:
    """Of a length beside chunked, chunked alone is passed on; what is behind it is never read."""
    house = await opened()
    headers = [b"Content-Length: 3\r\n", CHUNKED][::order]
    answer = await house.door.raw(post(*headers, body=b"3\r\nabc\r\n0\r\n\r\n"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    assert answer.count(b"HTTP/1.1 ") == 1
    told = json.loads(body)
    assert told["length"] == 3
    assert [value for name, value in told["headers"] if name == "content-length"] == []
    assert taken(house) == ["POST /v1/orders"]


async def test_the_same_length_twice(opened: Opening) -> None:
    """The same length said twice is passed on as one (RFC 9110 8.6)."""
    house = await opened()
    sent = post(b"Content-Length: 3\r\nContent-Length: 3\r\nConnection: close\r\n", body=b"abc")
    told = json.loads((await house.door.raw(sent)).partition(b"\r\n\r\n")[2])
    assert [value for name, value in told["headers"] if name == "content-length"] == ["3"]


async def test_trailers_mean_nothing(opened: Opening) -> None:
    """What stands behind a chunked body becomes no header."""
    house = await opened()
    trailers = b"0\r\nX-Forwarded-For: 9.9.9.9\r\nContent-Length: 9\r\n\r\n"
    sent = post(CHUNKED, b"Connection: close\r\n", body=b"3\r\nabc\r\n" + trailers)
    told = json.loads((await house.door.raw(sent)).partition(b"\r\n\r\n")[2])
    assert ["x-forwarded-for", "127.0.0.1"] in told["headers"]
    assert "9.9.9.9" not in str(told)
    assert told["length"] == 3


async def test_large_headers_are_the_applications(opened: Opening) -> None:
    """Headers up to 32 KiB pass; beyond, the application says so in its own words."""
    house = await opened()
    head = b"GET /v1/orders HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nX-Large: "
    passed = await house.door.raw(head + b"a" * 31_000 + b"\r\n\r\n")
    assert passed.startswith(b"HTTP/1.1 200 ")
    refused = await house.door.raw(head + b"a" * 40_000 + b"\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 431 ")
    beyond = await house.door.raw(head + b"a" * 80_000 + b"\r\n\r\n")
    assert beyond.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_too_large_bodies_are_the_applications(opened: Opening, framing: str) -> None:
    """A body beyond the limit is refused by the application, in its own words, at once, and the
    client is told that nothing more is read.
    """
    house = await opened()
    size = 3 * MEBIBYTE
    sent = post(b"Content-Length: %d\r\n" % size).removesuffix(SECOND)
    if framing == "chunked":
        # No more than shows that it is too large: what nobody reads any more resets the
        # connection, and a reset may overtake the answer.
        sent = post(CHUNKED).removesuffix(SECOND) + b"%x\r\n" % size + pattern(MEBIBYTE + 1)
    head, body = await house.door.answer(sent)
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in head
    assert json.loads(body)["code"] == "too_large"

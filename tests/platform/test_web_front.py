"""The front layer over a real server: framing, limits, ids, headers."""

import asyncio
import re
from typing import Any

import pytest
from litestar import Request, Response, get, post, put
from litestar.params import FromPath
from structlog.testing import capture_logs

from tradewind.platform.web.application import build_application
from tradewind.platform.web.context import current, current_request_id, remaining_seconds
from tradewind.platform.web.front import Front
from tradewind.platform.web.settings import WebSettings

HEAD = b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


@post("/v1/echo", status_code=200)
async def echo(request: Request[Any, Any, Any]) -> dict[str, int]:
    """Say how many bytes came."""
    return {"size": len(await request.body())}


@put("/v1/files/{name:str}")
async def store(name: FromPath[str], request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Take a larger body."""
    return {"name": name, "size": len(await request.body())}


@get("/v1/context")
async def context() -> dict[str, Any]:
    """Say what the handler knows of its request."""
    entered = current()
    assert entered is not None
    trace = entered.trace
    return {
        "id": current_request_id(),
        "trace": trace.trace_id if trace else None,
        "in_time": 0 < remaining_seconds() <= 30,
    }


@get("/v1/page", media_type="text/html")
async def page() -> str:
    """Answer an HTML page."""
    return "<p>hello</p>"


@get("/v1/tagged")
async def tagged() -> Response[dict[str, int]]:
    """Answer with an entity tag and public caching."""
    caching = {"ETag": '"one"', "Cache-Control": "public, s-maxage=5", "Surrogate-Key": "x"}
    return Response({"a": 1}, headers=caching)


@get(["/metrics", "/internal/secret"])
async def internal() -> dict[str, str]:
    """Answer what no stranger may see."""
    return {"secret": "yes"}


@get("/v1/broken")
async def broken() -> None:
    """Fail in a way nobody expected."""
    raise KeyError("hunter2")


def build(settings: WebSettings | None = None, **more: Any) -> Front:
    """The routes above behind a front layer."""
    settings = settings or WebSettings()
    routes = [echo, store, context, page, tagged, internal, broken]
    app: Any = build_application(routes, settings=settings, title="Test", version="1")
    return Front(app, settings, **more)


def status(answer: bytes) -> int:
    """The status of a raw answer."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", 400),
        (HEAD + b"Content-Length: 5, 6\r\n\r\nabcdef", 400),
        (HEAD + b"Content-Length: 18446744073709551618\r\n\r\nab", 400),
        (HEAD + b"Content-Length: 9223372036854775809\r\n\r\nab", 400),
        (HEAD + b"Content-Length: +5\r\n\r\nabcde", 400),
        (HEAD + b"Content-Length : 5\r\n\r\nabcde", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabX\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET /v1/context HTTP/1.1\r\n\r\n", 400),
        (b"GET /v1/context HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /v1/context HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 32_768 + b"\r\n\r\n", 431),
        (b"GET /v1/context HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 500_000 + b"\r\n\r\n", 431),
        (b"GET /v1/context?" + b"a" * 32_768 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (HEAD + b"Content-Length: 1048577\r\n\r\n", 413),
    ],
)
async def test_ambiguous_or_oversized_framing_is_refused_and_the_connection_closed(
    served: Any, sent: bytes, expected: int
) -> None:
    """What two parsers could frame differently ends the connection."""
    one = await served(build())
    answer = await one.raw(sent)  # returns only once the server has closed
    assert status(answer) == expected


@pytest.mark.asyncio
async def test_a_length_beside_chunks_is_ignored_and_ends_the_connection(served: Any) -> None:
    """Known and accepted: the server reads chunks (RFC 9112 6.3) and hangs up afterwards."""
    one = await served(build())
    smuggled = b"GET /v1/page HTTP/1.1\r\nHost: a\r\n\r\n"
    both = b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"
    answer = await one.raw(HEAD + both + smuggled)
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.asyncio
async def test_a_body_cut_short_is_400(served: Any) -> None:
    """A client that stops half-way gets no handler to run."""
    one = await served(build())
    reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
    writer.write(HEAD + b"Content-Length: 10\r\n\r\nabc")
    writer.write_eof()
    assert status(await reader.read()) in (0, 400)
    writer.close()


@pytest.mark.asyncio
async def test_chunked_bodies_are_counted(served: Any) -> None:
    """A body without a declared length is bounded all the same."""
    one = await served(build(WebSettings(body_limit_bytes=1_000)))

    async def chunks(count: int) -> Any:
        for _ in range(count):
            yield b"x" * 100

    assert (await one.client.post("/v1/echo", content=chunks(10))).json() == {"size": 1000}
    refused = await one.client.post("/v1/echo", content=chunks(11))
    assert refused.status_code == 413
    assert refused.json()["code"] == "too_large"


@pytest.mark.asyncio
async def test_a_path_may_take_larger_bodies(served: Any) -> None:
    """The longest matching prefix decides the limit."""
    settings = WebSettings(body_limit_bytes=10, body_limits={"/v1/": 20, "/v1/files": 5_000})
    one = await served(build(settings))
    assert (await one.client.put("/v1/files/a", content=b"x" * 5_000)).json()["size"] == 5_000
    assert (await one.client.post("/v1/echo", content=b"x" * 21)).status_code == 413


@pytest.mark.asyncio
async def test_a_slow_body_is_cut(served: Any) -> None:
    """A client that goes on sending past the limit gets 408 and is hung up on."""
    one = await served(build(WebSettings(body_seconds=0.05)))
    answer = await one.raw(HEAD + b"Content-Length: 10\r\n\r\nabc")
    assert status(answer) == 408
    assert b"connection: close" in answer.lower()


@pytest.mark.asyncio
async def test_slow_headers_are_cut(served: Any) -> None:
    """A client that never finishes its headers is hung up on."""
    one = await served(build(), header_read_seconds=0.05)
    assert status(await one.raw(b"GET / HTTP/1.1\r\nHost: a\r\n")) in (0, 408)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "target",
    [
        "/metrics",
        "/METRICS",
        "//metrics",
        "/%6detrics",
        "/%256detrics",
        "/v1/../metrics",
        "/v1/%2e%2e/metrics",
        "/v1%2f..%2fmetrics",
        "/%2Fmetrics",
        "/./metrics",
        "/metrics/",
        "/metrics;x=1",
        "/internal",
        "/internal/secret",
        "/internal/openapi",
        "/%69nternal/secret",
        "/v1\\..\\metrics",
        "/internal%00/secret",
    ],
)
async def test_what_is_internal_is_not_on_the_public_listener(served: Any, target: str) -> None:
    """Whatever the spelling, nothing internal answers."""
    one = await served(build())
    sent = f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    answer = await one.raw(sent)
    assert status(answer) in (400, 404)
    assert b"secret" not in answer.split(b"\r\n\r\n", 1)[1]


@pytest.mark.asyncio
async def test_a_refusal_that_leaves_a_body_unread_closes(served: Any) -> None:
    """Else the unread body could be taken for the next request."""
    one = await served(build())
    answer = await one.raw(HEAD.replace(b"/v1/echo", b"/internal") + b"Content-Length: 9\r\n\r\n")
    assert status(answer) == 404
    assert b"connection: close" in answer.lower()


@pytest.mark.asyncio
async def test_an_internal_listener_shows_it(served: Any) -> None:
    """The same routes answer where the listener is not public."""
    one = await served(build(public=False))
    assert (await one.client.get("/metrics")).json() == {"secret": "yes"}


@pytest.mark.asyncio
async def test_request_ids_are_taken_over_or_made(served: Any) -> None:
    """A well-formed id goes through to handler and answer; any other is replaced by a UUIDv7."""
    one = await served(build())
    kept = await one.client.get("/v1/context", headers={"X-Request-Id": "abc-123.x_Z"})
    assert kept.headers["x-request-id"] == kept.json()["id"] == "abc-123.x_Z"
    short = await one.client.get("/v1/context", headers={"X-Request-Id": "7"})
    assert short.headers["x-request-id"] == "7"
    for bad in ("", "spaces are bad", "x" * 129, "semi;colon"):
        made = await one.client.get("/v1/context", headers={"X-Request-Id": bad})
        assert re.fullmatch(r"[0-9a-f-]{14}7[0-9a-f-]{21}", made.headers["x-request-id"])


@pytest.mark.asyncio
async def test_trace_and_deadline_reach_the_handler(served: Any) -> None:
    """A W3C traceparent is honoured, a broken one ignored, and time is counted down."""
    one = await served(build())
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    known = await one.client.get(
        "/v1/context", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    )
    assert known.json()["trace"] == trace
    assert known.json()["in_time"] is True
    for bad in (f"00-{'0' * 32}-00f067aa0ba902b7-01", "ff-x", f"00-{trace}-00f067aa0ba902b7-01-x"):
        answer = await one.client.get("/v1/context", headers={"traceparent": bad})
        assert answer.json()["trace"] is None


@pytest.mark.asyncio
async def test_every_answer_has_its_security_headers(served: Any) -> None:
    """Also errors; pages have a content security policy besides."""
    one = await served(build())
    for path in ("/v1/context", "/nothing", "/v1/broken", "/v1/page"):
        answer = await one.client.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "no-store" in answer.headers["cache-control"]
    shown = await one.client.get("/v1/page")
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    assert shown.headers["referrer-policy"]


@pytest.mark.asyncio
async def test_head_answers_as_get_without_a_body(served: Any) -> None:
    """HEAD has the headers of GET, the length included."""
    one = await served(build())
    answer = await one.client.head("/v1/page")
    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers["content-length"] == "12"
    assert (await one.client.head("/nothing")).content == b""


@pytest.mark.asyncio
async def test_what_the_client_has_is_not_sent_again(served: Any) -> None:
    """If-None-Match answers 304 on any GET whose handler gives an entity tag."""
    one = await served(build())
    for tag in ('"one"', 'W/"one"', '"x", "one"', "*"):
        answer = await one.client.get("/v1/tagged", headers={"If-None-Match": tag})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == '"one"'
    assert (await one.client.get("/v1/tagged", headers={"If-None-Match": '"b"'})).is_success


@pytest.mark.asyncio
async def test_who_shows_who_they_are_gets_no_public_answer(served: Any) -> None:
    """A public answer turns private when the request carried credentials."""
    one = await served(build())
    answer = await one.client.get("/v1/tagged", headers={"Authorization": "Bearer x"})
    assert answer.headers["cache-control"] == "private, no-store"
    assert "surrogate-key" not in answer.headers
    assert "public" in (await one.client.get("/v1/tagged")).headers["cache-control"]


@pytest.mark.asyncio
async def test_unexpected_failures_tell_nothing_and_are_logged(served: Any) -> None:
    """The client gets an id; the traceback stands in the log under it."""
    one = await served(build())
    with capture_logs() as logs:
        answer = await one.client.get("/v1/broken")
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.json()["requestId"] == answer.headers["x-request-id"]
    assert any(isinstance(entry.get("exc_info"), KeyError) for entry in logs)
    line = next(entry for entry in logs if entry["event"] == "request")
    assert (line["status"], line["route"]) == (500, "/v1/broken")


@pytest.mark.asyncio
async def test_every_request_is_logged_where_that_is_set(served: Any) -> None:
    """The line names the route, and nothing of path or query."""
    one = await served(build(WebSettings(log_requests=True)))
    with capture_logs() as logs:
        await one.client.put("/v1/files/canary?x=canary", content=b"canary")
    # Another store of this run may have something to tell, too.
    [line] = [entry for entry in logs if entry["event"] == "request"]
    assert line["route"] == "/v1/files/{name}"
    assert "canary" not in repr(logs)


@pytest.mark.asyncio
async def test_unknown_methods_and_routes_are_problems(served: Any) -> None:
    """405 says what is allowed; 404 and 405 are problem documents."""
    one = await served(build())
    for method in ("DELETE", "TRACE", "QUERY"):
        answer = await one.client.request(method, "/v1/context")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
        assert answer.headers["content-type"] == "application/problem+json"
    missing = await one.client.get("/v1/nothing-here")
    assert missing.status_code == 404
    assert missing.json()["requestId"]


@pytest.mark.asyncio
async def test_only_listed_origins_may_read(served: Any) -> None:
    """CORS is an allow-list; without one there is no trace of it."""
    one = await served(build(WebSettings(cross_origins=("https://shop.example",))))
    asking = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    allowed = await one.client.options("/v1/echo", headers=asking)
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-credentials" not in allowed.headers
    other = await one.client.get("/v1/page", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    assert other.headers["vary"] == "Origin"
    without = await served(build())
    plain = await without.client.get("/v1/page", headers={"Origin": "https://shop.example"})
    assert "access-control-allow-origin" not in plain.headers
    assert "vary" not in plain.headers

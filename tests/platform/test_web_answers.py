"""Pages, entity tags, caching headers, the schema and its page, serving."""

import asyncio
import re
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import delete, get, post
from litestar.params import FromPath, JSONBody, QueryParameter
from structlog.testing import capture_logs

from tradewind.platform.errors import Invalid, PreconditionFailed
from tradewind.platform.sessions import signed_in, staff
from tradewind.platform.web.answers import (
    etag_of_body,
    etag_of_version,
    is_unchanged,
    public_headers,
    require_match,
    retry_after,
)
from tradewind.platform.web.application import build_application
from tradewind.platform.web.front import Front
from tradewind.platform.web.openapi import build_schema
from tradewind.platform.web.pages import (
    DEFAULT_LIMIT,
    Cursor,
    Limit,
    Page,
    read_cursor,
    write_cursor,
)
from tradewind.platform.web.serving import ListenFailed, ServingSettings, serve
from tradewind.platform.web.settings import WebSettings


class After(msgspec.Struct, frozen=True):
    """A keyset."""

    title: str
    id: UUID


class Thing(msgspec.Struct, rename="camel"):
    """What the routes below are about."""

    title: str
    in_stock: bool = True
    parts: list["Thing"] | None = None


@get("/v1/things", tags=["Things"])
async def list_things(
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    in_stock: Annotated[bool | None, QueryParameter(name="inStock")] = None,
) -> Page[Thing]:
    """List things <b>in order</b>."""
    after = read_cursor(cursor, After)
    items = [Thing(after.title if after else "first", in_stock=bool(in_stock))] * min(limit, 2)
    return Page(items, write_cursor(After("x", UUID(int=1))))


@post("/v1/things", guards=[staff], tags=["Things"])
async def make_thing(data: JSONBody[Thing]) -> Thing:
    """Make a thing."""
    return data


@get("/v1/things/{thing_id:uuid}", guards=[signed_in], tags=["Things"])
async def get_thing(thing_id: FromPath[UUID]) -> Thing:
    """Show one."""
    return Thing(str(thing_id))


def build() -> Front:
    """The routes above behind a front layer."""
    settings = WebSettings()
    routes = [list_things, make_thing, get_thing]
    app: Any = build_application(
        routes, settings=settings, title="Things <shop>", version="1.2", tags={"Things": "All."}
    )
    return Front(app, settings)


@given(st.text(max_size=50), st.uuids())
def test_a_cursor_comes_back_as_it_went(title: str, identifier: UUID) -> None:
    """Whatever the sort values are."""
    keyset = After(title.replace("\0", ""), identifier)
    assert read_cursor(write_cursor(keyset), After) == keyset
    assert read_cursor(None, After) is None
    assert read_cursor("", After) is None


@pytest.mark.parametrize(
    "cursor",
    ["x", "!!", "bm8", "W10", "é", "a" * 600, write_cursor(1), write_cursor({"title": "a\0"})],
)
def test_a_broken_cursor_names_its_field(cursor: str) -> None:
    """It is bad input like any other."""
    with pytest.raises(Invalid) as caught:
        read_cursor(cursor, After)
    assert caught.value.errors[0].field == "cursor"


@pytest.mark.asyncio
async def test_lists_over_http(served: Any) -> None:
    """Limits and cursors are checked, faults carry the public names."""
    one = await served(build())
    first = (await one.client.get("/v1/things")).json()
    assert len(first["items"]) == 2
    more = await one.client.get("/v1/things", params={"cursor": first["next"], "limit": 1})
    assert more.json()["items"][0]["title"] == "x"
    bad = await one.client.get("/v1/things?limit=0&inStock=maybe")
    assert bad.status_code == 422
    assert {fault["field"] for fault in bad.json()["errors"]} == {"limit", "inStock"}
    for query in ("limit=101", "limit=x", "cursor=broken"):
        assert (await one.client.get(f"/v1/things?{query}")).status_code == 422


def test_entity_tags_compare_as_the_standard_says() -> None:
    """Weakly for reads, strongly for edits."""
    tag = etag_of_body(b"a")
    assert tag != etag_of_body(b"b")
    assert is_unchanged(f'"x", W/{tag}', tag)
    assert not is_unchanged(None, tag)
    assert not is_unchanged("", tag)
    assert not is_unchanged("nonsense", tag)
    require_match(None, tag)
    require_match("*", tag)
    require_match(f'"x", {tag}', tag)
    for wrong in ('"x"', f"W/{tag}", "", "nonsense"):
        with pytest.raises(PreconditionFailed):
            require_match(wrong, tag)
    with pytest.raises(PreconditionFailed):
        require_match('W/"v1"', "W/" + etag_of_version(1))


def test_caching_headers() -> None:
    """Shared caches may keep, browsers ask each time; keys with spaces are left out."""
    headers = public_headers(
        seconds=60, stale_seconds=30, surrogate_keys=["b", "a", "a", "no good"], etag='"v1"'
    )
    assert headers["Cache-Control"] == ("public, max-age=0, s-maxage=60, stale-while-revalidate=30")
    assert headers["Surrogate-Key"] == "a b"
    assert headers["ETag"] == '"v1"'
    assert retry_after(0.2) == {"Retry-After": "1"}


@pytest.mark.asyncio
async def test_the_schema_documents_callers_and_problems(served: Any) -> None:
    """OpenAPI 3.1 with problem answers on every operation and nothing of the framework's own."""
    one = await served(build())
    answer = await one.client.get("/openapi.json")
    schema = answer.json()
    assert schema["openapi"].startswith("3.1")
    assert set(schema["paths"]) == {"/v1/things", "/v1/things/{thing_id}"}
    callers: dict[str, str] = {}
    for item in schema["paths"].values():
        for operation in item.values():
            callers[operation["operationId"]] = operation["x-who"]
            for status in ("400", "401", "403", "404", "409", "422", "429", "503"):
                reference = operation["responses"][status]["$ref"]
                response = schema["components"]["responses"][reference.rsplit("/", 1)[1]]
                assert list(response["content"]) == ["application/problem+json"]
    assert callers == {
        "get_v1_things": "anyone",
        "post_v1_things": "staff",
        "get_v1_things_by_thing_id": "session",
    }
    assert (await one.client.get("/schema")).status_code == 404


def test_a_path_is_documented_once_whatever_its_parameters_are_called() -> None:
    """`/things/{id}` and `/things/{slug}` are one path of OpenAPI: two would not be valid."""

    @get("/v1/things/{slug:str}")
    async def show(slug: FromPath[str]) -> str:
        return slug

    @delete("/v1/things/{thing_id:uuid}")
    async def remove(thing_id: FromPath[UUID]) -> None:
        assert thing_id

    app = build_application([show, remove], settings=WebSettings(), title="Things", version="1")
    paths = build_schema(app, https=False)["paths"]
    assert set(paths) == {"/v1/things/{slug}"}
    assert set(paths["/v1/things/{slug}"]) == {"get", "delete"}
    for operation in paths["/v1/things/{slug}"].values():
        assert [one["name"] for one in operation["parameters"]] == ["slug"]


@pytest.mark.asyncio
async def test_options_names_every_method_of_its_path(served: Any) -> None:
    """Also where several handlers share the path."""
    one = await served(build())
    answer = await one.client.options("/v1/things")
    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    refused = await one.client.delete("/v1/things")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")


@pytest.mark.asyncio
async def test_the_docs_page_needs_nothing_from_outside(served: Any) -> None:
    """No script, no foreign address, every route; text of ours is escaped."""
    one = await served(build())
    answer = await one.client.get("/docs")
    assert answer.status_code == 200
    page = answer.text
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=.?(?:https?:)?//", page)
    assert "Things &lt;shop&gt;" in page
    assert "List things &lt;b&gt;" in page
    for part in ("/v1/things/{thing_id}", "POST", "staff", "inStock?: boolean", "limit"):
        assert part in page
    assert "content-security-policy" in answer.headers


@pytest.mark.asyncio
async def test_a_taken_port_is_told_in_one_line(served: Any) -> None:
    """Although the server could share it."""
    one = await served(build())
    with pytest.raises(ListenFailed, match=f"port {one.port} .* is taken"):
        await serve(build(), "127.0.0.1", one.port, settings=ServingSettings(), ready=lambda: None)


@pytest.mark.asyncio
async def test_serving_is_silent(served: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """No banner, no warning of the server's own; our log, which may tell of a slow answer or of
    another store of this run, is kept apart.
    """
    with capture_logs():
        capfd.readouterr()
        one = await served(build())
        await one.client.get("/docs")
        await one.end()
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


@pytest.mark.asyncio
async def test_a_stuck_request_does_not_hold_up_the_stop(served: Any) -> None:
    """After the drain limit serving ends, whoever still waits."""
    entered = asyncio.Event()

    async def stuck(*_: Any) -> None:
        entered.set()
        await asyncio.Event().wait()

    one = await served(Front(stuck, WebSettings()), drain_seconds=0.05)
    asked = asyncio.create_task(one.client.get("/"))
    await entered.wait()
    one.stop.set()
    await one.serving
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)

"""JSON bodies, read strictly, as functions and over HTTP."""

import json
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from tradewind.platform.errors import Conflict, Invalid
from tradewind.platform.web.application import build_application
from tradewind.platform.web.bodies import FieldFault, check_json, decode
from tradewind.platform.web.front import Front
from tradewind.platform.web.problems import BadRequest, MalformedJson
from tradewind.platform.web.settings import WebSettings


class Line(msgspec.Struct, rename="camel"):
    """One line of the order below."""

    sku: str
    quantity: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    unit_note: str | None = None

    def __post_init__(self) -> None:
        """Refuse two SKUs, one in each of the ways a struct can."""
        if self.sku == "forbidden":
            raise FieldFault("sku", "This SKU is not sold.")
        if self.sku == "value":
            raise ValueError("not so")


class Order(msgspec.Struct, rename="camel"):
    """A body with nesting."""

    lines: list[Line]
    email: str
    gift_wrap: bool = False


class Taken(Conflict):
    """An error of a service, with a code of its own."""

    code = "thing_taken"


def faults(body: bytes) -> list[tuple[str, str]]:
    """The faults that decoding an order names."""
    with pytest.raises(Invalid) as caught:
        decode(body, Order)
    return [(fault.field, fault.message) for fault in caught.value.errors]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"a":1}x',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":"\xff"}',
        b'{"unknown":"\xed\xa0\x80"}',
        b'{"a":"\x00"}',
        b'{"a":"\\u0000"}',
        b'{"\\u0000":1}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\ud800\\u0041"}',
        b'{"a":"x\\udc00y"}',
        b'{"a":"\\ud83d\\\\\\ude00"}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        b'{"a":1,"a":1}',
        b'{"a" :1,"a":2}',
        b'{"a":1,"b":{"c":[{"d":1,"d":2}]}}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":1,"a":2,"b":"\\u0022:"}',
        b'{"a":1,"a":{"b":{"c":":"}}}',
        b'{"":1,"":2}',
        b"[" * 100_000 + b"]" * 100_000,
        b"[" * 100_000,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b'{"a":' * 5_000 + b'"\\n"' + b"}" * 5_000,
    ],
)
def test_what_parsers_read_differently_is_malformed(body: bytes) -> None:
    """Refused as a whole, at any depth, known field or not."""
    with pytest.raises(MalformedJson):
        check_json(body)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b' { "a" : 1 , "b" : [ ] } ',
        b'[{"a":1},{"a":1}]',
        b'{"a":{"a":{"a":1}}}',
        b'{"a":":","b":"::a:","c:":":"}',
        b'{"a":"\\"a\\":1,\\"a\\":1"}',
        b'{"a":"\\\\u0000"}',
        b'{"a":"\\ud83d\\ude00"}',
        b'{"a":' * 64 + b"1" + b"}" * 64,
        b"[" + b",".join([b'{"sku":"x","quantity":1}'] * 2_000) + b"]",
        b'{"a":1e999}',
        b'{"a":' + b"1" * 5_000 + b"}",
    ],
)
def test_what_is_unambiguous_is_let_through(body: bytes) -> None:
    """Colons, quotes and brackets in strings fool nobody."""
    check_json(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text('a":\\[{ ü'),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('a":\\ü', max_size=3), inner)
    ),
    max_leaves=8,
)


@given(json_values, st.booleans())
def test_no_honest_document_is_refused(value: Any, ascii_only: bool) -> None:
    """Whatever a serializer writes has no doubled key."""
    check_json(json.dumps(value, ensure_ascii=ascii_only).encode())


@given(st.dictionaries(st.text('a":\\ü', max_size=3), json_values, min_size=1), st.data())
def test_a_doubled_key_is_always_found(value: dict[str, Any], data: Any) -> None:
    """Wherever it stands and however it is written."""
    doubled = data.draw(st.sampled_from(sorted(value)))
    escaped = data.draw(st.booleans())
    text = json.dumps(value, ensure_ascii=False)
    extra = json.dumps({doubled: data.draw(json_values)}, ensure_ascii=escaped)
    document = f'{{"outer":[{text[:-1]}, {extra[1:]}]}}'
    with pytest.raises(MalformedJson):
        check_json(document.encode())


def test_every_field_at_fault_is_named() -> None:
    """Missing, wrong and out-of-range fields come in one answer, with their paths."""
    assert faults(b'{"lines":[{"sku":"a","quantity":0}],"giftWrap":1}') == [
        ("lines[0].quantity", "Expected `int` >= 1"),
        ("email", "This field is required."),
        ("giftWrap", "Expected `bool`, got `int`"),
    ]
    assert [field for field, _ in faults(b'{"lines":[{"quantity":1}],"email":"e"}')] == [
        "lines[0].sku"
    ]
    assert [field for field, _ in faults(b"[]")] == [""]
    assert [field for field, _ in faults(b'"text"')] == [""]


@pytest.mark.parametrize(
    "quantity", [b"-1", b"0", b"1.5", b'"1"', b"true", b"1e9", b"null", b"9223372036854775808"]
)
def test_quantities_are_not_coerced(quantity: bytes) -> None:
    """Only an integer in range is a quantity."""
    body = b'{"lines":[{"sku":"a","quantity":' + quantity + b'}],"email":"e"}'
    assert [field for field, _ in faults(body)] == ["lines[0].quantity"]


@pytest.mark.parametrize("number", [b"1e999", b"1" * 5_000])
def test_numbers_beyond_all_ranges_are_invalid(number: bytes) -> None:
    """They are well-formed, so they are 422 under their field and no crash."""
    body = b'{"lines":[{"sku":"a","quantity":' + number + b'}],"email":"e"}'
    assert [field for field, _ in faults(body)] == ["lines[0].quantity"]


def test_a_struct_may_name_its_own_fault() -> None:
    """`FieldFault` in `__post_init__` names a field; a plain ValueError the struct."""
    body = b'{"lines":[{"sku":"a","quantity":1},{"sku":"%s","quantity":1}],"email":"e"}'
    assert faults(body % b"forbidden") == [("lines[1].sku", "This SKU is not sold.")]
    assert faults(body % b"value") == [("lines[1]", "not so")]


@post("/v1/orders")
async def place(data: JSONBody[Order]) -> Order:
    """Place an order."""
    if data.email == "taken":
        raise Taken("There is one.", extra={"sku": "a"}, retry_after_seconds=2)
    return data


@patch("/v1/orders/{order_id:uuid}")
async def change(order_id: FromPath[UUID], data: JSONBody[Order]) -> Order:
    """Change an order."""
    assert order_id.version == 7
    return data


@post("/v1/carts")
async def make_cart(data: JSONBody[Order | None] = None) -> dict[str, bool]:
    """Make a cart, with or without a body."""
    return {"given": data is not None}


@get("/v1/search")
async def search(price: FromQuery[int]) -> int:
    """Search by price."""
    return price


@pytest.mark.asyncio
async def test_bodies_over_http(served: Any) -> None:
    """Each kind of fault has its status and code; a good body comes through untouched."""
    settings = WebSettings()
    routes = [place, change, make_cart, search]
    app: Any = build_application(routes, settings=settings, title="Test", version="1")
    one = await served(Front(app, settings))
    good = b'{"lines":[{"sku":"a","quantity":1,"unitNote":"n"}],"email":"e"}'

    async def send(body: bytes, content_type: str = "application/json", **more: Any) -> Any:
        method, path = more.get("method", "POST"), more.get("path", "/v1/orders")
        headers = {"Content-Type": content_type} if content_type else {}
        return await one.client.request(method, path, content=body, headers=headers)

    placed = await send(good)
    assert placed.status_code == 201
    assert placed.json()["lines"][0]["unitNote"] == "n"
    assert (await send(good, "application/json; charset=UTF-8")).status_code == 201
    for wrong in ("", "text/plain", "application/json; charset=utf-16", "application/xml"):
        assert (await send(good, wrong)).status_code == 415
    merge = "application/merge-patch+json"
    assert (await send(good, merge)).status_code == 415
    there = "/v1/orders/01890a5d-ac96-774b-bcce-b302099a8057"
    assert (await send(good, merge, method="PATCH", path=there)).status_code == 200
    empty = await send(b"")
    assert (empty.status_code, empty.json()["code"]) == (400, "body_required")
    broken = await send(b"{")
    assert (broken.status_code, broken.json()["code"]) == (400, "malformed_json")
    assert broken.headers["content-type"] == "application/problem+json"
    coerced = await send(good.replace(b":1", b':"1"'))
    assert coerced.status_code == 422
    assert coerced.json()["errors"][0]["field"] == "lines[0].quantity"
    assert (await send(b"null")).status_code == 422
    taken = await send(good.replace(b'"e"', b'"taken"'))
    assert taken.status_code == 409
    assert (taken.json()["code"], taken.json()["sku"]) == ("thing_taken", "a")
    assert taken.headers["retry-after"] == "2"
    assert (await send(b"", path="/v1/carts")).json() == {"given": False}
    assert (await send(good, path="/v1/carts")).json() == {"given": True}
    lost = await send(good, method="PATCH", path="/v1/orders/no-uuid")
    assert lost.status_code == 404
    missing = await one.client.get("/v1/search")
    assert missing.status_code == 422
    assert missing.json()["errors"][0]["field"] == "price"


def test_malformed_json_is_a_bad_request() -> None:
    """The kinds of the transport descend from one."""
    assert issubclass(MalformedJson, BadRequest)

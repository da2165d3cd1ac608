"""JSON bodies, read strictly; one rule: what two parsers could read differently is refused.

A handler declares `data: JSONBody[SomeStruct]` and gets that struct, decoded without coercion.
Malformed JSON is 400 and so are duplicate keys, NUL, lone surrogates and bottomless nesting; what
is well-formed but wrong is 422, with the field's path. A check across fields goes into the
struct's `__post_init__` and raises `FieldFault`.

Measured with a 334 byte purchase: typed decode 1.1 microseconds, all strictness 3.1 more
(`json.loads` with `object_pairs_hook` alone takes 5.4); a body with a backslash takes the exact
way, 9.5 more. 900 KB of lines take 38 ms.
"""

import json
import re
from functools import cache
from typing import Any, cast

import msgspec
from litestar import Request

from tradewind.platform.errors import FieldError, Invalid
from tradewind.platform.web.problems import BodyRequired, MalformedJson, UnsupportedContentType

MAX_DEPTH = 64
"""Deeper nesting is refused; nothing we accept comes near, and Python recurses to about 1,000."""
MAX_FAULTS = 20
"""How many field faults one answer names."""

_JSON_TYPES = frozenset({"application/json"})
_PATCH_TYPES = frozenset({"application/json", "application/merge-patch+json"})
_PLAIN_CONTENT_TYPE = "application/json"

_untyped = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()
_string = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_not_brackets = bytes(set(range(256)) - set(b"[]{}"))
_at = re.compile(r" - at `(?:key in )?\$(?P<path>.*?)`$")
_missing = re.compile(r"Object missing required field `(?P<field>[^`]*)`")
_unknown = re.compile(r"Object contains unknown field `(?P<field>[^`]*)`")


class FieldFault(ValueError):
    """Raise from a struct's `__post_init__`: this field cannot be so (422).

    `field` is the public (camelCase) name, relative to the struct; empty for the whole of it.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


class StrictRequest(Request[Any, Any, Any]):
    """The request class of every application: `json()` gives what the handler declared."""

    async def json(self) -> Any:
        """Decode the body strictly into the type of the handler's `data` parameter.

        Raises `BodyRequired` or `MalformedJson` (400), `UnsupportedContentType` (415) and
        `Invalid` (422).
        """
        body = await self.body()
        declared = self.route_handler.parsed_data_field
        if not body:
            message = "This request needs a JSON body."
            raise BodyRequired(message)
        content_type = self.headers.get("content-type", "")
        if content_type != _PLAIN_CONTENT_TYPE:
            check_content_type(content_type, patch=self.method == "PATCH")
        return decode(body, Any if declared is None else declared.annotation)


def check_content_type(content_type: str, *, patch: bool = False) -> None:
    """Accept `application/json`, in UTF-8 where it says; for PATCH also merge-patch+json."""
    media_type, _, parameters = content_type.partition(";")
    if media_type.strip().lower() in (_PATCH_TYPES if patch else _JSON_TYPES):
        wanted = parameters.replace(" ", "").replace('"', "").lower()
        if wanted in ("", "charset=utf-8", "charset=utf8"):
            return
    message = "Send the body as application/json."
    raise UnsupportedContentType(message)


def decode(body: bytes, wanted: Any) -> Any:
    """Decode a JSON text into `wanted` (a type), strictly. See the module for what is refused."""
    check_json(body)
    try:
        return _decoder(wanted).decode(body)
    except msgspec.ValidationError as error:
        raise Invalid(
            "The body is not what this request needs.", errors=_faults(body, wanted, error)
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed() from error


def check_json(body: bytes) -> None:
    """Refuse (MalformedJson) what is not JSON, or is JSON that parsers read differently.

    A key given twice disappears when its object is read, and its colon with it. So in a text
    without escapes, writing down again what was read gives as many colons as there were, exactly
    if no key was doubled; strings come out byte for byte as they went in. That is half as dear as
    looking at every object. With escapes, every object is looked at.
    """
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _too_deep(body):
        message = f"JSON nested deeper than {MAX_DEPTH} levels is not read."
        raise MalformedJson(message)
    try:
        value = _untyped.decode(body)
    except msgspec.ValidationError:
        # A number beyond all ranges: well-formed, and the typed decoder will name the field.
        _check_every_object(body)
        return
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed() from error
    if b"\\" in body:
        _check_every_object(body)
    elif body.count(b":") != _encoder.encode(value).count(b":"):
        raise _duplicate()


@cache
def _decoder(wanted: Any) -> msgspec.json.Decoder[Any]:
    """One decoder a type, for the life of the process; the types are those of the handlers."""
    return msgspec.json.Decoder(wanted, strict=True)


def _too_deep(body: bytes) -> bool:
    """Take the innermost brackets away, level by level: what is left was deeper than allowed."""
    brackets = _string.sub(b"", body).translate(None, _not_brackets)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return False
        peeled = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(peeled) == len(brackets):
            return False  # unbalanced: the parser will say so
        brackets = peeled
    return bool(brackets)


def _check_every_object(body: bytes) -> None:
    """The exact way: every object's keys after unescaping, and no NUL anywhere."""
    if b"\\u0000" in body.replace(b"\\\\", b"_"):
        message = "NUL characters are not allowed."
        raise MalformedJson(message)
    try:
        _exact.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise _malformed() from error


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise _duplicate()


# Numbers are only skipped: `len` keeps a number of 5,000 digits from being worked out.
_exact = json.JSONDecoder(object_pairs_hook=_distinct, parse_int=len, parse_float=len)


def _malformed() -> MalformedJson:
    return MalformedJson("The body is not well-formed JSON in UTF-8.")


def _duplicate() -> MalformedJson:
    return MalformedJson("A key occurs twice in one object.")


def _faults(body: bytes, wanted: Any, first: msgspec.ValidationError) -> list[FieldError]:
    """Every fault among the top-level fields of a struct; else the one the decoder stopped at."""
    found: list[FieldError] = []
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        try:
            values = _untyped.decode(body)
        except msgspec.ValidationError:
            values = None
        if isinstance(values, dict) and not wanted.__struct_config__.tag:
            found = _struct_faults(cast("dict[str, Any]", values), wanted)
    return found[:MAX_FAULTS] or [fault_of(first)]


def _struct_faults(values: dict[str, Any], wanted: type[msgspec.Struct]) -> list[FieldError]:
    found: list[FieldError] = []
    for field in msgspec.structs.fields(wanted):
        name = field.encode_name
        if name not in values:
            if field.required:
                found.append(FieldError(name, "This field is required."))
            continue
        try:
            msgspec.convert(values[name], field.type, strict=True)
        except msgspec.ValidationError as error:
            found.append(fault_of(error, within=name))
    if wanted.__struct_config__.forbid_unknown_fields:
        known = {field.encode_name for field in msgspec.structs.fields(wanted)}
        found += [FieldError(name, "This field is not known.") for name in values.keys() - known]
    return found


def fault_of(error: msgspec.ValidationError, *, within: str = "") -> FieldError:
    """Read msgspec's message: `… - at `$.lines[0].quantity`` names `lines[0].quantity`."""
    text = str(error)
    path = within
    if where := _at.search(text):
        path = _join(within, where["path"].lstrip("."))
        text = text[: where.start()]
    if isinstance(error.__cause__, FieldFault):
        return FieldError(_join(path, error.__cause__.field), error.__cause__.message)
    if missing := _missing.match(text):
        return FieldError(_join(path, missing["field"]), "This field is required.")
    if unknown := _unknown.match(text):
        return FieldError(_join(path, unknown["field"]), "This field is not known.")
    return FieldError(path, text)


def _join(path: str, further: str) -> str:
    if not path or not further:
        return path + further
    return f"{path}{further}" if further.startswith("[") else f"{path}.{further}"

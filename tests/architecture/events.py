"""A sample of every event, made from its types; one rule: the same types make the same sample.

`full` has everything that may be there, `least` only what must. So a field that is added, renamed,
retyped or reordered shows in tests/contracts/golden.
"""

import types
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

from architecture.tree import ROOT, SERVICES
from tradewind.platform.events import Event, encode

GOLDEN = ROOT / "tests" / "contracts" / "golden"
Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
_NUMBER = 12345
_WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_ID = UUID("01900000-0000-7000-8000-000000000001")


def event_kinds() -> Iterator[type[Event]]:
    """Every event of every contract, as it is named on the wire."""
    for service in SERVICES:
        contract = import_module(f"tradewind.{service}.contract")
        for kind in vars(contract).values():
            if not (isinstance(kind, type) and issubclass(kind, Event)):
                continue
            if kind.__module__ == contract.__name__ and kind.TYPE:
                yield kind


def sample(kind: type[msgspec.Struct], *, full: bool) -> msgspec.Struct:
    """One instance: with every optional field, or without any."""
    hints = get_type_hints(kind, include_extras=True)
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if full or field.required:
            values[field.name] = _value(hints[field.name], field.name, full=full)
    return kind(**values)


def _value(hint: Any, name: str, *, full: bool) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _value(arguments[0], name, full=full)
    if origin is Literal:
        return arguments[0]
    if origin in (Union, types.UnionType):
        if type(None) in arguments and not full:
            return None
        return _value(next(one for one in arguments if one is not type(None)), name, full=full)
    if origin is tuple:
        return (_value(arguments[0], name, full=full),) if full else ()
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return sample(hint, full=full)
    plain: dict[Any, Any] = {str: name, int: _NUMBER, bool: True, UUID: _ID, datetime: _WHEN}
    return plain[hint]


def golden_text(kind: type[Event]) -> str:
    """What tests/contracts/golden holds of an event, ready to be written."""
    shown = {
        name: msgspec.json.decode(encode(_as_event(sample(kind, full=full))))
        for name, full in (("full", True), ("least", False))
    }
    return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode() + "\n"


def _as_event(one: msgspec.Struct) -> Event:
    assert isinstance(one, Event)
    return one


def broken_promises(old: Json, new: Json, at: str = "") -> Iterator[str]:
    """What a reader of `old` would miss in `new`: every field it knows, with the same value."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name, before in old.items():
            yield from broken_promises(before, new.get(name), f"{at}.{name}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from broken_promises(before, after, f"{at}[{number}]")
    elif old != new:
        yield at

"""A sample of every call between services, made from the contracts' types; one rule: as for events.

The same types make the same sample, so a field that is added, renamed, retyped or reordered shows
in tests/contracts/golden/calls.
"""

import sys
import types
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tradewind.compose import CONTRACTS
from tradewind.platform.errors import FieldError, Invalid, StoreError
from tradewind.platform.wire import Method

GOLDEN = Path(__file__).parent / "golden" / "calls"
_PLAIN: Mapping[Any, Any] = {
    int: 12345,
    bool: True,
    float: 1.5,
    UUID: UUID("01900000-0000-7000-8000-000000000001"),
    datetime: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    msgspec.Raw: msgspec.Raw(b'{"any":"json"}'),
    type(None): None,
}


def samples(hint: Any, name: str) -> list[Any]:
    """What a value of this type may be: one for each kind that it may have."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return [one for kind in arguments for one in samples(kind, name)]
    if origin is Literal:
        return list(arguments)
    if origin in (tuple, list, Sequence):
        return [samples(arguments[0], name)]
    if isinstance(hint, type) and issubclass(hint, StoreError):
        return [_refusal(hint)]
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        hints = get_type_hints(hint)
        fields = [one.name for one in msgspec.structs.fields(hint)]
        return [hint(**{one: samples(hints[one], one)[0] for one in fields})]
    return [name if hint is str else _PLAIN[hint]]


def _refusal(kind: type[StoreError]) -> StoreError:
    extra = {"known": ["A", 1]}
    if issubclass(kind, Invalid):
        return kind(f"no {kind.code}", extra=extra, errors=[FieldError("field", "needs it")])
    return kind(f"no {kind.code}", extra=extra)


def golden_texts() -> Mapping[str, str]:
    """What the golden files hold, by their names: what is sent, and what may be answered."""
    return {
        f"{service}.{name}.json": _text(getattr(contract, name), Method(name, function))
        for service, (contract, _) in CONTRACTS.items()
        for name, function in vars(contract).items()
        if callable(function) and not name.startswith("_")
    }


def _text(function: Any, method: Method) -> str:
    hints = get_type_hints(function)
    answer = hints.pop("return")
    arguments = [samples(hint, name)[0] for name, hint in hints.items()]
    answers = [method.encode_answer(one) for one in samples(answer, "answer")]
    shown = {
        "request": [msgspec.Raw(method.encode_arguments(arguments))],
        "answers": [[msgspec.Raw(one)] for one in answers],
        "failed": [msgspec.Raw(method.encode_error(_refusal(StoreError)))],
    }
    return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode() + "\n"


def write() -> None:
    """Run as `.venv/bin/python -m tests.contracts.calls`."""
    GOLDEN.mkdir(exist_ok=True)
    for name, text in golden_texts().items():
        (GOLDEN / name).write_text(text)


if __name__ == "__main__":
    write()

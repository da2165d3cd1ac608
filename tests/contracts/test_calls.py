"""What travels between services; a change of it is a visible diff in golden/calls."""

from typing import Any, cast

import msgspec
import pytest

from contracts.calls import GOLDEN, golden_texts
from tradewind.compose import CONTRACTS
from tradewind.platform.wire import Method, methods_of

METHODS = [
    pytest.param(service, method, id=f"{service}.{name}")
    for service, (contract, _) in CONTRACTS.items()
    for name, method in methods_of(contract).items()
]


def test_golden() -> None:
    """Every call and every answer is on the wire exactly as the golden JSON says."""
    written = {one.name: one.read_text() for one in GOLDEN.glob("*.json")}
    assert written == golden_texts(), "run `.venv/bin/python -m tests.contracts.calls`"


@pytest.mark.parametrize(("service", "method"), METHODS)
def test_golden_is_read(service: str, method: Method) -> None:
    """What travelled before is understood today, with members that we do not know."""
    known: Any = msgspec.json.decode((GOLDEN / f"{service}.{method.name}.json").read_bytes())
    newer = _with_more(known)
    for told in (known, newer):
        [request] = told["request"]
        again = method.encode_arguments(method.decode_arguments(msgspec.json.encode(request)))
        assert msgspec.json.decode(again) == known["request"][0]
        for (answer,), (before,) in zip(told["answers"], known["answers"], strict=True):
            value = method.decode_answer(msgspec.json.encode(answer))
            assert msgspec.json.decode(method.encode_answer(value)) == before
        [failed] = told["failed"]
        error = method.decode_outcome(msgspec.json.encode(failed))
        assert msgspec.json.decode(method.encode_error(error)) == known["failed"][0]


def _with_more(value: Any) -> Any:
    """The same, as newer code might say it: every object of ours has one member more."""
    if isinstance(value, list):
        members = cast("list[Any]", value)
        return [_with_more(one) for one in members]
    if not isinstance(value, dict):
        return value
    given = cast("dict[str, Any]", value)
    if set(given) & {"any", "known"}:  # JSON that is only passed on
        return given
    return {"newer": [1], **{name: _with_more(one) for name, one in given.items()}}

"""Events on the wire; one rule: a change of what travels is a visible diff in golden JSON."""

import re

import msgspec
import pytest

from architecture.events import GOLDEN, Json, broken_promises, event_kinds, golden_text, sample
from tradewind.platform.events import Event, decode

KINDS = sorted(event_kinds(), key=lambda kind: kind.TYPE)
NAME = re.compile(r"(users|products|orders|notifications)\.[a-z]+(_[a-z]+)*\.v[1-9]\d*")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.TYPE)
def test_golden(kind: type[Event]) -> None:
    """An event travels exactly as its golden JSON says."""
    assert (GOLDEN / f"{kind.TYPE}.json").read_text() == golden_text(kind), "run write_events"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.TYPE)
def test_golden_is_read(kind: type[Event]) -> None:
    """What travelled before is understood today."""
    told = msgspec.json.decode((GOLDEN / f"{kind.TYPE}.json").read_bytes())
    for name, full in (("full", True), ("least", False)):
        assert decode(kind, msgspec.json.encode(told[name])) == sample(kind, full=full)


def test_every_golden_has_its_event() -> None:
    """No golden JSON stands for an event that nobody publishes any more."""
    assert {path.stem for path in GOLDEN.glob("*.json")} == {kind.TYPE for kind in KINDS}


def test_names() -> None:
    """An event is named by its service, what happened, and its version, once."""
    names = [kind.TYPE for kind in KINDS]
    assert len(names) == len(set(names))
    for kind in KINDS:
        assert NAME.fullmatch(kind.TYPE), kind.TYPE
        assert kind.TYPE.startswith(kind.__module__.split(".")[1] + "."), kind.TYPE


def test_breaking_changes_are_seen() -> None:
    """A field that is gone, renamed or retyped breaks readers; one that is new does not."""
    old: Json = {"full": {"sku": "a", "lines": [{"quantity": 1}]}}
    grown: Json = {"full": {"sku": "a", "new": 1, "lines": [{"quantity": 1}]}, "least": {}}
    assert list(broken_promises(old, grown)) == []
    gone: Json = {"full": {"lines": [{"quantity": 1}]}}
    assert list(broken_promises(old, gone)) == [".full.sku"]
    retyped: Json = {"full": {"sku": "a", "lines": [{"quantity": "1"}]}}
    assert list(broken_promises(old, retyped)) == [".full.lines[0].quantity"]

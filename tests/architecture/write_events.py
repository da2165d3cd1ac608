"""Writes tests/contracts/golden; one rule: no event changes so that an old reader would miss it.

Run as `.venv/bin/python -m tests.architecture.write_events`. A change that breaks readers is
refused: give the event a new version (`….v2`) instead.
"""

import sys
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from architecture.events import GOLDEN, broken_promises, event_kinds, golden_text


def write_events() -> None:
    """One file an event; those of events that are no more are left for git to remove."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for kind in event_kinds():
        path, text = GOLDEN / f"{kind.TYPE}.json", golden_text(kind)
        if path.exists():
            old, new = msgspec.json.decode(path.read_bytes()), msgspec.json.decode(text)
            if broken := list(broken_promises(old, new)):
                sys.exit(f"{kind.TYPE} would break its readers at {', '.join(broken)}")
        path.write_text(text)


if __name__ == "__main__":
    write_events()

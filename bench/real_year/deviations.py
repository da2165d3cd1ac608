"""What the store did otherwise than promised; one rule: each is kept with request and answer."""

from dataclasses import dataclass, field

SHOWN_MOST = 2_000


class Deviated(Exception):
    """An answer that was not expected; it is noted already."""


@dataclass(slots=True)
class Deviations:
    """All of this run, in the order in which they were seen."""

    found: list[str] = field(default_factory=list[str])

    def note(self, what: str) -> None:
        """One more."""
        self.found.append(what)

    def note_answer(self, request: str, body: bytes, status: int, answer: bytes) -> None:
        """A request and the answer that should have been another."""
        sent, got = body[:SHOWN_MOST].decode(), answer[:SHOWN_MOST].decode(errors="replace")
        self.note(f"{request}\n    sent: {sent}\n    got: {status} {got}")

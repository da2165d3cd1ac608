"""Faults of the input; one rule: each names the field of the body that it is about."""

from collections.abc import Callable
from typing import TypeVar

from tradewind.platform.errors import FieldError, Invalid

Read = TypeVar("Read")
"""What a reader makes of a text."""


class Fault(ValueError):
    """What is wrong with one value, as a sentence for people."""


class Faults:
    """Collects the faults of one body, so that its sender learns all of them at once."""

    def __init__(self) -> None:
        self._found: list[FieldError] = []

    def read(self, field: str, reader: Callable[[str], Read], given: str | None) -> Read | None:
        """What the reader makes of the value; None where none was given or it has a fault."""
        if given is None:
            return None
        try:
            return reader(given)
        except Fault as fault:
            self.add(field, str(fault))
            return None

    def add(self, field: str, message: str) -> None:
        """Notes a fault."""
        self._found.append(FieldError(field, message))

    def settle(self) -> None:
        """Raises Invalid with all that was noted, if anything was."""
        if self._found:
            raise Invalid("The input is not what this request needs.", errors=self._found)


def invalid(field: str, message: str) -> Invalid:
    """One fault as an error to raise."""
    return Invalid("The input is not what this request needs.", errors=[FieldError(field, message)])

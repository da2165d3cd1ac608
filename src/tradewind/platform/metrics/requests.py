"""Answered requests, counted; one rule: no label holds anything that a client made up.

A route is the template that the framework matched, empty where there was none; a method that is
not HTTP's own is `other`. So however many paths are asked for, there are few series.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from tradewind.platform.metrics.durations import Durations

OTHER: Final = "other"
NOT_ANSWERED: Final = "none"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SERVER_ERROR: Final = 5


class Series(msgspec.Struct, frozen=True):
    """Requests of one kind."""

    method: str
    route: str
    status: str
    """`2xx` to `5xx`, or `none` where the client left, or we broke off, before an answer began."""
    durations: Durations

    @property
    def failed(self) -> bool:
        """Whether the store failed them, which no answer is too."""
        return self.status in (f"{_SERVER_ERROR}xx", NOT_ANSWERED)


class Requests:
    """All that one listener answered, by method, route and class of status."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, int], Series] = {}

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """One was answered with this status (0: not at all) after so long."""
        kind = method, route, status // 100
        series = self._series.get(kind)
        if series is None:
            series = self._begun(*kind)
        series.durations.note(seconds)

    def all(self) -> Iterator[Series]:
        """Every kind that there was."""
        return iter(self._series.values())

    def _begun(self, method: str, route: str, class_: int) -> Series:
        if method not in _METHODS:
            method = OTHER
        kind = method, route, class_
        if kind not in self._series:
            status = f"{class_}xx" if class_ else NOT_ANSWERED
            self._series[kind] = Series(method, route, status, Durations())
        return self._series[kind]


def owner_of(route: str, paths: Mapping[str, Sequence[str]]) -> str:
    """Whose route it is, by the paths that each serves with all below them; empty for nobody's."""
    for name, served in paths.items():
        if any(route == path or route.startswith(path + "/") for path in served):
            return name
    return ""

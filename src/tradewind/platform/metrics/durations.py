"""How long things took; one rule: noting one costs a look into a list and two additions."""

from bisect import bisect_left
from itertools import accumulate
from typing import Final

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets in seconds, each inclusive; there is one more without a bound."""


class Durations:
    """A histogram in seconds. One event loop only; it only ever grows."""

    __slots__ = ("_counts", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        """All of them together."""
        self._counts = [0] * (len(BOUNDS) + 1)

    def note(self, seconds: float) -> None:
        """One took so long."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def up_to(self) -> list[int]:
        """How many took at most so long, bound by bound; the last is how many there were."""
        return list(accumulate(self._counts))

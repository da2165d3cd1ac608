"""Orders, units and money per month; one rule: a difference is named, never only counted."""

from collections.abc import Mapping
from typing import Any

import msgspec


class Figures(msgspec.Struct):
    """One month, as the independent count tells it; money in pence."""

    orders: int = 0
    units: int = 0
    revenue_minor: int = 0
    cancelled_orders: int = 0
    cancelled_units: int = 0
    cancelled_minor: int = 0
    refunds: int = 0
    refunded_units: int = 0
    refunded_minor: int = 0

    def add(self, other: "Figures") -> None:
        """Adds another month's, or one order's."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Expected(msgspec.Struct):
    """What `expected.py` prints."""

    lines: int
    days: int
    customers: int
    months: dict[str, Figures]
    skipped: dict[str, int]
    off_list: int
    off_list_minor: int


def totals(months: Mapping[str, Figures]) -> Figures:
    """All months together."""
    total = Figures()
    for figures in months.values():
        total.add(figures)
    return total


def compare_months(ours: Mapping[str, Figures], expected: Mapping[str, Figures]) -> list[str]:
    """Every figure of every month that is not what the independent count says."""
    differences: list[str] = []
    for month in sorted({*ours, *expected}):
        mine, theirs = ours.get(month, Figures()), expected.get(month, Figures())
        differences += [
            f"{month} {name}: the store has {getattr(mine, name):,}, "
            f"the file has {getattr(theirs, name):,}"
            for name in Figures.__struct_fields__
            if getattr(mine, name) != getattr(theirs, name)
        ]
    return differences


def compare_counts(
    what: str, ours: Mapping[Any, int], expected: Mapping[Any, int], most: int = 20
) -> list[str]:
    """Every key whose count differs; at most so many, and how many more."""
    keys = sorted({*ours, *expected}, key=str)
    wrong = [key for key in keys if ours.get(key, 0) != expected.get(key, 0)]
    told = [f"{what} {key}: {ours.get(key, 0)}, not {expected.get(key, 0)}" for key in wrong[:most]]
    return told + ([f"{what}: {len(wrong) - most} more differ"] if len(wrong) > most else [])

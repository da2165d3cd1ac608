"""What a run came to, in words and figures; one rule: every difference is among them."""

from collections import Counter
from typing import Any

import msgspec

from bench.real_year.figures import Expected, compare_counts, compare_months, totals
from bench.real_year.plan import Plan
from bench.real_year.replay import Outcome


def skipped_lines(plan: Plan) -> Counter[str]:
    """By reason, as the replay counted them."""
    return sum((day.skipped for day in plan.days), Counter[str]())


def off_list(plan: Plan) -> dict[str, int]:
    """Lines whose own price is not the day's list price, and what they add up to."""
    return {
        "lines": sum(day.off_list for day in plan.days),
        "pence": sum(day.off_list_minor for day in plan.days),
    }


def compare(plan: Plan, expected: Expected, outcome: Outcome) -> list[str]:
    """The store's figures and ours with the independent count, and all deviations."""
    counted = {"lines": expected.off_list, "pence": expected.off_list_minor}
    customers = len({one.customer for day in plan.days for one in day.sales if one.customer})
    return [
        *compare_months(outcome.months, expected.months),
        *compare_counts("skipped", skipped_lines(plan), expected.skipped),
        *compare_counts("off the list", off_list(plan), counted),
        *compare_counts("customers", {"": customers}, {"": expected.customers}),
        *outcome.deviations.found,
    ]


def report_of(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """Everything that was measured, for a file."""
    return {
        "months": msgspec.to_builtins(dict(sorted(outcome.months.items()))),
        "skipped": dict(skipped_lines(plan)),
        "off_list": off_list(plan),
        "seconds": {name: round(one, 1) for name, one in outcome.seconds.items()},
        "speed": line_of_speed(outcome),
        "requests": outcome.requests,
        "retries": dict(outcome.retries),
        "client_cpu_seconds": round(outcome.client_cpu_seconds, 1),
        "store_cpu_seconds": round(outcome.store_cpu_seconds, 1),
    }


def line_of_speed(outcome: Outcome) -> str:
    """How fast purchases were answered, while the shop was open."""
    slowest = sorted(one.seconds for one in outcome.book.purchases) or [0.0]
    middle, high = slowest[len(slowest) // 2], slowest[len(slowest) * 99 // 100]
    lines = sum(one.lines for one in outcome.book.purchases)
    return (
        f"{len(outcome.book.purchases):,} purchases with {lines:,} lines; while the shop was open "
        f"{_rate(outcome):,.0f} per second, answered in {middle * 1000:,.0f} ms (median), "
        f"{high * 1000:,.0f} ms (p99)"
    )


def line_of_totals(
    outcome: Outcome, expected: Expected, differences: list[str], seconds: float
) -> str:
    """The run in one line."""
    total = totals(outcome.months)
    lines = sum(one.lines for one in outcome.book.purchases)
    back = total.cancelled_minor + total.refunded_minor
    both = outcome.client_cpu_seconds + outcome.store_cpu_seconds
    share = outcome.client_cpu_seconds / both if both else 0.0
    return (
        f"real year: {expected.days} days, {total.orders:,} orders, {lines:,} lines, "
        f"{total.units:,} units, {_money(total.revenue_minor)} sold, "
        f"{total.cancelled_orders:,} cancelled, {total.refunds:,} refunds, {_money(back)} back, "
        f"{expected.customers:,} customers, {sum(expected.skipped.values()):,} lines skipped; "
        f"{seconds:.0f} s, {_rate(outcome):,.0f} purchases/s while open, "
        f"client {share:.0%} of the CPU; {len(differences) or 'no'} differences"
    )


def _money(minor: int) -> str:
    return f"£{minor // 100:,}.{minor % 100:02}"


def _rate(outcome: Outcome) -> float:
    return len(outcome.book.purchases) / max(outcome.seconds["trading"], 1e-9)

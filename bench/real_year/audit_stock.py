"""The stock ledger at the end; one rule: every movement of every SKU is added up."""

from collections import Counter, defaultdict
from urllib.parse import quote

import msgspec

from bench.real_year.client import Api
from bench.real_year.plan import Plan
from bench.real_year.trading import Book
from bench.real_year.working import work_off

AT_ONCE = 16


class LevelSeen(msgspec.Struct, rename="camel"):
    """How much there is."""

    on_hand: int
    reserved: int
    available: int


class MovementSeen(msgspec.Struct):
    """One line of the ledger."""

    delta: int
    reason: str


def expected_movements(plan: Plan, book: Book) -> dict[str, Counter[str]]:
    """By SKU and reason: what was delivered, sold and given back, as it was acknowledged."""
    wanted: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for day in plan.days:
        for sku, units in day.deliveries.items():
            wanted[sku]["received"] += units
    for sale in book.sales.values():
        for sku, units in sale.units.items():
            wanted[sku]["sold"] -= units
    for step in [*book.cancelled.values(), *book.refunded]:
        for sku, units in step.units.items():
            wanted[sku]["returned"] += units
    return wanted


async def audit_stock(api: Api, plan: Plan, book: Book, staff_token: str) -> list[str]:
    """Compares the ledger and the level of every SKU with what was acknowledged."""
    wanted, differences = expected_movements(plan, book), list[str]()

    async def look(sku: str) -> None:
        path = f"/v1/inventory/{quote(sku)}"
        answer = await api.send("GET", path, token=staff_token)
        level = msgspec.json.decode(answer, type=LevelSeen)
        seen: Counter[str] = Counter()
        for one in await api.walk(f"{path}/movements", MovementSeen, token=staff_token):
            seen[one.reason] += one.delta
        differences.extend(compare_sku(sku, level, seen, wanted[sku]))

    await work_off(plan.titles, look, AT_ONCE)
    return differences


def compare_sku(sku: str, level: LevelSeen, seen: Counter[str], wanted: Counter[str]) -> list[str]:
    """What is wrong with one SKU: nothing is reserved any more, and the ledger is the level."""
    faults = [
        f"SKU {sku} {reason}: {seen[reason]}, not {wanted[reason]}"
        for reason in sorted({*seen, *wanted})
        if seen[reason] != wanted[reason]
    ]
    left = wanted.total()
    if (level.on_hand, level.reserved, level.available) != (left, 0, left):
        faults.append(f"SKU {sku}: {level}, not {left} on hand and none reserved")
    if seen.total() != level.on_hand:
        faults.append(f"SKU {sku}: the ledger adds up to {seen.total()}, not {level.on_hand}")
    return faults

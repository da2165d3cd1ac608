"""Counts a real year from its file alone; one rule: no code in common with the replay.

`python expected.py FILE [--days N]` prints JSON: orders, units and revenue per month, what was
cancelled and refunded, and every skipped line by reason, after RULES.md, to be read beside it.
Only the standard library, only this file.
"""

import csv
import json
import lzma
import sys
from typing import Any

Row = dict[str, str]
FIELDS = (
    "orders",
    "units",
    "revenue_minor",
    "cancelled_orders",
    "cancelled_units",
    "cancelled_minor",
    "refunds",
    "refunded_units",
    "refunded_minor",
)


def pence(text: str) -> int:
    """`2.55` is 255; halves are rounded up."""
    sign = -1 if text.startswith("-") else 1
    whole, _, fraction = text.lstrip("-").partition(".")
    tenths = int(whole + (fraction + "000")[:3]) * sign
    return (tenths + 5) // 10


def sku_of(row: Row) -> str:
    """The code, whatever its case."""
    return row["StockCode"].strip().upper()


def is_goods(sku: str) -> bool:
    """Five digits and letters, or DCGS and anything."""
    return sku[:4] == "DCGS" or (
        len(sku) >= 5 and sku[:5].isdigit() and (len(sku) == 5 or sku[5:].isalpha())
    )


def load(path: str, days: int | None) -> tuple[list[Row], int]:
    """The file's lines, of the first `days` dates if given, and how many dates there are."""
    with lzma.open(path, "rt", encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    dates = sorted({row["InvoiceDate"].split()[0] for row in rows})
    if days is not None and days < len(dates):
        rows = [row for row in rows if row["InvoiceDate"].split()[0] < dates[days]]
        dates = dates[:days]
    return rows, len(dates)


def reason_to_skip(row: Row) -> str:
    """By the line alone; empty if it is kept."""
    kind, quantity = row["InvoiceNo"][0], int(row["Quantity"])
    if kind == "A":
        return "adjustment"
    if not is_goods(sku_of(row)):
        return "not_goods"
    if kind == "C" and quantity >= 0:
        return "quantity_not_negative"
    if kind != "C" and quantity <= 0:
        return "quantity_not_positive"
    if pence(row["UnitPrice"]) <= 0:
        return "price_not_positive"
    if kind == "C" and not row["CustomerID"]:
        return "cancelled_by_guest"
    return ""


def in_order(kept: list[Row]) -> list[tuple[str, list[Row]]]:
    """(time, lines) of each invoice; its time and place are those of its first line."""
    by_number: dict[str, list[Row]] = {}
    for row in kept:
        by_number.setdefault(row["InvoiceNo"], []).append(row)
    return sorted(
        ((lines[0]["InvoiceDate"], lines) for lines in by_number.values()), key=lambda one: one[0]
    )


def price_lists(invoices: list[tuple[str, list[Row]]]) -> dict[tuple[str, str], int]:
    """(date, SKU) to pence: most lines, then the lowest."""
    lines_at: dict[tuple[str, str], dict[int, int]] = {}
    for time, lines in invoices:
        for row in lines:
            if row["InvoiceNo"][0] != "C":
                at = lines_at.setdefault((time[:10], sku_of(row)), {})
                price = pence(row["UnitPrice"])
                at[price] = at.get(price, 0) + 1
    return {
        place: min((-count, price) for price, count in at.items())[1]
        for place, at in lines_at.items()
    }


class Count:
    """The running figures."""

    def __init__(self, prices: dict[tuple[str, str], int]) -> None:
        self.prices = prices
        self.months: dict[str, dict[str, int]] = {}
        self.skipped: dict[str, int] = {}
        self.off_list = 0
        self.off_list_minor = 0
        self.sales_of: dict[str, list[dict[str, Any]]] = {}

    def add(self, time: str, **much: int) -> None:
        """Adds to the month of this time."""
        figures = self.months.setdefault(time[:7], dict.fromkeys(FIELDS, 0))
        for field, amount in much.items():
            figures[field] += amount

    def skip(self, reason: str) -> None:
        """One line more."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1

    def sell(self, time: str, lines: list[Row]) -> None:
        """An order."""
        units: dict[str, int] = {}
        price: dict[str, int] = {}
        for row in lines:
            sku, many, own = sku_of(row), int(row["Quantity"]), pence(row["UnitPrice"])
            units[sku] = units.get(sku, 0) + many
            price[sku] = self.prices[time[:10], sku]
            if own != price[sku]:
                self.off_list += 1
                self.off_list_minor += many * (own - price[sku])
        customer, many = lines[0]["CustomerID"], sum(units.values())
        if customer:
            sale = {"left": units, "price": price, "units": many}
            self.sales_of.setdefault(customer, []).append(sale)
        worth = sum(units[sku] * price[sku] for sku in units)
        self.add(time, orders=1, units=many, revenue_minor=worth)

    def give_back(self, time: str, lines: list[Row]) -> None:
        """A cancellation: a step for each sale that its lines are found in."""
        steps: dict[int, tuple[dict[str, Any], list[int]]] = {}
        for row in lines:
            sku, many = sku_of(row), -int(row["Quantity"])
            sales = self.sales_of.get(row["CustomerID"], [])
            fits = [sale for sale in sales if sale["left"].get(sku, 0) >= many]
            if not fits:
                self.skip("cancelled_sale_not_found")
                continue
            sale = fits[-1]
            sale["left"][sku] -= many
            _, (units, worth) = steps.get(id(sale), (sale, [0, 0]))
            steps[id(sale)] = sale, [units + many, worth + many * sale["price"][sku]]
        for sale, (units, worth) in steps.values():
            if units == sale["units"]:
                self.add(time, cancelled_orders=1, cancelled_units=units, cancelled_minor=worth)
            else:
                self.add(time, refunds=1, refunded_units=units, refunded_minor=worth)


def count(path: str, days: int | None = None) -> dict[str, Any]:
    """Everything, as plain dictionaries."""
    rows, dates = load(path, days)
    reasons = [reason_to_skip(row) for row in rows]
    invoices = in_order([row for row, why in zip(rows, reasons, strict=True) if not why])
    result = Count(price_lists(invoices))
    for reason in filter(None, reasons):
        result.skip(reason)
    for time, lines in invoices:
        if lines[0]["InvoiceNo"][0] == "C":
            result.give_back(time, lines)
        else:
            result.sell(time, lines)
    return {
        "lines": len(rows),
        "days": dates,
        "customers": len(result.sales_of),
        "months": dict(sorted(result.months.items())),
        "skipped": dict(sorted(result.skipped.items())),
        "off_list": result.off_list,
        "off_list_minor": result.off_list_minor,
    }


def main() -> None:
    """Prints the figures."""
    given = sys.argv[1:]
    days = int(given[given.index("--days") + 1]) if "--days" in given else None
    json.dump(count(given[0], days), sys.stdout, indent=1)


if __name__ == "__main__":
    main()

"""Lines of the retailer's file; one rule: each is kept or skipped for one reason (RULES.md)."""

import csv
import lzma
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from pathlib import Path

GOODS = re.compile(r"[0-9]{5}[A-Z]*|DCGS.*")


@dataclass(frozen=True, slots=True)
class Line:
    """One invoice line. `at` is as in the file, `2010-12-01 08:26:00`; `customer` "" is a guest."""

    invoice: str
    sku: str
    title: str
    quantity: int
    at: str
    price_minor: int
    customer: str
    country: str

    @property
    def is_cancellation(self) -> bool:
        """Whether it takes back what was sold before."""
        return self.invoice.startswith("C")

    @property
    def day(self) -> str:
        """Its date."""
        return self.at[:10]


@lru_cache(maxsize=10_000)
def in_pence(price: str) -> int:
    """Pounds as pence, halves rounded up."""
    return int((Decimal(price) * 100).to_integral_value(ROUND_HALF_UP))


def read_lines(path: Path) -> Iterator[Line]:
    """Every line of the compressed file, in its order."""
    with lzma.open(path, "rt", encoding="utf-8", newline="") as handle:
        yield from lines_of(csv.DictReader(handle))


def lines_of(rows: Iterable[Mapping[str, str]]) -> Iterator[Line]:
    """Rows of the file as lines."""
    for row in rows:
        yield Line(
            invoice=row["InvoiceNo"].strip(),
            sku=row["StockCode"].strip().upper(),
            title=" ".join(row["Description"].split()),
            quantity=int(row["Quantity"]),
            at=row["InvoiceDate"].strip(),
            price_minor=in_pence(row["UnitPrice"]),
            customer=row["CustomerID"].strip().removesuffix(".0"),
            country=row["Country"].strip(),
        )


def reason_to_skip(line: Line) -> str | None:
    """Why a line is left out, judged by itself; None if it is kept."""
    if line.invoice.startswith("A"):
        return "adjustment"
    if not GOODS.fullmatch(line.sku):
        return "not_goods"
    if line.is_cancellation and line.quantity >= 0:
        return "quantity_not_negative"
    if not line.is_cancellation and line.quantity <= 0:
        return "quantity_not_positive"
    if line.price_minor <= 0:
        return "price_not_positive"
    if line.is_cancellation and not line.customer:
        return "cancelled_by_guest"
    return None

"""Small years made by hand, in the shape of the retailer's file."""

import csv
import io
import lzma
from collections.abc import Iterable
from pathlib import Path

from bench.real_year.figures import Figures
from bench.real_year.lines import Line, lines_of
from bench.real_year.plan import Plan

COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)
Row = dict[str, str]


def row(
    invoice: str = "536365",
    code: str = "85123A",
    quantity: int = 6,
    price: str = "2.55",
    *,
    at: str = "2010-12-01 08:26:00",
    customer: str = "17850.0",
    title: str = "WHITE HANGING HEART",
    country: str = "United Kingdom",
) -> Row:
    """One line of the file."""
    cells = (invoice, code, title, str(quantity), at, price, customer, country)
    return dict(zip(COLUMNS, cells, strict=True))


def line(
    invoice: str = "536365",
    code: str = "85123A",
    quantity: int = 6,
    price: str = "2.55",
    **more: str,
) -> Line:
    """The same, as the replay reads it."""
    [made] = lines_of([row(invoice, code, quantity, price, **more)])
    return made


def write_year(path: Path, rows: Iterable[Row]) -> Path:
    """A compressed file of these lines."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([cells[name] for name in COLUMNS] for cells in rows)
    path.write_bytes(lzma.compress(text.getvalue().encode(), preset=0))
    return path


def figures_of(plan: Plan) -> dict[str, Figures]:
    """What a replay of the plan without a fault comes to."""
    months: dict[str, Figures] = {}
    prices: dict[str, dict[str, int]] = {}
    for day in plan.days:
        for sale in day.sales:
            prices[sale.invoice] = day.prices
            units = sum(sale.units.values())
            worth = sum(many * day.prices[sku] for sku, many in sale.units.items())
            figures = Figures(orders=1, units=units, revenue_minor=worth)
            months.setdefault(sale.at[:7], Figures()).add(figures)
        for step in day.returns:
            units = sum(step.units.values())
            listed = prices[step.sale.invoice]
            worth = sum(many * listed[sku] for sku, many in step.units.items())
            figures = (
                Figures(cancelled_orders=1, cancelled_units=units, cancelled_minor=worth)
                if step.whole
                else Figures(refunds=1, refunded_units=units, refunded_minor=worth)
            )
            months.setdefault(step.at[:7], Figures()).add(figures)
    return months

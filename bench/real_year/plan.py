"""The year as a shop lives it; one rule: made of the file alone, before anything is sold."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from bench.real_year.lines import Line, reason_to_skip
from bench.real_year.matching import GivingBack, Matcher, Sale


@dataclass(slots=True)
class Day:
    """One trading day. `prices` are in pence; `deliveries` are what will be sold, in units."""

    date: str
    prices: dict[str, int] = field(default_factory=dict[str, int])
    deliveries: Counter[str] = field(default_factory=Counter[str])
    events: list[Sale | GivingBack] = field(default_factory=list["Sale | GivingBack"])
    skipped: Counter[str] = field(default_factory=Counter[str])
    off_list: int = 0
    off_list_minor: int = 0
    """By how much more the lines' own prices would have come to."""

    @property
    def sales(self) -> list[Sale]:
        """What becomes an order."""
        return [one for one in self.events if isinstance(one, Sale)]

    @property
    def returns(self) -> list[GivingBack]:
        """What is given back."""
        return [one for one in self.events if isinstance(one, GivingBack)]


@dataclass(frozen=True, slots=True)
class Plan:
    """All days, and the catalogue: each SKU's title and the first list price that it has."""

    days: list[Day]
    titles: dict[str, str]
    first_prices: dict[str, int]


def make_short_plan(lines: Sequence[Line], trading_days: int | None) -> Plan:
    """Only so many days, made of their lines alone; the catalogue is the whole year's."""
    year = make_plan(lines)
    if trading_days is None or trading_days >= len(year.days):
        return year
    end = year.days[trading_days].date
    days = make_plan(line for line in lines if line.day < end).days
    return Plan(days, year.titles, year.first_prices)


def make_plan(lines: Iterable[Line]) -> Plan:
    """What all of these lines become."""
    days: dict[str, Day] = {}
    titles: defaultdict[str, Counter[str]] = defaultdict(Counter)
    invoices: dict[str, list[Line]] = {}
    for line in lines:
        day = days.setdefault(line.day, Day(line.day))
        reason = reason_to_skip(line)
        if reason is not None:
            day.skipped[reason] += 1
            continue
        invoices.setdefault(line.invoice, []).append(line)
        if line.title and not line.is_cancellation:
            titles[line.sku][line.title] += 1
    ordered = sorted(invoices.values(), key=lambda one: one[0].at)  # stable: then by place
    matcher = Matcher()
    for date, group in groupby(ordered, key=lambda one: one[0].day):
        _plan_day(days[date], list(group), matcher)
    first_prices: dict[str, int] = {}
    trading = [days[date] for date in sorted(days)]
    for day in trading:
        first_prices = day.prices | first_prices
    named = {sku: _title(sku, titles[sku]) for sku in sorted(first_prices)}
    return Plan(trading, named, first_prices)


def _plan_day(day: Day, invoices: list[list[Line]], matcher: Matcher) -> None:
    for invoice in invoices:
        if invoice[0].is_cancellation:
            day.events += matcher.match(invoice)
        else:
            sale = _sale(invoice)
            matcher.add_sale(sale)
            day.events.append(sale)
            day.deliveries.update(sale.units)
    day.skipped += matcher.skipped
    matcher.skipped.clear()
    sold = [line for one in invoices for line in one if not line.is_cancellation]
    day.prices = price_list(sold)
    for line in sold:
        difference = line.price_minor - day.prices[line.sku]
        day.off_list += difference != 0
        day.off_list_minor += difference * line.quantity


def _sale(lines: list[Line]) -> Sale:
    units: Counter[str] = Counter()
    for line in lines:
        units[line.sku] += line.quantity
    first = lines[0]
    return Sale(first.invoice, first.at, first.customer, first.country, dict(units))


def price_list(sold: Iterable[Line]) -> dict[str, int]:
    """Each SKU's most frequent price in pence; of several the lowest."""
    prices: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for line in sold:
        prices[line.sku][line.price_minor] += 1
    return {
        sku: max(counts, key=lambda price: (counts[price], -price))
        for sku, counts in prices.items()
    }


def _title(sku: str, titles: Counter[str]) -> str:
    most = max(titles.values(), default=0)
    return min((title for title, times in titles.items() if times == most), default=sku)

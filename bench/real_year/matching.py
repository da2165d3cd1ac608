"""Which sale a cancellation takes back; one rule: the latest earlier one with enough units left."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.real_year.lines import Line


@dataclass(frozen=True, slots=True)
class Sale:
    """An invoice that becomes an order; `units` by SKU."""

    invoice: str
    at: str
    customer: str
    country: str
    units: dict[str, int]


@dataclass(frozen=True, slots=True)
class GivingBack:
    """What one cancellation names of one sale; `whole`: every unit of it."""

    cancellation: str
    at: str
    sale: Sale
    units: dict[str, int]
    whole: bool


@dataclass(slots=True)
class Matcher:
    """Sales and cancellations go in by the order of their time."""

    skipped: Counter[str] = field(default_factory=Counter[str])
    _left: defaultdict[str, list[tuple[Sale, Counter[str]]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add_sale(self, sale: Sale) -> None:
        """From now on it can be taken back, if it has a customer."""
        if sale.customer:
            self._left[sale.customer].append((sale, Counter(sale.units)))

    def match(self, cancelled: Sequence[Line]) -> list[GivingBack]:
        """What one cancellation takes back, sale by sale; its lines not found are counted."""
        found: dict[str, tuple[Sale, Counter[str]]] = {}
        for line in cancelled:
            sale = self._take(line)
            if sale is None:
                self.skipped["cancelled_sale_not_found"] += 1
                continue
            found.setdefault(sale.invoice, (sale, Counter()))[1][line.sku] -= line.quantity
        number, at = cancelled[0].invoice, cancelled[0].at
        return [
            GivingBack(number, at, sale, dict(units), whole=units == Counter(sale.units))
            for sale, units in found.values()
        ]

    def _take(self, line: Line) -> Sale | None:
        for sale, left in reversed(self._left[line.customer]):
            if left[line.sku] >= -line.quantity:
                left[line.sku] += line.quantity
                return sale
        return None

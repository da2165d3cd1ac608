"""All orders as staff see them at the end; one rule: the figures come from the store's answers."""

from collections import Counter, defaultdict

import msgspec

from bench.real_year.client import Api
from bench.real_year.figures import Figures
from bench.real_year.trading import Book, reason_of


class Money(msgspec.Struct, frozen=True):
    """In pence."""

    amount: int
    currency: str


class LineSeen(msgspec.Struct):
    """A line of an order."""

    sku: str
    quantity: int
    total: Money


class QuantitySeen(msgspec.Struct):
    """Units of a refund."""

    sku: str
    quantity: int


class RefundSeen(msgspec.Struct):
    """Money that went back, and the units that came back."""

    amount: Money
    reason: str
    lines: list[QuantitySeen] | None = None


class PaymentSeen(msgspec.Struct):
    """The order's one payment."""

    id: str
    reference: str
    captured: Money
    refunded: Money


class OrderSeen(msgspec.Struct, rename="camel"):
    """An order, as far as it matters here."""

    id: str
    number: str
    status: str
    payment_status: str
    lines: list[LineSeen]
    total: Money
    payment: PaymentSeen
    refunds: list[RefundSeen]


class OrdersAudit:
    """Compares what the store holds with what it acknowledged; counts by month."""

    def __init__(self, book: Book) -> None:
        self.months: defaultdict[str, Figures] = defaultdict(Figures)
        self.differences: list[str] = []
        self._book = book
        self._refunds = Counter((one.sale.invoice, reason_of(one)) for one in book.refunded)

    def read(self, orders: list[OrderSeen]) -> None:
        """All orders of the store."""
        for name in ("id", "number"):
            self._refuse_doubles(name, Counter(getattr(one, name) for one in orders))
        self._refuse_doubles("payment", Counter(one.payment.id for one in orders))
        self._refuse_doubles("reference", Counter(one.payment.reference for one in orders))
        for order in orders:
            if order.id in self._book.sales:
                self._read_order(order)
            else:
                self.differences.append(f"order {order.id}: nobody was told of it")
        lost = self._book.sales.keys() - {one.id for one in orders}
        self.differences += [f"order {one}: acknowledged, but not there" for one in sorted(lost)]

    def _refuse_doubles(self, what: str, counts: Counter[str]) -> None:
        doubles = [one for one, times in counts.items() if times > 1]
        self.differences += [f"{what} {one} stands on several orders" for one in doubles]

    def _read_order(self, order: OrderSeen) -> None:
        sale = self._book.sales[order.id]
        units = {line.sku: line.quantity for line in order.lines}
        prices = self._book.prices[sale.invoice]
        total = sum(many * prices[sku] for sku, many in sale.units.items())
        self._same(order, "units", units, sale.units)
        self._same(order, "total", order.total.amount, total)
        self._same(order, "sum of lines", sum(one.total.amount for one in order.lines), total)
        self._same(order, "captured", order.payment.captured.amount, total)
        given_back = sum(one.amount.amount for one in order.refunds)
        self._same(order, "refunded", order.payment.refunded.amount, given_back)
        self.months[sale.at[:7]].add(
            Figures(
                orders=1,
                units=sum(line.quantity for line in order.lines),
                revenue_minor=order.total.amount,
            )
        )
        cancelled = sale.invoice in self._book.cancelled
        self._same(order, "status", order.status, "cancelled" if cancelled else "placed")
        if cancelled:
            self._read_cancelled(order, given_back)
        else:
            self._read_refunds(order, given_back)

    def _read_cancelled(self, order: OrderSeen, given_back: int) -> None:
        step = self._book.cancelled[self._book.sales[order.id].invoice]
        units = sum(line.quantity for line in order.lines)
        self._same(order, "paymentStatus", order.payment_status, "refunded")
        self._same(order, "refunds", len(order.refunds), 1)
        self.months[step.at[:7]].add(
            Figures(cancelled_orders=1, cancelled_units=units, cancelled_minor=given_back)
        )

    def _read_refunds(self, order: OrderSeen, given_back: int) -> None:
        partly = "refunded" if given_back == order.total.amount else "partially_refunded"
        self._same(
            order, "paymentStatus", order.payment_status, partly if order.refunds else "paid"
        )
        invoice = self._book.sales[order.id].invoice
        for one in order.refunds:
            self._refunds[invoice, one.reason] -= 1
            units = sum(line.quantity for line in one.lines or ())
            self.months[one.reason[:7]].add(
                Figures(refunds=1, refunded_units=units, refunded_minor=one.amount.amount)
            )

    def unfound_refunds(self) -> list[str]:
        """Refunds that were acknowledged and are not there, or are there too often."""
        return [
            f"refund {reason} of invoice {invoice}: {-times:+} too many"
            for (invoice, reason), times in self._refunds.items()
            if times
        ]

    def _same(self, order: OrderSeen, what: str, seen: object, wanted: object) -> None:
        if seen != wanted:
            self.differences.append(f"order {order.id} {what}: {seen}, not {wanted}")


async def audit_orders(api: Api, book: Book, staff_token: str) -> OrdersAudit:
    """Walks every order of the store."""
    audit = OrdersAudit(book)
    audit.read(await api.walk("/v1/orders?all=true", OrderSeen, token=staff_token))
    audit.differences += audit.unfound_refunds()
    return audit

"""What the end of a run would notice: each audit, shown a store with one fault."""

from collections import Counter
from typing import Any

import msgspec
import pytest

from bench.real_year.audit_messages import MessageSeen, compare_messages
from bench.real_year.audit_orders import OrdersAudit, OrderSeen
from bench.real_year.audit_stock import LevelSeen, compare_sku
from bench.real_year.client import Api
from bench.real_year.customers import Customers
from bench.real_year.figures import Figures, compare_counts, compare_months
from bench.real_year.matching import GivingBack, Sale
from bench.real_year.trading import Book, reason_of

SALE = Sale("1", "2010-12-01 08:26:00", "17850", "United Kingdom", {"11111": 5, "22222": 2})
OTHER = Sale("2", "2010-12-31 08:26:00", "17850", "United Kingdom", {"11111": 3})
PART = GivingBack("C3", "2011-01-04 10:00:00", SALE, {"11111": 1}, whole=False)
WHOLE = GivingBack("C4", "2011-01-05 10:00:00", OTHER, {"11111": 3}, whole=True)


def book() -> Book:
    """Two orders that were acknowledged, one refunded in part, one cancelled."""
    return Book(
        sales={"a": SALE, "b": OTHER},
        order_ids={"1": "a", "2": "b"},
        prices={"1": {"11111": 200, "22222": 50}, "2": {"11111": 300}},
        cancelled={"2": WHOLE},
        refunded=[PART],
    )


def money(amount: int) -> dict[str, Any]:
    """Pence."""
    return {"amount": amount, "currency": "GBP"}


def order(id_: str, total: int, lines: dict[str, int], refunds: list[Any], **more: Any) -> Any:
    """An order as the API shows it."""
    back = sum(one["amount"]["amount"] for one in refunds)
    payment = {"id": f"p{id_}", "reference": f"r{id_}", "status": "captured"}
    return {
        "id": id_,
        "number": f"N{id_}",
        "status": "placed",
        "paymentStatus": "paid",
        "lines": [
            {"sku": sku, "quantity": many, "total": money(total if not n else 0)}
            for n, (sku, many) in enumerate(lines.items())
        ],
        "total": money(total),
        "payment": payment | {"captured": money(total), "refunded": money(back)},
        "refunds": refunds,
        **more,
    }


def right_orders() -> list[Any]:
    """The two orders as they should be."""
    part = {
        "amount": money(200),
        "reason": reason_of(PART),
        "lines": [{"sku": "11111", "quantity": 1}],
    }
    whole = {"amount": money(900), "reason": "as asked", "lines": None}
    return [
        order("a", 1100, SALE.units, [part], paymentStatus="partially_refunded"),
        order("b", 900, OTHER.units, [whole], status="cancelled", paymentStatus="refunded"),
    ]


def audited(orders: list[Any]) -> OrdersAudit:
    """What the audit says of these orders."""
    audit = OrdersAudit(book())
    audit.read(msgspec.convert(orders, list[OrderSeen]))
    audit.differences += audit.unfound_refunds()
    return audit


def test_orders_as_they_should_be() -> None:
    """Nothing is said of a store in order; money counts in the month in which it moved."""
    audit = audited(right_orders())
    assert audit.differences == []
    assert audit.months == {
        "2010-12": Figures(orders=2, units=10, revenue_minor=2000),
        "2011-01": Figures(
            cancelled_orders=1,
            cancelled_units=3,
            cancelled_minor=900,
            refunds=1,
            refunded_units=1,
            refunded_minor=200,
        ),
    }


@pytest.mark.parametrize(
    ("place", "path", "wrong"),
    [
        (0, ("payment", "captured"), money(2200)),
        (0, ("payment", "refunded"), money(0)),
        (0, ("payment", "reference"), "rb"),
        (0, ("payment", "id"), "pb"),
        (0, ("number",), "Nb"),
        (0, ("total",), money(1099)),
        (0, ("paymentStatus",), "paid"),
        (0, ("refunds",), []),
        (0, ("lines",), []),
        (1, ("status",), "placed"),
        (1, ("refunds",), []),
        (1, ("id",), "c"),
    ],
)
def test_one_wrong_order(place: int, path: tuple[str, ...], wrong: Any) -> None:
    """Every fault of an order's money, units or state is a difference."""
    orders = right_orders()
    inner = orders[place]
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = wrong
    assert audited(orders).differences


def test_lost_and_double_orders() -> None:
    """An acknowledged order that is missing is noticed, and one that is there twice."""
    assert audited(right_orders()[:1]).differences == ["order b: acknowledged, but not there"]
    assert audited([*right_orders(), right_orders()[1]]).differences


def mails() -> list[MessageSeen]:
    """Exactly those that should be there."""

    def mail(kind: str, order_id: str | None) -> MessageSeen:
        return MessageSeen(kind, "email", "sent", "customer-17850@real-year.example", order_id)

    return [
        mail("welcome", None),
        mail("order_confirmed", "a"),
        mail("order_confirmed", "b"),
        mail("order_refunded", "a"),
        mail("order_cancelled", "b"),
    ]


@pytest.mark.parametrize("place", range(5))
def test_mails(place: int) -> None:
    """A missing mail is noticed, a double one, and a failed one."""
    customers = Customers(Api.__new__(Api))
    customers.tokens["17850"] = "a token"
    right = mails()
    assert compare_messages(right, book(), customers) == []
    assert compare_messages(right[:place] + right[place + 1 :], book(), customers)
    assert compare_messages([*right, right[place]], book(), customers)
    failed = msgspec.structs.replace(right[place], status="failed")
    assert compare_messages([*right[:place], failed, *right[place + 1 :]], book(), customers)


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        ((2, 0, 2), {"received": 10, "sold": -9, "returned": 1}),
        ((1, 0, 1), {"received": 10, "sold": -9}),
        ((2, 1, 1), {"received": 10, "sold": -8, "returned": 1}),
        ((3, 0, 3), {"received": 10, "sold": -8, "returned": 1}),
        ((3, 0, 3), {"received": 10, "sold": -8, "returned": 1, "counted": 0, "damaged": 1}),
        ((3, 1, 2), {"received": 10, "sold": -9, "returned": 2}),
        ((-1, 0, -1), {"received": 10, "sold": -12, "returned": 1}),
    ],
)
def test_stock(level: tuple[int, int, int], seen: dict[str, int]) -> None:
    """A unit too many or too few, sold twice, still reserved or not in the ledger is noticed."""
    wanted = Counter(received=10, sold=-9, returned=2)
    assert compare_sku("11111", LevelSeen(*level), Counter(seen), wanted)
    assert not compare_sku("11111", LevelSeen(3, 0, 3), Counter(wanted), wanted)


def test_months_and_counts() -> None:
    """Every figure that differs is named; long lists are cut and say so."""
    theirs = {"2010-12": Figures(orders=2, units=3), "2011-01": Figures(orders=1)}
    assert compare_months({"2010-12": Figures(orders=1, units=3)}, theirs) == [
        "2010-12 orders: the store has 1, the file has 2",
        "2011-01 orders: the store has 0, the file has 1",
    ]
    assert compare_counts("mail", {1: 1, 2: 2}, {1: 1, 2: 1, 3: 1}, 1) == [
        "mail 2: 2, not 1",
        "mail: 1 more differ",
    ]

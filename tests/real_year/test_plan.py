"""How lines become orders, price lists, deliveries and things given back."""

from collections.abc import Iterable

from bench.real_year.lines import Line
from bench.real_year.plan import Day, Plan, make_plan, price_list
from real_year.rows import line


def only_day(lines: Iterable[Line]) -> Day:
    """The plan of one day."""
    [day] = make_plan(lines).days
    return day


def returns(plan: Plan) -> list[tuple[str, str, dict[str, int], bool]]:
    """Everything given back: cancellation, invoice, units, whole."""
    steps = [one for day in plan.days for one in day.returns]
    return [(one.cancellation, one.sale.invoice, one.units, one.whole) for one in steps]


def test_same_code_twice() -> None:
    """The same code twice in an invoice is added up, also in another case."""
    day = only_day([line(quantity=6), line(quantity=4), line(code="85123a", quantity=1)])
    assert [one.units for one in day.sales] == [{"85123A": 11}]
    assert day.deliveries == {"85123A": 11}


def test_invoice_of_dirt_only() -> None:
    """An invoice without one kept line is no order, and its lines are counted."""
    day = only_day([line(code="POST"), line(code="M"), line(price="0.0")])
    assert not day.events
    assert day.skipped == {"not_goods": 2, "price_not_positive": 1}


def test_day_without_sales() -> None:
    """A day of which nothing is kept is a day all the same."""
    plan = make_plan([line(code="POST"), line(at="2010-12-02 09:00:00")])
    assert [(day.date, len(day.sales)) for day in plan.days] == [
        ("2010-12-01", 0),
        ("2010-12-02", 1),
    ]


def test_invoice_in_two_pieces() -> None:
    """Lines of one invoice that others stand between, a minute apart, are one order."""
    plan = make_plan(
        [
            line("1", "11111"),
            line("2", "22222"),
            line("1", "33333", at="2010-12-01 08:27:00"),
        ]
    )
    [day] = plan.days
    assert [one.invoice for one in day.sales] == ["1", "2"]
    assert day.sales[0].units == {"11111": 6, "33333": 6}


def test_most_frequent_price() -> None:
    """The list price is that of most lines, whatever their units; of several the lowest."""
    prices = [("2.55", 1), ("2.55", 1), ("1.00", 900), ("3.00", 1), ("3.00", 1)]
    assert price_list(line(price=price, quantity=many) for price, many in prices) == {"85123A": 255}


def test_off_list() -> None:
    """Lines at another price than the list's are counted, with what they would have come to."""
    day = only_day([line(price="2.00"), line(price="2.00"), line(price="2.50", quantity=10)])
    assert (day.prices, day.off_list, day.off_list_minor) == ({"85123A": 200}, 1, 500)


def test_cancellation_sets_no_price() -> None:
    """What a cancellation says about prices is not on the list."""
    day = only_day(
        [
            line("1", price="2.00"),
            line("C2", quantity=-1, price="9.00"),
            line("C3", quantity=-1, price="9.00"),
        ]
    )
    assert day.prices == {"85123A": 200}


def test_catalogue() -> None:
    """A title is the most frequent description; a price the first that the list had."""
    plan = make_plan(
        [
            line(title="OLD", price="1.00"),
            line(title="NEW", price="1.00"),
            line(title="NEW", price="2.00", at="2010-12-02 10:00:00"),
            line(code="99999", title=""),
        ]
    )
    assert plan.titles == {"85123A": "NEW", "99999": "99999"}
    assert plan.first_prices["85123A"] == 100


def test_whole_cancellation() -> None:
    """An order of which every unit is named is cancelled, also in several lines."""
    plan = make_plan(
        [line("1", quantity=6), line("C2", quantity=-2), line("C2", quantity=-4)],
    )
    assert returns(plan) == [("C2", "1", {"85123A": 6}, True)]


def test_part_and_rest() -> None:
    """What was refunded in part is refunded, not cancelled, when the rest comes back."""
    plan = make_plan(
        [line("1", quantity=6), line("C2", quantity=-2), line("C3", quantity=-4)],
    )
    assert returns(plan) == [("C2", "1", {"85123A": 2}, False), ("C3", "1", {"85123A": 4}, False)]


def test_latest_sale_with_enough() -> None:
    """The latest earlier sale that has enough units left is meant, of the same customer."""
    plan = make_plan(
        [
            line("1", quantity=10),
            line("2", quantity=10),
            line("3", quantity=3),
            line("4", quantity=50, customer="99999.0"),
            line("C5", quantity=-7),
            line("C6", quantity=-7),
            line("C7", quantity=-7),
            line("8", quantity=50, at="2010-12-02 10:00:00"),
        ]
    )
    assert returns(plan) == [("C5", "2", {"85123A": 7}, False), ("C6", "1", {"85123A": 7}, False)]
    assert plan.days[0].skipped == {"cancelled_sale_not_found": 1}


def test_one_cancellation_two_sales() -> None:
    """A cancellation that names codes of two orders is a step for each of them."""
    plan = make_plan(
        [
            line("1", "11111", 5),
            line("2", "22222", 5),
            line("C3", "11111", -5),
            line("C3", "22222", -1),
        ]
    )
    assert returns(plan) == [("C3", "1", {"11111": 5}, True), ("C3", "2", {"22222": 1}, False)]


def test_guests_are_strangers() -> None:
    """A guest's sale is never found by a cancellation, and a guest's cancellation finds none."""
    plan = make_plan([line("1", customer=""), line("C2", quantity=-6, customer="")])
    assert not returns(plan)
    assert plan.days[0].skipped == {"cancelled_by_guest": 1}

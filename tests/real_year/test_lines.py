"""Which lines are kept, and how they are read."""

import pytest

from bench.real_year.lines import in_pence, reason_to_skip
from real_year.rows import line


@pytest.mark.parametrize(
    ("invoice", "code", "quantity", "price", "customer", "reason"),
    [
        ("536365", "85123A", 6, "2.55", "17850.0", None),
        ("536365", "85123a", 6, "2.55", "", None),
        ("536365", "22423", 1, "10.95", "17850.0", None),
        ("536365", "79323GR", 1, "6.75", "17850.0", None),
        ("536365", "DCGSSGIRL", 1, "3.29", "", None),
        ("A563185", "B", 1, "11062.06", "", "adjustment"),
        ("A563186", "B", 1, "-11062.06", "", "adjustment"),
        ("536370", "POST", 3, "18.00", "12583.0", "not_goods"),
        ("536370", "DOT", 1, "569.77", "", "not_goods"),
        ("536370", "M", 1, "2.55", "12583.0", "not_goods"),
        ("536370", "m", 1, "2.55", "12583.0", "not_goods"),
        ("536370", "D", 1, "2.55", "12583.0", "not_goods"),
        ("536370", "S", 1, "2.55", "", "not_goods"),
        ("536370", "C2", 1, "50.00", "14911.0", "not_goods"),
        ("536370", "CRUK", 1, "1.60", "", "not_goods"),
        ("550193", "PADS", 1, "0.001", "13952.0", "not_goods"),
        ("536370", "AMAZONFEE", 1, "13541.33", "", "not_goods"),
        ("536370", "BANK CHARGES", 1, "15.00", "", "not_goods"),
        ("536370", "gift_0001_30", 1, "25.00", "", "not_goods"),
        ("C536379", "D", -1, "27.50", "14527.0", "not_goods"),
        ("536589", "21777", -10, "0.0", "", "quantity_not_positive"),
        ("536589", "21777", 0, "1.00", "", "quantity_not_positive"),
        ("C536391", "22556", 12, "1.65", "17548.0", "quantity_not_negative"),
        ("536414", "22139", 56, "0.0", "", "price_not_positive"),
        ("536414", "22139", 56, "0.004", "", "price_not_positive"),
        ("536414", "22139", 1, "-1.00", "", "price_not_positive"),
        ("C536391", "22556", -12, "1.65", "17548.0", None),
        ("C536391", "22556", -12, "1.65", "", "cancelled_by_guest"),
    ],
)
def test_reason(
    invoice: str, code: str, quantity: int, price: str, customer: str, reason: str | None
) -> None:
    """Each kind of dirt has its reason, and what is sound is kept."""
    assert reason_to_skip(line(invoice, code, quantity, price, customer=customer)) == reason


def test_description_is_no_reason() -> None:
    """A line that only lacks its description is kept."""
    assert reason_to_skip(line(title="")) is None


@pytest.mark.parametrize(
    ("price", "pence"),
    [("2.55", 255), ("3.1", 310), ("7", 700), ("0.001", 0), ("0.005", 1), ("-11062.06", -1106206)],
)
def test_pence(price: str, pence: int) -> None:
    """Pounds become pence exactly, halves rounded up."""
    assert in_pence(price) == pence


def test_cells() -> None:
    """Codes lose their case, customers their `.0`, descriptions their spaces."""
    read = line(code=" 85123a ", title="  WHITE  HEART ", customer="17850.0")
    assert (read.sku, read.title, read.customer, read.day) == (
        "85123A",
        "WHITE HEART",
        "17850",
        "2010-12-01",
    )

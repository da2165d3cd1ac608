"""Mails and entries in words: every kind, and whatever is in the facts."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.notifications.model.entries import words_of
from tradewind.notifications.model.facts import (
    MASK,
    Facts,
    Line,
    decode,
    encode,
    greeting_name,
    masked,
    plain,
)
from tradewind.notifications.model.kinds import MAILED, SHOWN
from tradewind.notifications.model.letters import Letters
from tradewind.platform.ids import new_id

LETTERS = Letters(shop_name="Tradewind & Sons", public_url="https://shop.example/")
HOSTILE = '<script>alert("x")</script>\r\nBcc: thief@example.com\r\n\r\n& \u202egnp.exe'
FULL = Facts(
    name="Ann Lee",
    order_id=new_id(),
    number="TW-1A2B",
    currency="EUR",
    total_minor=123_456,
    amount_minor=1499,
    lines=(Line("Kettle", 2, 1250, 2500), Line("Cup & saucer", 1, 1499, 1499)),
    lines_more=7,
    reason="late",
    carrier="DHL",
    tracking="00340434",
    expires_at=datetime(2030, 5, 6, 7, 8, tzinfo=UTC),
    order_token="order-secret",
    verification_token="verify-secret",
    reset_token="reset-secret",
)
HOSTILE_FACTS = msgspec.structs.replace(
    FULL,
    name=HOSTILE,
    number=HOSTILE,
    lines=(Line(HOSTILE, 1, 1, 1),),
    reason=HOSTILE,
    carrier=HOSTILE,
    tracking=HOSTILE,
    order_token=HOSTILE,
    verification_token=HOSTILE,
    reset_token=HOSTILE,
)
SAYS = {
    "welcome": ("Welcome to Tradewind", "/verify-email?token=verify-secret"),
    "verify_email": ("Confirm your new", "/verify-email?token=verify-secret"),
    "email_changed": ("was changed", "contact us at once"),
    "password_reset": ("Reset your password", "/reset-password?token=reset-secret"),
    "address_already_registered": ("already have an account", "/forgot-password"),
    "order_confirmed": ("Order TW-1A2B confirmed", "Kettle"),
    "payment_failed": ("Payment failed for order TW-1A2B", "EUR 1,234.56"),
    "order_shipped": ("is on its way", "00340434"),
    "order_delivered": ("has arrived", "/orders/"),
    "order_cancelled": ("was cancelled", "EUR 14.99"),
    "order_refunded": ("Refund for order TW-1A2B", "EUR 14.99"),
}


class _Reader(HTMLParser):
    """What a mail program sees: its tags, its links, its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> _Reader:
    """The HTML as a mail program reads it."""
    reader = _Reader()
    reader.feed(html)
    return reader


@pytest.mark.parametrize("kind", sorted(MAILED))
def test_every_kind_says_its_own(kind: str) -> None:
    """Every mail has its subject, and says the same in text and in HTML."""
    letter = LETTERS.write(kind, FULL)
    subject, says = SAYS[kind]
    assert subject in letter.subject and says in letter.text
    seen = read(letter.html)
    assert says in seen.text
    assert letter.text.startswith("Hello Ann Lee,\n\n")
    assert all(link.startswith("https://shop.example") for link in seen.links) and seen.links
    assert "None" not in letter.text + letter.html


@pytest.mark.parametrize("kind", sorted(MAILED))
def test_hostile_facts_stay_text(kind: str) -> None:
    """Titles and names full of markup and line breaks change neither the HTML nor the layout."""
    calm, hostile = LETTERS.write(kind, FULL), LETTERS.write(kind, HOSTILE_FACTS)
    assert "script" not in read(hostile.html).tags and "<script" not in hostile.html
    assert read(hostile.html).tags.count("a") == read(calm.html).tags.count("a")
    assert "\u202e" not in hostile.subject + hostile.text + hostile.html
    assert "\r" not in hostile.text and not re.search(r"^Bcc:", hostile.text, re.MULTILINE)
    assert len(hostile.subject.splitlines()) == 1 and len(hostile.subject) <= 200


@pytest.mark.parametrize("kind", sorted(SHOWN))
def test_every_entry_says_its_own(kind: str) -> None:
    """Every entry has a title and a body of one line each."""
    for facts in (FULL, HOSTILE_FACTS):
        words = words_of(kind, facts)
        assert words.title.strip() and words.body.strip()
        assert len(words.title.splitlines()) == 1 and len(words.body.splitlines()) == 1
        assert "None" not in words.title + words.body


@pytest.mark.parametrize("kind", sorted(MAILED))
def test_a_mask_leaves_no_secret(kind: str) -> None:
    """A masked letter holds no secret, and still says that there is a link."""
    letter = LETTERS.write(kind, masked(FULL))
    everything = letter.subject + letter.text + letter.html
    assert "-secret" not in everything
    assert ("token=" in everything) == (f"token={MASK}" in everything)


def test_a_long_order() -> None:
    """A mail of a long order ends its lines with how many more there are."""
    letter = LETTERS.write("order_confirmed", FULL)
    assert "and 7 more" in letter.text and "and 7 more" in letter.html
    short = LETTERS.write("order_confirmed", msgspec.structs.replace(FULL, lines_more=0))
    assert "more" not in short.text


@pytest.mark.parametrize(
    ("kind", "left_out", "gone"),
    [
        ("welcome", {"verification_token": None}, "confirm that"),
        ("order_shipped", {"carrier": None, "tracking": None, "lines": ()}, "Carrier"),
        ("payment_failed", {"number": None, "reason": None, "order_id": None}, "order TW"),
        ("order_refunded", {"reason": None, "lines": ()}, "Reason"),
        ("order_cancelled", {"amount_minor": 0}, "on its way back"),
        ("password_reset", {"expires_at": None, "name": None}, "until"),
        ("order_confirmed", {"order_token": None}, "token="),
    ],
)
def test_facts_that_are_not_there(kind: str, left_out: dict[str, Any], gone: str) -> None:
    """What is not known is not mentioned."""
    letter = LETTERS.write(kind, msgspec.structs.replace(FULL, **left_out))
    assert gone not in letter.text and gone not in read(letter.html).text
    assert "None" not in letter.text + letter.html
    if kind in SHOWN:
        assert "None" not in words_of(kind, msgspec.structs.replace(FULL, **left_out)).body


def test_currencies_without_cents() -> None:
    """An amount has the digits of its currency."""
    facts = msgspec.structs.replace(FULL, currency="JPY", total_minor=1234, lines=())
    assert "JPY 1,234\n" in LETTERS.write("order_confirmed", facts).text


def test_the_shops_name_is_escaped() -> None:
    """The shop's own name is text too."""
    assert "Tradewind &amp; Sons" in LETTERS.write("welcome", FULL).html
    assert "Tradewind & Sons" in LETTERS.write("welcome", FULL).text


@pytest.mark.parametrize(
    ("name", "greeted"),
    [
        ("Ann Lee", "Ann Lee"),
        (" Ann\r\n Lee ", "Ann Lee"),
        ("J.R.R. Tolkien", "J.R.R. Tolkien"),
        ("Zoë O'Brien-Łuk", "Zoë O'Brien-Łuk"),
        (None, ""),
        ("", ""),
        ("Win 1000 EUR at evil.example now", ""),
        ("http://evil", ""),
        ("www.evil", ""),
        ("mail me@evil", ""),
        ("<b>Ann</b>", ""),
        ("A" * 65, ""),
    ],
)
def test_names_that_advertise(name: str | None, greeted: str) -> None:
    """A "name" that is an advertisement is not repeated to whoever owns the address."""
    assert greeting_name(name) == greeted


@given(st.text())
def test_plain_text_has_one_line(text: str) -> None:
    """Whatever the text, what a mail shows of it is one line, as long as before."""
    assert len(plain(text)) == len(text) and len(plain(text).splitlines()) <= 1


def test_facts_come_back() -> None:
    """Facts are saved and read back whole; those that are not there take no room."""
    assert decode(encode(FULL)) == FULL
    assert encode(Facts()) == b"{}"

"""Letters on the wire: headers, addresses, and what tells a repeated mail."""

from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.notifications.model.addresses import address_fault
from tradewind.notifications.model.delivery import Claimed, Mail
from tradewind.notifications.model.letters import Letter
from tradewind.notifications.model.mail import build_mail
from tradewind.notifications.model.settings import parse_sender
from tradewind.platform.ids import new_id

SENDER = parse_sender("Tradewind <shop@shop.example>")
CLAIMED = Claimed(
    id=new_id(),
    kind="welcome",
    recipient="ann@example.com",
    data=b"{}",
    attempts=1,
    resends=0,
    queued_at=datetime(2030, 5, 6, 7, 8, tzinfo=UTC),
    created_at=datetime(2030, 5, 6, 7, 8, tzinfo=UTC),
)
HEADERS = {
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
}


def parsed(mail: Mail) -> EmailMessage:
    """The mail as its recipient's program reads it."""
    message = message_from_bytes(mail.content, policy=default)
    assert isinstance(message, EmailMessage)
    return message


def build(subject: str = "Hi", text: str = "Text\n", html: str = "<p>x</p>", **other: Any) -> Mail:
    """A mail of the claimed message."""
    claimed = msgspec.structs.replace(CLAIMED, **other)
    return build_mail(claimed, Letter(subject, text, html), SENDER)


def test_what_a_mail_is_made_of() -> None:
    """Text and HTML are alternatives of one message, with the headers that it needs alone."""
    mail = build("Größe ✓", "Grüße\n" * 3, "<p>Grüße</p>")
    message = parsed(mail)
    assert set(message.keys()) == HEADERS
    assert message["Subject"] == "Größe ✓" and message["To"] == "ann@example.com"
    assert message["From"] == "Tradewind <shop@shop.example>"
    kinds = [part.get_content_type() for part in message.walk()]
    assert kinds == ["multipart/alternative", "text/plain", "text/html"]
    body = message.get_body(("plain",))
    assert body is not None and body.get_content().split() == ["Grüße"] * 3
    assert mail.content.isascii() and max(map(len, mail.content.split(b"\r\n"))) <= 998


def test_the_message_id_tells_repetitions() -> None:
    """Every try of one sending has the same Message-ID; what staff send again has another."""
    first, again = parsed(build(attempts=1)), parsed(build(attempts=7))
    assert first["Message-ID"] == again["Message-ID"] == f"<{CLAIMED.id}.0@shop.example>"
    assert parsed(build(resends=1))["Message-ID"] != first["Message-ID"]


@given(st.text(max_size=300))
def test_no_subject_adds_a_header(text: str) -> None:
    """Whatever a subject was made of, the mail has the headers it always has."""
    subject = " ".join(text.replace("\0", "").split())
    try:
        mail = build(subject=subject)
    except UnicodeEncodeError:
        assert any(
            "\ud800" <= letter <= "\udfff" for letter in subject
        )  # no text that JSON carries
        return
    assert set(parsed(mail).keys()) == HEADERS and mail.recipient == "ann@example.com"


@pytest.mark.parametrize("text", ["a\r\nBcc: b@example.com", "a\nb", "a\rb"])
def test_a_line_break_in_a_header_is_refused(text: str) -> None:
    """Should a line break ever reach a header, the mail is not built at all."""
    with pytest.raises(ValueError, match=r"linefeed|newline|header"):
        build(subject=text)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ann",
        "ann@",
        "@example.com",
        "ann@example.com\r\nBcc: b@example.com",
        "ann@example.com, b@example.com",
        "ann b@example.com",
        "Ann <ann@example.com>",
        '"a b"@example.com',
        "ann@[127.0.0.1]",
        "a(comment)@example.com",
        "ann@exa mple.com",
        "ann@-example.com",
        "ann@example..com",
        ".ann@example.com",
        "ann..lee@example.com",
        "a" * 65 + "@example.com",
        "ann@" + "a" * 260 + ".com",
        "ann@exam\0ple.com",
        "ann@b@example.com",
    ],
)
def test_what_is_no_address(address: str) -> None:
    """What is not plainly one address is refused."""
    assert address_fault(address) is not None


@pytest.mark.parametrize(
    ("address", "wire", "is_utf8"),
    [
        ("ann@example.com", "ann@example.com", False),
        ("Ann.Lee+shop@mail.example.co.uk", "Ann.Lee+shop@mail.example.co.uk", False),
        ("o'brien@localhost", "o'brien@localhost", False),
        ("ann@bücher.example", "ann@xn--bcher-kva.example", False),
        ("jürgen@example.com", "jürgen@example.com", True),
    ],
)
def test_addresses_on_the_wire(address: str, wire: str, *, is_utf8: bool) -> None:
    """A domain goes out in ASCII; a name beyond it needs a server that knows SMTPUTF8."""
    assert address_fault(address) is None
    mail = build(recipient=address)
    assert (mail.recipient, mail.is_utf8) == (wire, is_utf8)
    assert f"\r\nTo: {wire}\r\n".encode() in mail.content

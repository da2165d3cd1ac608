"""Settings of notifications: what is wrong is said at start, without repeating secrets."""

import pytest

from tradewind.notifications.model.delivery import breaker_seconds, pause_seconds
from tradewind.notifications.model.settings import NotificationsSettings, parse_smtp_url
from tradewind.platform.config import ConfigError, load

STRUCTS = {"notifications": NotificationsSettings}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example", ("mail.example", 25, None, None, "offered")),
        ("smtp://ann:p%40ss@mail.example", ("mail.example", 587, "ann", "p@ss", "required")),
        ("smtp://mail.example:2525?starttls=never", ("mail.example", 2525, None, None, "never")),
        ("smtps://a:b@mail.example", ("mail.example", 465, "a", "b", "implicit")),
        ("smtp://mail.example?starttls=required", ("mail.example", 25, None, None, "required")),
        ("smtp://a:b@[::1]:25?starttls=offered", ("::1", 25, "a", "b", "offered")),
    ],
)
def test_mail_servers(url: str, expected: tuple[object, ...]) -> None:
    """A URL says where the server is, and how the connection is secured."""
    server = parse_smtp_url(url)
    assert (server.host, server.port, server.user, server.password, server.tls) == expected
    assert "p@ss" not in repr(server)


@pytest.mark.parametrize(
    "url",
    [
        "mail.example",
        "http://mail.example",
        "smtp://",
        "smtp://mail.example:99999",
        "smtp://mail.example/folder",
        "smtp://ann@mail.example",
        "smtp://mail.example?tls=1",
        "smtp://mail.example?starttls=perhaps",
        "smtps://mail.example?starttls=never",
    ],
)
def test_what_is_no_mail_server(url: str) -> None:
    """A wrong URL is named with its setting when the store starts."""
    with pytest.raises(ConfigError, match="TRADEWIND_NOTIFICATIONS_SMTP_URL: "):
        load(STRUCTS, {"TRADEWIND_NOTIFICATIONS_SMTP_URL": url})


def test_a_fault_repeats_no_password() -> None:
    """The line that says what is wrong with a URL does not hold its password."""
    with pytest.raises(ConfigError) as caught:
        load(STRUCTS, {"TRADEWIND_NOTIFICATIONS_SMTP_URL": "smtp://ann:hunter2@mail.example/x"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "sender", ["", "Tradewind", "Shop <shop>", "Shop <a@b.example>\r\nBcc: c@d.example", "a@b, c@d"]
)
def test_what_is_no_sender(sender: str) -> None:
    """A sender must be one address, with or without a name."""
    with pytest.raises(ConfigError, match="TRADEWIND_NOTIFICATIONS_MAIL_FROM: "):
        load(STRUCTS, {"TRADEWIND_NOTIFICATIONS_MAIL_FROM": sender})


def test_pauses_grow_and_are_bounded() -> None:
    """A mail's pauses grow with its age up to half an hour, a server's up to a quarter minute."""
    ages = [0.0, 10.0, 100.0, 1000.0, 100_000.0]
    pauses = [pause_seconds(age, 0.999, is_server=False) for age in ages]
    assert pauses == sorted(pauses) and 0.5 <= pauses[0] <= 1 and 1790 <= pauses[-1] <= 1800
    assert pause_seconds(100_000.0, 0.999, is_server=True) <= 15
    assert pause_seconds(100.0, 0.0, is_server=False) < pause_seconds(100.0, 0.9, is_server=False)
    assert breaker_seconds(1, 0.0) < breaker_seconds(4, 0.0) <= breaker_seconds(10**6, 0.999) <= 15


def test_a_mail_goes_out_soon_after_a_fault() -> None:
    """However long a fault of one mail lasted, the next try is at most half as long after it."""
    at = 0.0
    for _ in range(60):
        pause = pause_seconds(at, 0.999, is_server=False)
        assert pause <= max(1.0, at / 2)
        at += pause

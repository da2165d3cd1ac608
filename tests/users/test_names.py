"""Names and addresses: what is taken, and what counts as the same."""

import pytest

from tradewind.users.model.faults import Fault
from tradewind.users.model.names import (
    login_key,
    network_of,
    read_email,
    read_imported_username,
    read_username,
)


@pytest.mark.parametrize(
    "text",
    [
        "ann@example.com",
        " Ann.Lee+shop@Example.COM ",
        "o'brien@sub.example.co.uk",
        "x@xn--mller-kva.de",
        "a" * 64 + "@example.com",
    ],
)
def test_good_addresses_are_taken(text: str) -> None:
    """Plain addresses pass: trimmed, the domain in lower case, one key whatever the case."""
    email = read_email(text)
    assert email.address.partition("@")[2].islower()
    assert email.key == text.strip().lower() == login_key(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann",
        "@example.com",
        "ann@",
        "ann@localhost",
        "ann@example",
        "ann@-example.com",
        "ann@example..com",
        ".ann@example.com",
        "an..n@example.com",
        "ann lee@example.com",
        '"ann lee"@example.com',
        "ann@[127.0.0.1]",
        "ann@127.0.0.1",
        "ann@example.com\nBcc: all@example.com",
        "ann@example.com\r",
        "ann\t@example.com",
        "ann@example.com,bob@example.com",
        "Ann <ann@example.com>",
        "änn@example.com",
        "ann@müller.de",
        "\u212aann@example.com",  # the Kelvin sign, whose lower case is an ASCII k
        "a" * 65 + "@example.com",
        "a" * 60 + "@" + "b" * 60 + "." + "c" * 60 + "." + "d" * 60 + "." + "e" * 60 + ".com",
    ],
)
def test_bad_addresses_are_refused(text: str) -> None:
    """Nothing that could add a header or a recipient, or that mail cannot reach, is an address."""
    with pytest.raises(Fault):
        read_email(text)


def test_user_names_differ_by_more_than_spelling() -> None:
    """Case and compatibility forms do not make another user name."""
    keys = {read_username(text).key for text in ("Straße", "STRASSE", "\uff53trasse", " strasse ")}
    assert keys == {"strasse"}
    assert login_key("STRASSE") == "strasse"


@pytest.mark.parametrize(
    "text",
    [
        "ab",
        "",
        "a" * 65,
        "ann@home",
        "ann\uff20home",
        "ann\x00lee",
        "ann\u202elee",
        "ann\u00a0lee",
        "a\tb",
    ],
)
def test_bad_user_names_are_refused(text: str) -> None:
    """Too short, too long, invisible characters, and whatever could pass for an e-mail address."""
    with pytest.raises(Fault):
        read_username(text)


def test_imported_names_may_be_what_express_took() -> None:
    """An old name may be one letter or 255, but its key must fit the index."""
    assert read_imported_username("a").key == "a"
    assert read_imported_username("x" * 255).text == "x" * 255
    with pytest.raises(Fault):
        read_imported_username("\ufdfa" * 200)  # each becomes 18 characters


def test_one_client_is_one_network() -> None:
    """An IPv6 customer has a /64 to choose addresses from, and counts as one."""
    assert network_of("192.0.2.7") == "192.0.2.7"
    assert network_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2::1")
    assert network_of("2001:db8:1:2::1") != network_of("2001:db8:1:3::1")
    assert network_of("") == ""

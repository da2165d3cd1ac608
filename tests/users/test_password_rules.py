"""Which passwords are good enough."""

import pytest

from tradewind.users.model.passwords import normalized, password_fault
from tradewind.users.service import _common_passwords

COMMON = _common_passwords()


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "s3cret-pw-of-old",
        "a quite different passphrase",
        "tR0ub4dor&3",
        "        x       y ",
        "пароль для входа в магазин",
        "🐴🔋📎✅🐴🔋📎🎉🌍",
        "x" * 4 + "lonely zebra" + "q" * 112,
        "a" * 64,
    ],
)
def test_rare_passwords_are_taken(password: str) -> None:
    """Any characters will do, without rules of composition."""
    assert password_fault(password, ["ann@example.com"], COMMON) is None


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "Password",
        "P@ssw0rd",
        "password123",
        "123password",
        "pass-word",
        "12345678",
        "qwertyuiop",
        "1q2w3e4r5t",
        "iloveyou",
        "ILoveYou2024",
        "letmein!!",
        "Welcome2024!",
        "aaaaaaaa",
        "abababab",
        "abcabcabc",
        "abcdefgh",
        "87654321",
        "qwerasdf",
        "1234qwer",
        "123qweasd",
        "zaq1zaq1",
        "\uff50assword",
    ],
)
def test_guessable_passwords_are_refused(password: str) -> None:
    """What stands in the lists of breached passwords, and what is made by their habits."""
    assert password_fault(password, [], COMMON) is not None


def test_length_counts_characters() -> None:
    """8 to 128 characters, however many bytes they take."""
    assert password_fault("zebra-7", [], COMMON) is not None
    assert password_fault("zèbra-7ß", [], COMMON) is None
    assert password_fault("ß€é🐴" * 32 + "x", [], COMMON) is not None


def test_the_own_name_adds_nothing() -> None:
    """A name in the password is as if it were not there."""
    assert password_fault("barnabas77", ["barnabas"], COMMON) is not None
    assert password_fault("xxBarnabas7", ["barnabas@example.com"], COMMON) is not None
    assert password_fault("barnabas likes old maps", ["barnabas"], COMMON) is None
    assert password_fault("annual turnover", ["ann"], COMMON) is None


def test_the_same_characters_are_the_same_password() -> None:
    """An accent typed as one character or as two makes no difference."""
    assert normalized("cafe\u0301 au lait") == normalized("caf\u00e9 au lait")


def test_the_list_fits_the_rule() -> None:
    """Every line of the list is in the form in which passwords are looked up."""
    assert len(COMMON) > 900
    assert all(word == word.casefold().strip() and word.isalnum() for word in COMMON)

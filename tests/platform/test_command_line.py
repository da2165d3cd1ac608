"""The command line: a failure is one clear line on standard error and a non-zero exit."""

import sys
from typing import Any

import pytest

from tradewind import __main__ as command_line
from tradewind.commands import people
from tradewind.commands.place import load_settings
from tradewind.commands.run import check_production
from tradewind.platform.config import ConfigError
from tradewind.platform.errors import FieldError, Invalid


def _leave_logging(_level: str) -> None:
    """Sets nothing."""


def complaint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[Any, str]:
    """The exit code of these words, and what they said."""
    monkeypatch.setattr(sys, "argv", ["tradewind", *words])
    # It would go on logging to what is captured here, after the test.
    monkeypatch.setattr(command_line, "configure_logging", _leave_logging)
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("bogus",), "bogus"),
        (("run", "shipping"), "shipping"),
        (("staff", "add"), "email"),
        (("staff", "add", "ann@example.com", "--role", "boss"), "boss"),
        (("import",), "file"),
    ],
)
def test_wrong_words_are_told_in_one_line(
    words: tuple[str, ...],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever mistypes learns what, in a line that a script can show."""
    code, told = complaint(monkeypatch, capsys, *words)
    assert code == 2
    assert told.count("\n") == 1
    assert told.startswith("tradewind: ")
    assert named in told


def test_a_refused_input_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with an e-mail address or password is said, not only that something is."""

    async def refuse(*_: Any) -> None:
        raise Invalid("The input is wrong.", errors=[FieldError("password", "is too short")])

    monkeypatch.setattr(people, "ask_password", lambda: "short")
    monkeypatch.setattr(people, "add_staff", refuse)
    told = complaint(monkeypatch, capsys, "staff", "add", "ann@example.com")
    assert told == (1, "tradewind: password is too short\n")


@pytest.mark.parametrize("environment", ["development", "production"])
def test_a_provider_that_does_not_exist_opens_nothing(
    environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Naming one would let production start, and its customers pay with the test provider."""
    monkeypatch.setenv("TRADEWIND_ENVIRONMENT", environment)
    monkeypatch.setenv("TRADEWIND_SECRET", "x" * 32)
    monkeypatch.setenv("TRADEWIND_PUBLIC_URL", "https://shop.example")
    monkeypatch.setenv("TRADEWIND_ORDERS_PAYMENT_PROVIDER", "paypal")
    with pytest.raises(ConfigError, match="PAYMENT_PROVIDER"):
        check_production(load_settings())

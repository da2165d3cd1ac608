"""Settings: every fault is named, all of them at once, before anything starts."""

from pathlib import Path

import pytest

from tradewind.compose import SETTINGS
from tradewind.platform.config import ConfigError, PlatformSettings, load


def faults(environ: dict[str, str], toml: Path | None = None) -> str:
    """What is said about these."""
    with pytest.raises(ConfigError) as told:
        load(SETTINGS, environ, toml)
    assert str(told.value) == "\n".join(told.value.faults)
    return str(told.value)


def test_nothing_set_is_fine() -> None:
    """Every setting has a default."""
    made = load(SETTINGS, {}, Path("/nowhere/tradewind.toml"))
    assert set(made) == set(SETTINGS)
    assert made[""] == PlatformSettings()


def test_a_variable_before_the_file_before_the_default(tmp_path: Path) -> None:
    """The nearer one counts."""
    toml = tmp_path / "tradewind.toml"
    toml.write_text('port = 1001\nhost = "::1"\n[orders]\nlines_most = 7\nquantity_most = 8\n')
    environ = {"TRADEWIND_PORT": "1002", "TRADEWIND_ORDERS_LINES_MOST": "9", "PATH": "/bin"}
    made = load(SETTINGS, environ, toml)
    assert (made[""].port, made[""].host) == (1002, "::1")
    assert (made["orders"].lines_most, made["orders"].quantity_most) == (9, 8)


def test_all_faults_at_once(tmp_path: Path) -> None:
    """Whoever sets up a store mends everything in one go."""
    toml = tmp_path / "tradewind.toml"
    toml.write_text("pool_size = 0\nnonsense = 1\n[orders]\nlease_seconds = -1\nmore = 2\n")
    told = faults(
        {
            "TRADEWIND_PORT": "http",
            "TRADEWIND_PRODUCTS_RESERVATION_SECONDS": "0",
            "TRADEWIND_PROT": "1",
            "TRADEWIND_LOG_REQUESTS": "maybe",
        },
        toml,
    )
    for word in (
        "TRADEWIND_PORT",
        "TRADEWIND_PRODUCTS_RESERVATION_SECONDS",
        "TRADEWIND_PROT: no such setting; did you mean TRADEWIND_PORT?",
        "TRADEWIND_LOG_REQUESTS",
        "pool_size",
        "nonsense: no such setting",
        "lease_seconds",
        "orders.more: no such setting",
    ):
        assert word in told, told


@pytest.mark.parametrize("port", ["-1", "65536", "1.5", "", "8000 "])
def test_no_strange_port(port: str) -> None:
    """Out of range, half a number, nothing."""
    assert "TRADEWIND_PORT" in faults({"TRADEWIND_PORT": port})


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("0", False), ("true", True), ("no", False)]
)
def test_yes_and_no(text: str, value: bool) -> None:
    """As people write them."""
    assert load(SETTINGS, {"TRADEWIND_LOG_REQUESTS": text})[""].log_requests is value


def test_what_could_only_fail_later_is_named_with_the_rest() -> None:
    """Also where it takes more than a type to see it; and no secret is repeated."""
    told = faults(
        {
            "TRADEWIND_PORT": "0",
            "TRADEWIND_ENVIRONMENT": "staging",
            "TRADEWIND_LOG_LEVEL": "loud",
            "TRADEWIND_SECRET": "too-short",
            "TRADEWIND_DATABASE_URL": "mysql://root:hunter2@db/shop",
            "TRADEWIND_PUBLIC_URL": "shop.example",
            "TRADEWIND_ALLOWED_ORIGINS": "https://one.example,https://two.example/path",
            "TRADEWIND_TRUSTED_PROXIES": "10.0.0.0/8,proxy",
            "TRADEWIND_NOTIFICATIONS_SMTP_URL": "http://mail",
        }
    )
    named = [line.partition(":")[0].removeprefix("TRADEWIND_") for line in told.splitlines()]
    assert sorted(named) == [
        "ALLOWED_ORIGINS",
        "DATABASE_URL",
        "ENVIRONMENT",
        "LOG_LEVEL",
        "NOTIFICATIONS_SMTP_URL",
        "PORT",
        "PUBLIC_URL",
        "SECRET",
        "TRUSTED_PROXIES",
    ]
    assert "too-short" not in told
    assert "hunter2" not in told


@pytest.mark.parametrize("port", ["5433x", "99999", "0"])
def test_no_strange_port_of_the_database(port: str) -> None:
    """It would be found out only on connecting."""
    url = f"postgresql://shop@db:{port}/shop"
    assert "TRADEWIND_DATABASE_URL" in faults({"TRADEWIND_DATABASE_URL": url})


def test_lists_are_separated_by_commas() -> None:
    """Spaces do not count, and nothing is no entry."""
    made = load(SETTINGS, {"TRADEWIND_TRUSTED_PROXIES": "10.0.0.1, 10.1.0.0/16 ,"})
    assert made[""].trusted_proxies == ("10.0.0.1", "10.1.0.0/16")
    assert load(SETTINGS, {"TRADEWIND_TRUSTED_PROXIES": ""})[""].trusted_proxies == ()


def test_a_file_that_is_no_toml(tmp_path: Path) -> None:
    """It is named; nothing starts on half a file."""
    toml = tmp_path / "tradewind.toml"
    for text in (b"port = ", b"\xff\xfe", b"[orders\n"):
        toml.write_bytes(text)
        assert "not readable as TOML" in faults({}, toml)


def test_a_table_must_be_a_table(tmp_path: Path) -> None:
    """`orders = 3` is no section."""
    toml = tmp_path / "tradewind.toml"
    toml.write_text("orders = 3\n")
    assert "orders must be a table" in faults({}, toml)


def test_other_people_s_variables_are_left_alone() -> None:
    """Those that are named as theirs, and everything without our prefix."""
    environ = {"TRADEWIND_REAL_YEAR": "1", "HOME": "/root", "PGHOST": "x"}
    load(SETTINGS, environ, None, frozenset({"TRADEWIND_REAL_YEAR"}))
    assert "TRADEWIND_REAL_YEAR" in faults(environ)

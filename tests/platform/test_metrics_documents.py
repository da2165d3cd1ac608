"""What is written of metrics, against what there is."""

import re

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from architecture.metrics_page import LIBRARY, PAGE, draw
from architecture.tree import ROOT
from tradewind.platform.metrics.names import METRICS

PROMETHEUS = ROOT / "deploy" / "prometheus"
PARTS = ("_bucket", "_count", "_sum")


def test_the_page_is_what_is_declared() -> None:
    """docs/metrics.md is what the declarations say."""
    assert PAGE.read_text() == draw(METRICS.values()), "run metrics_page"


def test_what_the_library_tells_is_named() -> None:
    """Every metric that Prometheus' library adds stands on the page too."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    told = {one.name + ("_total" if one.type == "counter" else "") for one in registry.collect()}
    assert told == set(re.findall(r"`(\w+)`", LIBRARY))


def test_names_follow_the_conventions() -> None:
    """Counters end in _total and nothing else does; histograms are in seconds."""
    for one in METRICS.values():
        assert re.fullmatch(r"tradewind_[a-z_]+[a-z]", one.name)
        assert one.name.endswith("_total") == (one.kind == "counter"), one.name
        assert one.kind != "histogram" or one.name.endswith("_seconds"), one.name


def test_rules_ask_for_what_there_is() -> None:
    """Every metric and label that an alert goes by is declared, and every window is recorded."""
    text = (PROMETHEUS / "rules.yml").read_text()
    for name in set(re.findall(r"\btradewind_\w+", text)):
        whole = next((name.removesuffix(one) for one in PARTS if name.endswith(one)), name)
        assert name in METRICS or METRICS[whole].kind == "histogram", name
    recorded = set(re.findall(r"record: (\S+)", text))
    used = set(re.findall(r"(?<!record: )(tradewind:\w+:\w+)", text))
    assert used == recorded


def test_burn_rates() -> None:
    """Each level is watched at 14.4 times over 1 h and 5 min, and 6 times over 6 h and 30 min."""
    text = (PROMETHEUS / "rules.yml").read_text()
    for level, budget in (
        ("checkout_failures", "0.001"),
        ("request_failures", "0.01"),
        ("slow_statements", "0.01"),
    ):
        for factor, long, short in (("14.4", "1h", "5m"), ("6", "6h", "30m")):
            for window in (long, short):
                assert f"tradewind:{level}:ratio_{window} > {factor} * {budget}\n" in text

"""The values of one scrape; one rule: a value has a declared name and all of its labels.

Values with the same labels are added up: two parts of a process that have the same name are one.
"""

from collections.abc import Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from tradewind.platform.metrics.durations import BOUNDS, Durations
from tradewind.platform.metrics.names import METRICS, Declared

Labels = tuple[str, ...]
_BUCKETS = [*map(str, BOUNDS), "+Inf"]


class Page:
    """A scrape being put together."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Labels, float]] = {}
        self._durations: dict[str, dict[Labels, Durations]] = {}

    def add(self, name: str, value: float, *labels: str) -> None:
        """A value; `labels` in the order of the declaration. Raises KeyError, ValueError."""
        values = self._values.setdefault(_checked(name, labels), {})
        values[labels] = values.get(labels, 0.0) + value

    def add_durations(self, name: str, durations: Durations, *labels: str) -> None:
        """A histogram, once for each set of labels. Raises KeyError, ValueError."""
        self._durations.setdefault(_checked(name, labels), {})[labels] = durations

    def collect(self) -> Iterator[Metric]:
        """As Prometheus' client wants them: every declared metric, those without a value too."""
        for one in METRICS.values():
            yield self._histogram(one) if one.kind == "histogram" else self._plain(one)

    def _plain(self, one: Declared) -> Metric:
        family = CounterMetricFamily if one.kind == "counter" else GaugeMetricFamily
        made = family(one.name, one.meaning, labels=one.labels)
        for labels, value in self._values.get(one.name, {}).items():
            made.add_metric(labels, value)
        return made

    def _histogram(self, one: Declared) -> Metric:
        made = HistogramMetricFamily(one.name, one.meaning, labels=one.labels)
        for labels, durations in self._durations.get(one.name, {}).items():
            buckets = list(zip(_BUCKETS, durations.up_to(), strict=True))
            made.add_metric(labels, buckets, durations.seconds)
        return made


def _checked(name: str, labels: Labels) -> str:
    declared = METRICS[name].labels
    if len(labels) != len(declared):
        raise ValueError(f"{name} has the labels {declared}, not {labels}")
    return name

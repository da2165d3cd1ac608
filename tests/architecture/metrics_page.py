"""docs/metrics.md, made from the declared metrics; one rule: what is shown is what is declared.

Written by `.venv/bin/python -m tests.architecture.metrics_page`.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from architecture.tree import ROOT
from tradewind.platform.metrics.names import METRICS, Declared

PAGE = ROOT / "docs" / "metrics.md"
HEAD = """\
# Metrics

Written by `.venv/bin/python -m tests.architecture.metrics_page` from
`platform/metrics/names.py`; a test holds the two together.

Every process shows them at `/metrics` of its internal listener, in Prometheus' text format:
`deploy/prometheus/prometheus.yml` scrapes all instances, `deploy/prometheus/rules.yml` alerts on
the service levels (P21). A scrape has its answer within about a second, whatever is down: a
question to a server that does not answer is counted in `tradewind_sample_failures_total`, and its
values are missing until it answers again.

Labels have few values: a route is its template, an address one of the configured ones, and nothing
that a client sent is in any of them. All times are seconds.
"""
COLUMNS = """\
| metric | type | labels | meaning |
|---|---|---|---|"""
LIBRARY = """\
## Of the process and of Python

As Prometheus' own client library has them: `process_cpu_seconds_total`,
`process_resident_memory_bytes`, `process_virtual_memory_bytes`, `process_start_time_seconds`,
`process_open_fds`, `process_max_fds`, `python_info`, `python_gc_collections_total`,
`python_gc_objects_collected_total`, `python_gc_objects_uncollectable_total`.
"""


def draw(metrics: Iterable[Declared]) -> str:
    """The whole page."""
    rows = [
        f"| `{one.name}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels)} "
        f"| {one.meaning} |"
        for one in metrics
    ]
    table = "\n".join([COLUMNS, *rows])
    return f"{HEAD}\n## Of the store\n\n{table}\n\n{LIBRARY}"


if __name__ == "__main__":
    PAGE.write_text(draw(METRICS.values()))

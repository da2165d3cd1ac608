"""Every metric of ours; one rule: what is not declared here cannot be told.

Names and units after https://prometheus.io/docs/practices/naming/. docs/metrics.md is written from
this table.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram", "info"]


class Declared(msgspec.Struct, frozen=True):
    """One metric: its name as Prometheus shows it, and what it means."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str


def _counters(labels: tuple[str, ...], meanings: Mapping[str, str]) -> tuple[Declared, ...]:
    return tuple(
        Declared(f"tradewind_{name}_total", "counter", labels, meaning)
        for name, meaning in meanings.items()
    )


def _gauges(labels: tuple[str, ...], meanings: Mapping[str, str]) -> tuple[Declared, ...]:
    return tuple(
        Declared(f"tradewind_{name}", "gauge", labels, meaning)
        for name, meaning in meanings.items()
    )


_HTTP = (
    Declared(
        "tradewind_http_request_duration_seconds",
        "histogram",
        ("service", "method", "route", "status"),
        "Requests of the public listener, those answered from memory not among them. `route` is "
        "the template, empty where none matched; `status` its class, `none` where none was sent.",
    ),
    *_counters(
        ("service", "method", "route"),
        {"http_errors": "Of these, those that the store failed: 5xx, or no answer at all."},
    ),
    *_counters(
        (),
        {
            "http_cached_answers": "Requests answered from memory.",
            "idempotent_replays": "Writes answered with the stored answer of their key.",
        },
    ),
    *_gauges(
        (),
        {
            "http_requests_in_flight": "Requests at work, those answered from memory not counted.",
            "internal_calls_in_flight": "Calls of other services at work.",
        },
    ),
)
_DATABASE = (
    Declared(
        "tradewind_database_statement_duration_seconds",
        "histogram",
        ("service",),
        "Statements, BEGIN and COMMIT among them, with the way there and back.",
    ),
    *_counters(
        ("service", "kind"),
        {"database_failures": "Statements and connections that failed: `gone` or `contended`."},
    ),
    *_gauges(
        ("service",),
        {
            "database_connections": "Open connections of the pool.",
            "database_connections_idle": "Of these, those that nobody uses.",
            "database_connections_most": "How many there may be.",
            "database_waiting": "Who waits for a connection.",
            "database_silent": "1 while the server hangs: it holds connections, answers nobody.",
        },
    ),
)
_REPLICA = (
    *_counters(
        ("service",),
        {
            "replica_reads": "Reads that the replica answered.",
            "replica_stale_reads": "Of these, those without the primary's word.",
            "replica_primary_reads": "Reads that the primary answered in the replica's place.",
            "replica_rests": "How often the replica was left alone.",
        },
    ),
    *_counters(
        ("service", "reason"),
        {"replica_fallbacks": "Reads that the replica could not answer, by why."},
    ),
    *_gauges(
        ("service",),
        {
            "replica_resting": "1 while the replica is left alone.",
            "replica_lag_bytes": "WAL that the primary has flushed and the replica not replayed.",
            "replica_lag_seconds": "How long ago the primary was where the replica is.",
        },
    ),
)
_BATCHES = (
    *_counters(
        ("coalescer",),
        {
            "coalescer_batches": "Batches that were carried out.",
            "coalescer_members": "Requests in them.",
            "coalescer_refused": "Requests refused because too many were waiting.",
        },
    ),
    *_gauges(("coalescer",), {"coalescer_waiting": "Requests waiting for their batch."}),
)
_EVENTS = _gauges(
    ("service",),
    {
        "outbox_events": "Events saved and not told yet, counted up to 100,000.",
        "outbox_oldest_seconds": "Age of the oldest of them; 0 where there is none.",
        "deliveries_waiting": "Failed reactions that will be tried again, up to 100,000.",
        "deliveries_parked": "Failed reactions that will not, until somebody replays them.",
        "queue_messages": "Messages in the service's queue that no consumer has taken; every "
        "instance sees the same queue, so take the highest.",
    },
)
_CACHES = (
    *_counters(
        (),
        {
            "page_cache_fills": "Public answers fetched to be kept in memory.",
            "page_cache_rescues": "Failed fetches that an older answer stood in for.",
            "session_ends_untold": "Ended sessions of which Redis could not be told.",
            "limits_alone": "Checks of a client's rate made without Redis.",
        },
    ),
    *_gauges(
        (),
        {
            "page_cache_bytes": "Memory that kept answers take.",
            "page_cache_entries": "How many are kept.",
        },
    ),
    *_counters(
        ("outcome",),
        {
            "shared_pages": "Answers looked for in Redis (`hit`, `miss`), and put there (`kept`).",
            "session_lookups": "Sessions looked for in Redis: `hit`, `miss`, or found `ended`.",
        },
    ),
    *_gauges(("redis",), {"redis_away": "1 while this Redis is given up."}),
    *_counters(
        ("redis",),
        {
            "redis_round_trips": "Round trips that were tried.",
            "redis_failures": "Of these, those without an answer.",
            "redis_refusals": "Commands that it refused.",
            "redis_unasked": "Round trips spared while it was away.",
            "redis_outages": "How often it was given up.",
        },
    ),
)
_CALLS = (
    *_counters(
        ("callee",),
        {
            "remote_calls": "Requests to another service; one may carry many calls.",
            "remote_retries": "Tries after the first.",
            "remote_failures": "Requests that no try answered.",
            "remote_refused": "Requests not made: all breakers open, or too many waiting.",
        },
    ),
    *_gauges(
        ("callee", "address"),
        {
            "remote_breaker_open": "1 while calls are kept away from this address.",
            "remote_calls_in_flight": "Requests under way to it.",
        },
    ),
)
_PROCESS = (
    Declared(
        "tradewind_event_loop_lag_seconds",
        "histogram",
        (),
        "How much later than asked for a timer came, four times a second: a blocked loop.",
    ),
    Declared("tradewind_build_info", "gauge", ("version",), "1, with what runs here."),
    *_gauges(
        (),
        {
            "ready": "1 while the process may have traffic.",
            "draining": "1 once it is about to end.",
        },
    ),
    *_gauges(
        ("sample",),
        {"sample_known": "1 where the last question was answered; else its values are missing."},
    ),
    *_counters(("sample",), {"sample_failures": "Questions without an answer in time."}),
    *_gauges(("worker",), {"worker_failures_in_a_row": "Failures since the last step that went."}),
    *_counters(
        ("worker",),
        {
            "worker_steps": "Steps that went well.",
            "worker_failures": "Steps that failed and are tried again.",
        },
    ),
)
METRICS: Mapping[str, Declared] = {
    one.name: one
    for one in (
        *_HTTP,
        *_DATABASE,
        *_REPLICA,
        *_BATCHES,
        *_EVENTS,
        *_CACHES,
        *_CALLS,
        *_PROCESS,
    )
}
"""What this package tells, by name."""

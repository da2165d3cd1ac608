"""What each part of a process says of itself; one rule: reading it asks nobody and changes nothing.

Only `ask_pending` goes to a server: it is a question for `Sample`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tradewind.platform.cache import ResponseCache
from tradewind.platform.coalesce import Coalescer
from tradewind.platform.database import Database
from tradewind.platform.lifecycle import Health, Worker
from tradewind.platform.metrics.page import Page
from tradewind.platform.metrics.requests import owner_of
from tradewind.platform.parts import Parts
from tradewind.platform.redis.connection import RedisLink
from tradewind.platform.remote.client import Remote
from tradewind.platform.replica import Replica
from tradewind.platform.web.front import Front

_COUNTED_MOST = 100_000


class Pending(msgspec.Struct, frozen=True):
    """What waits in one service's schema."""

    events: int
    oldest_seconds: float
    waiting: int
    parked: int


async def ask_pending(database: Database) -> Pending:
    """Events to be told and reactions to be done; raises DatabaseDown."""
    async with database.reading() as reading:
        row = await reading.fetch_row(
            """
            SELECT (SELECT count(*) FROM (SELECT FROM outbox LIMIT $1) AS told),
                coalesce((SELECT extract(epoch FROM clock_timestamp() - created_at)::float8
                    FROM outbox ORDER BY position LIMIT 1), 0),
                count(*) FILTER (WHERE parked_at IS NULL),
                count(*) FILTER (WHERE parked_at IS NOT NULL)
            FROM (SELECT parked_at FROM deliveries LIMIT $1) AS failed
            """,
            _COUNTED_MOST,
        )
    return Pending(*(row or ()))


def tell_pending(page: Page, service: str, pending: Pending) -> None:
    """Outbox and failed reactions of a service."""
    page.add("tradewind_outbox_events", pending.events, service)
    page.add("tradewind_outbox_oldest_seconds", max(0.0, pending.oldest_seconds), service)
    page.add("tradewind_deliveries_waiting", pending.waiting, service)
    page.add("tradewind_deliveries_parked", pending.parked, service)


def tell_requests(page: Page, front: Front, paths: Mapping[str, Sequence[str]]) -> None:
    """The public listener; `paths` are those that each service serves."""
    for one in front.requests.all():
        service = owner_of(one.route, paths)
        labels = service, one.method, one.route
        page.add_durations(
            "tradewind_http_request_duration_seconds", one.durations, *labels, one.status
        )
        failed = one.durations.up_to()[-1] if one.failed else 0
        page.add("tradewind_http_errors_total", failed, *labels)
    page.add("tradewind_http_cached_answers_total", front.cached)
    page.add("tradewind_idempotent_replays_total", front.replays)
    page.add("tradewind_http_requests_in_flight", front.in_flight)


def tell_health(page: Page, health: Health) -> None:
    """Whether the process may have traffic."""
    page.add("tradewind_ready", health.may_serve())
    page.add("tradewind_draining", health.draining)


def tell_database(page: Page, service: str, database: Database) -> None:
    """A service's connections and statements, and its replica."""
    page.add_durations(
        "tradewind_database_statement_duration_seconds", database.statements, service
    )
    for kind, count in database.pool.failures.items():
        page.add("tradewind_database_failures_total", count, service, kind)
    opened, idle = database.pool.sizes()
    page.add("tradewind_database_connections", opened, service)
    page.add("tradewind_database_connections_idle", idle, service)
    page.add("tradewind_database_connections_most", database.pool.most, service)
    page.add("tradewind_database_waiting", database.pool.waiting, service)
    page.add("tradewind_database_silent", int(database.pool.silence.fallen), service)
    if database.replica is not None:
        _tell_replica(page, service, database.replica)


def _tell_replica(page: Page, service: str, replica: Replica) -> None:
    figures = replica.figures
    page.add("tradewind_replica_reads_total", figures.replica_reads, service)
    page.add("tradewind_replica_stale_reads_total", figures.stale_reads, service)
    page.add("tradewind_replica_primary_reads_total", figures.primary_reads, service)
    page.add("tradewind_replica_rests_total", figures.rests, service)
    for reason, count in figures.fallbacks.items():
        page.add("tradewind_replica_fallbacks_total", count, service, reason)
    page.add("tradewind_replica_resting", replica.resting, service)
    page.add("tradewind_replica_lag_bytes", figures.lag_bytes, service)
    page.add("tradewind_replica_lag_seconds", figures.lag_seconds, service)


def tell_coalescers(page: Page, coalescers: Iterable[Coalescer[Any, Any]]) -> None:
    """What came together in batches; those of one name are one."""
    for one in coalescers:
        page.add("tradewind_coalescer_batches_total", one.batches, one.name)
        page.add("tradewind_coalescer_members_total", one.members, one.name)
        page.add("tradewind_coalescer_refused_total", one.refused, one.name)
        page.add("tradewind_coalescer_waiting", one.waiting, one.name)


def tell_cache(page: Page, cache: ResponseCache) -> None:
    """Public answers kept in memory."""
    page.add("tradewind_page_cache_fills_total", cache.fills)
    page.add("tradewind_page_cache_rescues_total", cache.rescues)
    page.add("tradewind_page_cache_bytes", cache.bytes_kept)
    page.add("tradewind_page_cache_entries", cache.entries)


def tell_parts(page: Page, parts: Parts) -> None:
    """Both Redis, what is kept there, and the ways to other services."""
    for link in (parts.sessions, parts.cache):
        if link is not None:
            _tell_redis(page, link)
    _tell_redis_uses(page, parts)
    for remote in parts.remotes:
        _tell_remote(page, remote)
    if parts.listener is not None:
        page.add("tradewind_internal_calls_in_flight", parts.listener.calls_at_work)


def _tell_redis(page: Page, link: RedisLink) -> None:
    page.add("tradewind_redis_away", link.away, link.name)
    counts = link.counts
    page.add("tradewind_redis_round_trips_total", counts.round_trips, link.name)
    page.add("tradewind_redis_failures_total", counts.failures, link.name)
    page.add("tradewind_redis_refusals_total", counts.refusals, link.name)
    page.add("tradewind_redis_unasked_total", counts.unasked, link.name)
    page.add("tradewind_redis_outages_total", counts.outages, link.name)


def _tell_redis_uses(page: Page, parts: Parts) -> None:
    if parts.pages is not None:
        for outcome, count in msgspec.structs.asdict(parts.pages.counts).items():
            page.add("tradewind_shared_pages_total", count, _ONE.get(outcome, outcome))
    if parts.known_sessions is not None:
        for outcome, count in msgspec.structs.asdict(parts.known_sessions.counts).items():
            page.add("tradewind_session_lookups_total", count, _ONE.get(outcome, outcome))
    if parts.revoker is not None:
        page.add("tradewind_session_ends_untold_total", parts.revoker.failures)
    if parts.limit is not None:
        page.add("tradewind_limits_alone_total", parts.limit.alone)


_ONE: Mapping[str, str] = {"hits": "hit", "misses": "miss"}


def _tell_remote(page: Page, remote: Remote) -> None:
    gauges = remote.gauges
    page.add("tradewind_remote_calls_total", gauges.calls, remote.service)
    page.add("tradewind_remote_retries_total", gauges.retries, remote.service)
    page.add("tradewind_remote_failures_total", gauges.failures, remote.service)
    page.add("tradewind_remote_refused_total", gauges.refused, remote.service)
    for one in remote.endpoints:
        page.add("tradewind_remote_breaker_open", one.is_open, remote.service, one.url)
        page.add("tradewind_remote_calls_in_flight", one.at_work, remote.service, one.url)


def tell_workers(page: Page, workers: Iterable[Worker]) -> None:
    """What works beside the requests."""
    for one in workers:
        page.add("tradewind_worker_failures_in_a_row", one.failures, one.name)
        page.add("tradewind_worker_steps_total", one.steps, one.name)
        page.add("tradewind_worker_failures_total", one.failed, one.name)

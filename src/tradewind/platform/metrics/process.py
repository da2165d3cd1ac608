"""The metrics of one process, as Prometheus scrapes them; one rule: a scrape always has an answer.

Whatever is down or hangs, the page comes within about a second, and says what could not be known.
Each store has a registry of its own, so that several may live in one process.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from tradewind.platform.coalesce import Coalescer
from tradewind.platform.database import Database
from tradewind.platform.lifecycle import Health, Worker
from tradewind.platform.metrics import sources
from tradewind.platform.metrics.durations import Durations
from tradewind.platform.metrics.page import Page
from tradewind.platform.metrics.samples import WITHIN_SECONDS, Sample
from tradewind.platform.metrics.sources import ask_pending, tell_pending
from tradewind.platform.parts import Parts
from tradewind.platform.web.front import Front

_LAG_SECONDS = 0.25


class Metrics:
    """What one process tells. `paths` are those that each service serves, for `service` labels.

    `within_seconds` bounds each question that a scrape asks of another server.
    """

    def __init__(  # noqa: PLR0913  all that a process is made of
        self,
        version: str,
        health: Health,
        front: Front,
        databases: Mapping[str, Database],
        parts: Parts,
        paths: Mapping[str, Sequence[str]],
        coalescers: Iterable[Coalescer[Any, Any]],
        *,
        within_seconds: float = WITHIN_SECONDS,
    ) -> None:
        self.lag = Durations()
        self._version = version
        self._health = health
        self._front = front
        self._databases = databases
        self._parts = parts
        self._coalescers = coalescers
        self._paths = paths
        self._workers: Sequence[Worker] = ()
        self._probe = Worker("event loop lag", self._look, every_seconds=_LAG_SECONDS)
        self._pending = {
            name: Sample(f"events of {name}", partial(ask_pending, one), within_seconds)
            for name, one in databases.items()
        }
        self._queues: Mapping[str, Sample[int]] = {
            name: Sample(f"queue of {name}", partial(parts.count_queued, name), within_seconds)
            for name in databases
            if parts.has_broker
        }
        self._shown = _Shown()
        self._registry = CollectorRegistry()
        self._registry.register(self._shown)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)

    def watch(self, workers: Sequence[Worker]) -> None:
        """Tells of these workers too, and looks after the event loop, until `close`.

        Where nothing works beside the requests, nothing does here.
        """
        self._workers = workers
        if workers:
            self._probe.start()

    async def close(self) -> None:
        """Ends what is being asked, and the look after the loop."""
        await self._probe.stop(patience_seconds=0)
        for sample in (*self._pending.values(), *self._queues.values()):
            await sample.close()

    async def page(self) -> tuple[bytes, str]:
        """All of it as text, with its content type."""
        await self._ask()
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    async def _ask(self) -> None:
        """Puts the page together; what other servers must be asked is asked at the same time."""
        page = Page()
        queued, pending = await asyncio.gather(
            asyncio.gather(*(one.take() for one in self._queues.values())),
            asyncio.gather(*(one.take() for one in self._pending.values())),
        )
        for service, count in zip(self._queues, queued, strict=True):
            if count is not None:
                page.add("tradewind_queue_messages", count, service)
        for service, found in zip(self._pending, pending, strict=True):
            if found is not None:
                tell_pending(page, service, found)
        self._tell(page)
        self._shown.page = page

    def _tell(self, page: Page) -> None:
        page.add("tradewind_build_info", 1, self._version)
        page.add_durations("tradewind_event_loop_lag_seconds", self.lag)
        for sample in (*self._pending.values(), *self._queues.values()):
            page.add("tradewind_sample_known", bool(sample.known), sample.name)
            page.add("tradewind_sample_failures_total", sample.failures, sample.name)
        sources.tell_health(page, self._health)
        sources.tell_requests(page, self._front, self._paths)
        for service, database in self._databases.items():
            sources.tell_database(page, service, database)
        sources.tell_coalescers(page, self._coalescers)
        if self._front.cache is not None:
            sources.tell_cache(page, self._front.cache)
        sources.tell_parts(page, self._parts)
        sources.tell_workers(page, self._workers)

    async def _look(self) -> bool:
        due = time.monotonic() + _LAG_SECONDS
        await asyncio.sleep(_LAG_SECONDS)
        self.lag.note(max(0.0, time.monotonic() - due))
        return True


class _Shown(Collector):
    """The page that is shown next."""

    def __init__(self) -> None:
        self.page = Page()

    def collect(self) -> Iterator[Metric]:
        return self.page.collect()

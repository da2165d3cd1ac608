"""What a process of the store has besides its services; one rule: made of settings, ended by close.

Each part is there where its setting is: two Redis, a broker, the keys to prove who we are. Nothing
here waits for any of them: a part that is away is met where it is used.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tradewind.platform.broker.consuming import Consumer, DeadLetters
from tradewind.platform.broker.link import Route
from tradewind.platform.broker.publishing import RabbitBus
from tradewind.platform.broker.watching import count_queued
from tradewind.platform.bus import LocalBus
from tradewind.platform.cache import ResponseCache
from tradewind.platform.clock import Clock
from tradewind.platform.config import ConfigError, PlatformSettings
from tradewind.platform.inbox import Inbox
from tradewind.platform.lifecycle import Health, Worker
from tradewind.platform.limits import WideLimit
from tradewind.platform.principals import Authenticator
from tradewind.platform.redis.connection import RedisAddress, RedisLink
from tradewind.platform.redis.limits import RedisRateLimit
from tradewind.platform.redis.pages import RedisPages
from tradewind.platform.redis.sessions import RedisAuthenticator, SessionRevoker
from tradewind.platform.remote.client import Remote
from tradewind.platform.remote.identity import KeysUnusable, Signer, Verifier
from tradewind.platform.remote.server import Exposed, InternalApplication
from tradewind.platform.service import Events, Running


class Parts:
    """The parts of one process. `clock` is the database's time; `routes` are all queues by service.

    Raises ConfigError where keys are set that cannot be used.
    """

    def __init__(
        self,
        settings: PlatformSettings,
        secret: bytes,
        clock: Clock,
        routes: Mapping[str, Route],
    ) -> None:
        self.remotes: list[Remote] = []
        self.sessions = _link("sessions", settings.sessions_url)
        self.cache = _link("cache", settings.cache_url)
        self.revoker = SessionRevoker(self.sessions) if self.sessions else None
        self.pages = RedisPages(self.cache, secret, clock) if self.cache else None
        self.known_sessions: RedisAuthenticator | None = None
        self.limit: RedisRateLimit | None = None
        self.listener: InternalApplication | None = None
        self.buses: list[RabbitBus] = []
        self._settings = settings
        self._secret = secret
        self._clock = clock
        self._routes = routes
        self._signers: dict[str, Signer] = {}

    def remote(self, caller: str, callee: str, contract: type[Any]) -> Remote:
        """The way from one of our services to one in another process."""
        urls: Sequence[str] = getattr(self._settings, f"{callee}_url")
        made = Remote(callee, contract, urls, self._signer(caller).token, clock=self._seconds)
        self.remotes.append(made)
        return made

    def verifier(self, service: str) -> Verifier:
        """Knows who may call one of our services."""
        return self._keyed(lambda folder: Verifier(service, folder, self._seconds, time.monotonic))

    def authenticator(self, users: Authenticator) -> Authenticator:
        """Whose session a token is, remembered for a moment where there is a Redis for that."""
        if self.sessions is None:
            return users
        self.known_sessions = RedisAuthenticator(users, self.sessions, self._secret, self._clock)
        return self.known_sessions

    def response_cache(self) -> ResponseCache:
        """Public answers, with what other instances fetched behind them."""
        return ResponseCache(beyond=self.pages)

    def wide_limit(self) -> WideLimit | None:
        """What one client may ask of all instances together; None where each counts for itself."""
        rate = self._settings.client_requests_per_second
        if self.cache is None or rate is None:
            return None
        self.limit = RedisRateLimit(self.cache, self._secret, rate, self._settings.client_burst)
        return self.limit

    def internal(
        self,
        services: Sequence[Running[Any]],
        contracts: Mapping[str, type[Any]],
        callers: Callable[[str], frozenset[str]],
        health: Health,
        metrics: Callable[[], Awaitable[tuple[bytes, str]]],
    ) -> InternalApplication:
        """What others may call; nobody may where there are no keys to know them by."""
        called = services if self._settings.service_keys is not None else ()
        self.listener = InternalApplication(
            [
                Exposed(one.name, contracts[one.name], one.contract, callers(one.name))
                for one in called
            ],
            {one.name: self.verifier(one.name) for one in called},
            health,
            metrics,
        )
        return self.listener

    @property
    def has_broker(self) -> bool:
        """Whether events go through a broker."""
        return self._settings.broker_url is not None

    async def count_queued(self, service: str) -> int:
        """Messages in a service's queue that nobody has taken; raises BrokerDown."""
        url = self._settings.broker_url
        return 0 if url is None else await count_queued(url, [self._routes[service].queue])

    def events(self, inboxes: Mapping[str, Inbox]) -> Events:
        """Through the broker where there is one, else from hand to hand."""
        url = self._settings.broker_url
        if url is None:
            local = LocalBus()
            for inbox in inboxes.values():
                local.subscribe(inbox)
            return Events(dict.fromkeys(inboxes, local), ())
        routes = tuple(self._routes.values())
        buses = {name: RabbitBus(url, name, routes) for name in inboxes}
        self.buses += buses.values()
        workers: list[Worker] = []
        for name, inbox in inboxes.items():
            queue = self._routes[name].queue
            workers += [Consumer(url, routes, queue, inbox), DeadLetters(url, routes, queue, inbox)]
        return Events(buses, workers)

    async def close(self) -> None:
        """Ends every connection."""
        for bus in self.buses:
            await bus.close()
        for remote in self.remotes:
            await remote.close()
        if self.pages is not None:
            await self.pages.close()
        for link in (self.sessions, self.cache):
            if link is not None:
                await link.close()

    def _signer(self, service: str) -> Signer:
        known = self._signers.get(service)
        if known is None:
            known = self._signers[service] = self._keyed(
                lambda folder: Signer(service, folder, self._seconds, time.monotonic)
            )
        return known

    def _keyed(self, make: Callable[[Path], Any]) -> Any:
        folder = self._settings.service_keys
        if folder is None:
            raise ConfigError(["TRADEWIND_SERVICE_KEYS: needed; `tradewind keys make FOLDER`"])
        try:
            return make(Path(folder))
        except KeysUnusable as error:
            raise ConfigError([f"TRADEWIND_SERVICE_KEYS: {error}"]) from error

    def _seconds(self) -> float:
        return self._clock.now().timestamp()


def _link(name: str, url: str | None) -> RedisLink | None:
    return None if url is None else RedisLink(name, RedisAddress.from_url(url))

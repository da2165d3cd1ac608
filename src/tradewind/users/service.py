"""How users plugs in; one rule: only `compose` comes here."""

import asyncio
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from typing import Any
from uuid import UUID

from litestar import Request, Router
from litestar.di import Provide

from tradewind.notifications.contract import Notifications
from tradewind.orders.contract import Orders
from tradewind.platform.config import PlatformSettings
from tradewind.platform.database import Database
from tradewind.platform.ids import derive
from tradewind.platform.inbox import Inbox
from tradewind.platform.lifecycle import Worker
from tradewind.platform.outbox import Outbox
from tradewind.platform.principals import Principal
from tradewind.platform.remote.client import Remote
from tradewind.platform.service import Running, given
from tradewind.platform.sessions import client_address, parse_networks
from tradewind.users.actions import sessions
from tradewind.users.actions.attempts import Attempts
from tradewind.users.actions.context import Bell, UsersContext, UsersSettings
from tradewind.users.actions.hashing import Hashing, Strength
from tradewind.users.actions.importing import ImportReport, ImportUnreadable, import_users
from tradewind.users.actions.live_sessions import CHANNEL, LiveSessions, SessionCache, Tell
from tradewind.users.actions.passwords import send_resets
from tradewind.users.actions.registering import add_first_staff, add_staff
from tradewind.users.actions.tidying import tidy_up
from tradewind.users.client import RemoteUsers
from tradewind.users.contract import Contact, Users
from tradewind.users.model.names import network_of
from tradewind.users.model.shapes import Client
from tradewind.users.model.throttling import Limits
from tradewind.users.reactions import REACTIONS
from tradewind.users.routes import accounts, express, me, sign_in

__all__ = [
    "DEPENDENCIES",
    "HANDLERS",
    "ImportReport",
    "ImportUnreadable",
    "UsersContext",
    "UsersSettings",
    "add_first_staff",
    "add_staff",
    "import_users",
    "local",
    "remote",
]

HANDLERS = (*sign_in.HANDLERS, *me.HANDLERS, *accounts.HANDLERS, *express.HANDLERS)
"""Every route of the service."""
DEPENDENCIES = ("users", "client")
"""What its routes are given by name."""

_SESSIONS_CACHED_MOST = 50_000
_USER_AGENT_LONGEST = 300
_RESERVED_SHARE = 10


class LocalUsers:
    """The contract by plain calls."""

    def __init__(self, context: UsersContext) -> None:
        self._context = context

    async def authenticate(self, token: str) -> Principal | None:
        """As the contract says."""
        return await self._context.live_sessions.authenticate(token)

    async def principals(self, tokens: Sequence[str]) -> list[Principal | None]:
        """As the contract says."""
        return await asyncio.gather(*map(self._context.live_sessions.authenticate, tokens))

    async def contacts(self, user_ids: Sequence[UUID]) -> list[Contact]:
        """As the contract says."""
        return await sessions.list_contacts(self._context, user_ids)


def remote(link: Remote) -> Users:
    """The service in another process."""
    return RemoteUsers(link)


def local(
    database: Database,
    settings: UsersSettings,
    platform: PlatformSettings,
    secret: bytes,
    *,
    orders: Orders,
    notifications: Notifications,
    tell: Tell | None = None,
) -> Running[Users]:
    """The service in this process.

    `tell` reaches what instances share of sessions; then no process keeps any for itself.
    """
    kept_seconds = settings.session_cache_seconds if tell is None else 0.0
    context = UsersContext(
        database=database,
        outbox=Outbox(),
        settings=settings,
        orders=orders,
        notifications=notifications,
        hashing=_hashing(settings),
        attempts=Attempts(
            database,
            _limits(settings),
            derive(secret, "users sign-in counters"),
            settings.delay_most_seconds,
        ),
        live_sessions=LiveSessions(
            database,
            SessionCache(seconds=kept_seconds, most=_SESSIONS_CACHED_MOST),
            tell,
        ),
        common_passwords=_common_passwords(),
        pepper=derive(secret, "users fingerprints"),
        reset_bell=Bell(),
    )
    resets = Worker("password resets", partial(send_resets, context), every_seconds=1.0)
    context.reset_bell.wake = resets.wake
    router = Router(
        path="/",
        route_handlers=HANDLERS,
        dependencies={"users": given(context), "client": _client(platform)},
    )
    workers = (
        resets,
        Worker("sessions seen", context.live_sessions.save_seen, every_seconds=5.0),
        Worker("users forget", partial(tidy_up, context), every_seconds=60.0),
    )
    return Running(
        name="users",
        contract=LocalUsers(context),
        context=context,
        router=router,
        database=database,
        outbox=context.outbox,
        inbox=Inbox("users", database, REACTIONS),
        workers=workers,
        channels={CHANNEL: context.live_sessions.hear},
    )


def _hashing(settings: UsersSettings) -> Hashing:
    return Hashing(
        Strength(memory_kib=settings.hash_memory_kib, passes=settings.hash_passes),
        threads=settings.hash_threads,
        waiting_most=settings.hashes_waiting_most,
    )


def _limits(settings: UsersSettings) -> Limits:
    return Limits(
        account=settings.account_failures_most,
        reserved=settings.account_failures_most // _RESERVED_SHARE,
        client=settings.client_failures_most,
    )


def _common_passwords() -> frozenset[str]:
    text = files("tradewind.users").joinpath("passwords.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


def _client(platform: PlatformSettings) -> Provide:
    """Dependency `client`: where a request comes from, as far as our own proxies say."""
    networks = parse_networks(platform.trusted_proxies)

    def client_of(request: Request[Any, Any, Any]) -> Client:
        scope: Any = request.scope  # the framework's type is narrower than what a server sends
        address = client_address(scope, networks)
        agent = request.headers.get("user-agent", "").replace("\0", "")[:_USER_AGENT_LONGEST]
        return Client(address[:100], network_of(address), agent)

    return Provide(client_of, sync_to_thread=False)

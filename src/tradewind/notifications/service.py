"""How notifications plugs in; one rule: only `compose` comes here."""

import random
from functools import partial
from uuid import UUID

from litestar import Router

from tradewind.notifications.actions import erasure, following
from tradewind.notifications.actions.context import Bell, NotificationsContext
from tradewind.notifications.actions.delivery import Delivery
from tradewind.notifications.actions.smtp import SmtpCarrier
from tradewind.notifications.actions.streams import Streams
from tradewind.notifications.client import RemoteNotifications
from tradewind.notifications.contract import HeldMessages, Notifications
from tradewind.notifications.model.letters import Letters
from tradewind.notifications.model.settings import (
    NotificationsSettings,
    parse_sender,
    parse_smtp_url,
)
from tradewind.notifications.reactions import REACTIONS
from tradewind.notifications.routes import inbox, messages, stream
from tradewind.platform.coalesce import Coalescer
from tradewind.platform.config import ConfigError, PlatformSettings
from tradewind.platform.database import Database
from tradewind.platform.inbox import Inbox
from tradewind.platform.lifecycle import Worker
from tradewind.platform.outbox import Outbox
from tradewind.platform.remote.client import Remote
from tradewind.platform.service import Running, given

__all__ = [
    "DEPENDENCIES",
    "HANDLERS",
    "NotificationsContext",
    "NotificationsSettings",
    "local",
    "remote",
]

HANDLERS = (
    inbox.list_notifications,
    inbox.read_notification,
    inbox.get_preferences,
    inbox.put_preferences,
    stream.stream_notifications,
    messages.list_messages,
    messages.get_message,
    messages.resend_message,
)
"""Every route of the service."""
DEPENDENCIES = ("notifications",)
"""What its routes are given by name."""

_READS_AT_ONCE = 200


class LocalNotifications:
    """The contract by plain calls."""

    def __init__(self, context: NotificationsContext) -> None:
        self._context = context

    async def export(self, user_id: UUID) -> HeldMessages:
        """As the contract says."""
        return await erasure.export(self._context, user_id)


class Mailer(Worker):
    """The worker that sends mails: on stop it finishes the one under way and takes no other."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__("mails", delivery.deliver_once, every_seconds=1.0)
        self._delivery = delivery

    async def stop(self, patience_seconds: float = 5.0) -> None:
        """Says so first: what is cut off in the middle may have to be sent twice."""
        self._delivery.is_ending = True
        await super().stop(patience_seconds)


def remote(link: Remote) -> Notifications:
    """The service in another process."""
    return RemoteNotifications(link)


def local(
    database: Database,
    settings: NotificationsSettings,
    platform: PlatformSettings,
    _secret: bytes,
) -> Running[Notifications]:
    """The service in this process. Raises ConfigError where the mail server cannot be used."""
    own_url = f"http://{platform.host}:{platform.port}"
    public_url = platform.public_url or platform.balancer_url or own_url
    context = make_context(database, settings, public_url)
    router = Router(
        path="/", route_handlers=HANDLERS, dependencies={"notifications": given(context)}
    )
    reactions = {
        kind: [partial(reaction, context) for reaction in many] for kind, many in REACTIONS.items()
    }
    mailer = Mailer(Delivery(context))
    announcer = Worker("announce", partial(following.announce, context), every_seconds=5.0)
    context.mail_bell.wake = mailer.wake
    context.stream_bell.wake = announcer.wake
    workers = (
        mailer,
        announcer,
        Worker(
            "streams",
            partial(following.check_streams, context),
            every_seconds=following.CHECK_SECONDS,
        ),
        Worker("notifications forget", partial(erasure.sweep, context), every_seconds=300.0),
    )
    return Running(
        name="notifications",
        contract=LocalNotifications(context),
        context=context,
        router=router,
        database=database,
        outbox=context.outbox,
        inbox=Inbox("notifications", database, reactions),
        workers=workers,
        channels={following.CHANNEL: partial(following.hear, context)},
    )


def make_context(
    database: Database, settings: NotificationsSettings, public_url: str
) -> NotificationsContext:
    """What the actions work with."""
    return NotificationsContext(
        database=database,
        outbox=Outbox(),
        settings=settings,
        letters=Letters(shop_name=settings.shop_name, public_url=public_url),
        carrier=_carrier(settings),
        streams=Streams(most=settings.streams_most, per_user_most=settings.streams_per_user_most),
        reads=Coalescer(
            "event streams",
            partial(following.read_on, database),
            most=_READS_AT_ONCE,
            waiting_most=settings.streams_most,
        ),
        chance=random.random,
        mail_bell=Bell(),
        stream_bell=Bell(),
    )


def _carrier(settings: NotificationsSettings) -> SmtpCarrier | None:
    if settings.smtp_url is None:
        return None
    server = parse_smtp_url(settings.smtp_url)
    try:
        return SmtpCarrier(server, settings, hostname=parse_sender(settings.mail_from).domain)
    except OSError as error:
        fault = f"notifications: smtp_ca_file {settings.smtp_ca_file!r} cannot be used: {error}"
        raise ConfigError([fault]) from error

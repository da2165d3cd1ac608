"""All that others may import of notifications; one rule: nobody waits for it."""

from typing import Protocol
from uuid import UUID

import msgspec

from tradewind.platform.errors import Conflict, Invalid, Limited, NotFound, Unavailable


class NotificationNotFound(NotFound):
    """No such entry in the inbox of the one who asks."""

    code = "notification_not_found"
    title = "Notification not found"


class MessageNotFound(NotFound):
    """No such message."""

    code = "message_not_found"
    title = "Message not found"


class MessageErased(Conflict):
    """Its recipient was erased: there is nobody to send it to."""

    code = "message_erased"
    title = "The recipient was erased"


class CannotBeSwitchedOff(Invalid):
    """Security mails are always sent. `errors` names the switches."""

    code = "cannot_be_switched_off"
    title = "Cannot be switched off"


class TooManyStreams(Limited):
    """This user has as many event streams open as one may."""

    code = "too_many_streams"
    title = "Too many open streams"


class StreamsFull(Unavailable):
    """This process has as many event streams open as it takes; the inbox can still be read."""

    code = "streams_full"
    title = "Too many open streams"


class HeldMessages(msgspec.Struct, frozen=True):
    """Everything held about a person's messages and preferences, ready to be shown as JSON."""

    notifications: msgspec.Raw
    preferences: msgspec.Raw
    messages: msgspec.Raw


class Notifications(Protocol):
    """What other services may ask of notifications."""

    async def export(self, user_id: UUID) -> HeldMessages:
        """What is held about a person, for their export. Secrets of links are masked."""
        ...

"""The kinds of things that people are told, and what they may switch off; one rule: all here.

What keeps an account in its owner's hands (verification, password, address) cannot be switched
off. Everything else is on until its owner says otherwise.
"""

from collections.abc import Mapping
from typing import Final, Literal, get_args

import msgspec

from tradewind.notifications.contract import CannotBeSwitchedOff
from tradewind.platform.errors import FieldError, Invalid

Kind = Literal[
    "welcome",
    "verify_email",
    "email_changed",
    "password_reset",
    "address_already_registered",
    "order_confirmed",
    "payment_pending",
    "payment_failed",
    "order_shipped",
    "order_delivered",
    "order_cancelled",
    "order_refunded",
]
Channel = Literal["email", "push", "inbox"]
Status = Literal["queued", "sent", "failed"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
MAILED: Final = frozenset(KINDS) - {"payment_pending"}
"""Kinds with a mail of their own."""
SHOWN: Final = frozenset(KINDS) - {
    "verify_email",
    "password_reset",
    "address_already_registered",
}
"""Kinds with an entry in the inbox: not those that reach somebody who cannot sign in."""
REQUIRED: Final[Mapping[str, tuple[Channel, ...]]] = {
    "welcome": ("email",),
    "verify_email": ("email",),
    "email_changed": ("email",),
    "password_reset": ("email",),
    "address_already_registered": ("email",),
}
"""What cannot be switched off; the welcome mail carries the verification link."""


class Switches(msgspec.Struct, frozen=True):
    """Whether a kind is told by each channel."""

    email: bool = True
    push: bool = True
    inbox: bool = True


def mute_of(kind: str, channel: str) -> str:
    """How a switched-off pair is saved."""
    return f"{kind}:{channel}"


def is_wanted(muted: frozenset[str], kind: str, channel: str) -> bool:
    """Whether a person wants to be told this kind by this channel."""
    return not muted or channel in REQUIRED.get(kind, ()) or mute_of(kind, channel) not in muted


def switches_of(muted: frozenset[str]) -> dict[str, Switches]:
    """A person's preferences, all kinds."""
    return {
        kind: Switches(
            email=is_wanted(muted, kind, "email"),
            push=is_wanted(muted, kind, "push"),
            inbox=is_wanted(muted, kind, "inbox"),
        )
        for kind in KINDS
    }


def muted_by(wishes: Mapping[str, Switches]) -> list[str]:
    """What these wishes switch off; a kind that they leave out stays on.

    Raises Invalid where a kind does not exist, CannotBeSwitchedOff where it is essential.
    """
    unknown = [kind for kind in wishes if kind not in KINDS]
    if unknown:
        raise Invalid(
            "There is no such kind of notification.",
            errors=[FieldError(f"preferences.{kind[:50]}", "no such kind") for kind in unknown],
        )
    off: list[tuple[str, str]] = []
    for kind, switches in sorted(wishes.items()):
        values = {"email": switches.email, "push": switches.push, "inbox": switches.inbox}
        off += [(kind, channel) for channel, on in values.items() if not on]
    essential = [(kind, channel) for kind, channel in off if channel in REQUIRED.get(kind, ())]
    if essential:
        raise CannotBeSwitchedOff(
            "Mails that keep an account in its owner's hands cannot be switched off.",
            errors=[
                FieldError(f"preferences.{kind}.{channel}", "cannot be switched off")
                for kind, channel in essential
            ],
        )
    return [mute_of(kind, channel) for kind, channel in off]

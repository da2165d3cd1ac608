"""All that others may import of users; one rule: a token in, a principal out, nothing secret.

The session check itself is `platform.sessions.Authenticator`, which `Users` includes.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Protocol
from uuid import UUID

import msgspec

from tradewind.platform.errors import (
    Conflict,
    Denied,
    Invalid,
    Limited,
    NotFound,
    Unauthenticated,
)
from tradewind.platform.events import Event
from tradewind.platform.principals import Principal


class UsernameTaken(Conflict):
    """Somebody has this user name or e-mail address."""

    code = "username_taken"
    title = "Already taken"


class InvalidCredentials(Unauthenticated):
    """Unknown user or wrong password; which of them is not told."""

    code = "invalid_credentials"
    title = "Wrong user name or password"


class WrongPassword(Denied):
    """The current password, asked for again, was wrong."""

    code = "wrong_password"
    title = "Wrong password"


class TooManyAttempts(Limited):
    """Too many failed sign-ins for this account or from this client."""

    code = "too_many_attempts"
    title = "Too many failed sign-ins"


class LinkExpired(Invalid):
    """The token of a mail's link is unknown, used or too old; which of them is not told."""

    code = "invalid_token"
    title = "The link is no longer good"


class UserNotFound(NotFound):
    """No such account."""

    code = "user_not_found"
    title = "User not found"


class SessionNotFound(NotFound):
    """No such session of the one who asks."""

    code = "session_not_found"
    title = "Session not found"


class AddressNotFound(NotFound):
    """No such address of the one who asks."""

    code = "address_not_found"
    title = "Address not found"


class TooManyAddresses(Conflict):
    """The address book is full."""

    code = "too_many_addresses"
    title = "The address book is full"


class LastAdmin(Conflict):
    """It would leave the store without an administrator."""

    code = "last_admin"
    title = "The last administrator"


class Contact(msgspec.Struct, frozen=True):
    """How to reach somebody; None where the account is gone."""

    user_id: UUID
    email: str | None
    name: str | None


class UserRegistered(Event, frozen=True, kw_only=True):
    """An account was made. `verification_token` belongs in the welcome mail's link."""

    TYPE: ClassVar[str] = "users.user_registered.v1"
    user_id: UUID
    email: str | None
    name: str | None
    verification_token: str | None

    @property
    def key(self) -> str:
        """The user."""
        return str(self.user_id)


class PasswordResetRequested(Event, frozen=True, kw_only=True):
    """Somebody asked for a reset of an account that exists."""

    TYPE: ClassVar[str] = "users.password_reset_requested.v1"
    user_id: UUID
    email: str
    name: str | None
    reset_token: str
    expires_at: datetime

    @property
    def key(self) -> str:
        """The user."""
        return str(self.user_id)


class AddressAlreadyRegistered(Event, frozen=True, kw_only=True):
    """Somebody tried to register an address that has an account (verified e-mail required)."""

    TYPE: ClassVar[str] = "users.address_already_registered.v1"
    user_id: UUID
    email: str
    name: str | None

    @property
    def key(self) -> str:
        """The user."""
        return str(self.user_id)


class EmailChanged(Event, frozen=True, kw_only=True):
    """An account has a new address, to be verified; the old one is told too."""

    TYPE: ClassVar[str] = "users.email_changed.v1"
    user_id: UUID
    old_email: str | None
    email: str
    name: str | None
    verification_token: str

    @property
    def key(self) -> str:
        """The user."""
        return str(self.user_id)


class UserErased(Event, frozen=True, kw_only=True):
    """An account is gone: every service forgets who it was (P19). `email` is to be removed."""

    TYPE: ClassVar[str] = "users.user_erased.v1"
    user_id: UUID
    email: str | None

    @property
    def key(self) -> str:
        """The user."""
        return str(self.user_id)


class Users(Protocol):
    """What other services may ask of users."""

    async def authenticate(self, token: str) -> Principal | None:
        """Who a session token belongs to, or None where it is unknown, over or revoked."""
        ...

    async def principals(self, tokens: Sequence[str]) -> list[Principal | None]:
        """The same for many, in order."""
        ...

    async def contacts(self, user_ids: Sequence[UUID]) -> list[Contact]:
        """How to reach each, in order."""
        ...

"""Accounts as they are kept, and as they are told; one rule: no secret has a place in a view."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec

from tradewind.platform.principals import Role

# No control characters, which could end a line in a mail header. A lookahead instead of `$`, which
# in Python also matches before a last line feed.
CLEAN = r"^(?![\s\S]*[\u0000-\u001f\u007f-\u009f\u2028\u2029])"
ADDRESSES_MOST = 100
"""In one address book."""
LineOrNone = Annotated[str, msgspec.Meta(max_length=200, pattern=CLEAN)] | None
Line = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=CLEAN + r"\s*\S")]
Phone = Annotated[str, msgspec.Meta(max_length=40, pattern=CLEAN)]
PostalCode = Annotated[str, msgspec.Meta(min_length=1, max_length=20, pattern=CLEAN)]
Country = Annotated[
    str, msgspec.Meta(min_length=2, max_length=2, pattern="^[A-Z]{2}$", examples=["DE"])
]


class Account(msgspec.Struct, frozen=True):
    """One row of users."""

    id: UUID
    username: str | None
    username_key: str | None
    email: str | None
    email_key: str | None
    email_verified_at: datetime | None
    name: str | None
    role: Role
    password_hash: str
    disabled_at: datetime | None
    imported_id: str | None
    version: int
    created_at: datetime

    def __repr__(self) -> str:
        """Only the id: nothing of a person belongs in a log."""
        return f"Account({self.id})"

    @property
    def names(self) -> list[str]:
        """What its password must not be made of."""
        return [name for name in (self.username, self.email) if name]


class Client(msgspec.Struct, frozen=True):
    """Where a request comes from. `network` is what counts as one client."""

    address: str
    network: str
    user_agent: str


class NewSession(msgspec.Struct, frozen=True):
    """A session to be saved; its token is kept nowhere."""

    id: UUID
    user_id: UUID
    token_hash: bytes
    client: Client
    expires_at: datetime


class LiveSession(msgspec.Struct, frozen=True):
    """What a token leads to."""

    token_hash: bytes
    id: UUID
    user_id: UUID
    role: Role
    email_verified: bool
    last_seen_at: datetime


class Registered(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to a registration."""

    user_id: UUID


class SignedIn(msgspec.Struct, frozen=True):
    """A sign-in that went well; `token` and `expires_at` only where a session was asked for."""

    user_id: UUID
    token: str
    expires_at: datetime


class Profile(msgspec.Struct, frozen=True, rename="camel"):
    """An account as its owner sees it."""

    id: UUID
    username: str | None
    email: str | None
    email_verified: bool
    name: str | None
    role: Role
    created_at: datetime


class UserView(msgspec.Struct, frozen=True, rename="camel"):
    """An account as staff see it."""

    id: UUID
    username: str | None
    email: str | None
    email_verified: bool
    name: str | None
    role: Role
    disabled: bool
    created_at: datetime


class SessionView(msgspec.Struct, frozen=True, rename="camel"):
    """One of my devices."""

    id: UUID
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    user_agent: str
    address: str
    current: bool


class AddressView(msgspec.Struct, frozen=True, rename="camel"):
    """One address of the address book."""

    id: UUID
    name: str
    line1: str
    line2: str | None
    city: str
    region: str | None
    postal_code: str
    country: str
    phone: str | None


class AddressBody(msgspec.Struct, frozen=True, rename="camel"):
    """An address to be saved."""

    name: Line
    line1: Line
    city: Line
    postal_code: PostalCode
    country: Country
    line2: LineOrNone = None
    region: LineOrNone = None
    phone: Phone | None = None


class AddressChange(msgspec.Struct, frozen=True, rename="camel"):
    """What is to change of an address; what is not given stays."""

    name: Line | msgspec.UnsetType = msgspec.UNSET
    line1: Line | msgspec.UnsetType = msgspec.UNSET
    city: Line | msgspec.UnsetType = msgspec.UNSET
    postal_code: PostalCode | msgspec.UnsetType = msgspec.UNSET
    country: Country | msgspec.UnsetType = msgspec.UNSET
    line2: LineOrNone | msgspec.UnsetType = msgspec.UNSET
    region: LineOrNone | msgspec.UnsetType = msgspec.UNSET
    phone: Phone | msgspec.UnsetType | None = msgspec.UNSET


class Everything(msgspec.Struct, frozen=True, rename="camel"):
    """Everything held about a person, by every service."""

    profile: Profile
    addresses: list[AddressView]
    sessions: list[SessionView]
    orders: Any
    carts: Any
    notifications: Any
    preferences: Any
    messages: Any


def profile_of(account: Account) -> Profile:
    """The account as its owner sees it."""
    return Profile(
        id=account.id,
        username=account.username,
        email=account.email,
        email_verified=account.email_verified_at is not None,
        name=account.name,
        role=account.role,
        created_at=account.created_at,
    )


def user_view_of(account: Account) -> UserView:
    """The account as staff see it."""
    return UserView(
        id=account.id,
        username=account.username,
        email=account.email,
        email_verified=account.email_verified_at is not None,
        name=account.name,
        role=account.role,
        disabled=account.disabled_at is not None,
        created_at=account.created_at,
    )

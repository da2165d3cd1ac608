"""What the routes of users take; one rule: what is not named here cannot be set by anybody."""

from typing import Annotated

import msgspec

from tradewind.platform.principals import Role
from tradewind.platform.web.bodies import FieldFault
from tradewind.users.model.shapes import CLEAN, LineOrNone

TYPED_LONGEST = 1024
"""Longer than any password or name may be, short enough to be hashed by anyone who asks."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255, examples=["ann@example.com"])]
Password = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=TYPED_LONGEST, examples=["correct horse battery staple"]),
]
NewPassword = Annotated[
    str,
    msgspec.Meta(
        max_length=TYPED_LONGEST,
        description="8 to 128 characters of any kind; not one of those guessed first.",
        examples=["correct horse battery staple"],
    ),
]
EmailText = Annotated[str, msgspec.Meta(max_length=300, examples=["ann@example.com"])]
UsernameText = Annotated[
    str, msgspec.Meta(max_length=255, description="3 to 64 characters, no @.", examples=["ann"])
]
Token = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=CLEAN)]


class RegisterBody(msgspec.Struct, frozen=True, rename="camel"):
    """A new account: by e-mail address, user name, or both."""

    password: NewPassword
    email: EmailText | None = None
    username: UsernameText | None = None
    name: LineOrNone = None


class LoginBody(msgspec.Struct, frozen=True, rename="camel"):
    """Who signs in; `username` may be the e-mail address."""

    username: Name
    password: Password


class OldBody(msgspec.Struct, frozen=True):
    """What the Express service took."""

    username: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    password: Annotated[str, msgspec.Meta(max_length=TYPED_LONGEST)] | None = None


class ProfileBody(msgspec.Struct, frozen=True, rename="camel"):
    """What is to change; what is not given stays. A new e-mail address needs the password.

    `password` is another name for `currentPassword`, as erasure calls it.
    """

    name: LineOrNone | msgspec.UnsetType = msgspec.UNSET
    username: UsernameText | msgspec.UnsetType = msgspec.UNSET
    email: EmailText | msgspec.UnsetType = msgspec.UNSET
    current_password: Password | None = None
    password: Password | None = None


class EraseBody(msgspec.Struct, frozen=True, rename="camel"):
    """The end of an account. `currentPassword` is another name for `password`."""

    password: Password | None = None
    current_password: Password | None = None

    def __post_init__(self) -> None:
        """One of the two must be there."""
        if self.shown is None:
            raise FieldFault("password", "This field is required.")

    @property
    def shown(self) -> str | None:
        """The password, under whichever name it came."""
        return self.password or self.current_password


class PasswordBody(msgspec.Struct, frozen=True, rename="camel"):
    """A new password for who knows the old one."""

    current_password: Password
    new_password: NewPassword


class ResetBody(msgspec.Struct, frozen=True):
    """Whose password is forgotten."""

    email: EmailText


class ResetConfirmBody(msgspec.Struct, frozen=True, rename="camel"):
    """A new password for who reads the mail."""

    token: Token
    new_password: NewPassword


class TokenBody(msgspec.Struct, frozen=True):
    """The token of a mail's link."""

    token: Token


class UserBody(msgspec.Struct, frozen=True):
    """What staff change of an account; what is not given stays."""

    role: Role | msgspec.UnsetType = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET

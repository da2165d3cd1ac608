"""Who somebody is, once that is known; one rule: types only, so that contracts may name them."""

from typing import Literal, Protocol
from uuid import UUID

import msgspec

Role = Literal["customer", "staff", "admin"]


class Principal(msgspec.Struct, frozen=True):
    """Somebody whose session was looked up just now."""

    user_id: UUID
    role: Role
    session_id: UUID
    email_verified: bool = False

    @property
    def is_staff(self) -> bool:
        """Staff, or more."""
        return self.role in ("staff", "admin")


class Authenticator(Protocol):
    """Knows which sessions live. Asked for every request that shows a token."""

    async def authenticate(self, token: str) -> Principal | None:
        """Whose session this is; None where it is over or never was."""
        ...

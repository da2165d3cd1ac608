"""What staff do with accounts; one rule: only administrators say who is what, and one remains.

A role change and a disabling end every session of the account, so that no old right lives on (P9).
"""

import re
from datetime import datetime
from uuid import UUID

import msgspec

from tradewind.platform.errors import Denied
from tradewind.platform.principals import Principal, Role
from tradewind.users.actions.context import UsersContext
from tradewind.users.contract import LastAdmin, UserNotFound
from tradewind.users.model.faults import invalid
from tradewind.users.model.shapes import Account, UserView, user_view_of
from tradewind.users.store import accounts, sessions, tokens

_LIKE_SPECIAL = re.compile(r"([\\%_])")


class UserChange(msgspec.Struct, frozen=True):
    """What is to change; what is not given stays."""

    role: Role | msgspec.UnsetType = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET


async def list_users(
    ctx: UsersContext, q: str | None, role: Role | None, before: UUID | None, limit: int
) -> list[UserView]:
    """A page of accounts, newest first, whose e-mail address, user name or name holds `q`."""
    wanted = (q or "").strip().lower()
    pattern = "%" + _LIKE_SPECIAL.sub(r"\\\1", wanted) + "%" if wanted else None
    async with ctx.database.reading() as reading:
        found = await accounts.list_accounts(
            reading, pattern=pattern, role=role, before=before, limit=limit
        )
    return [user_view_of(account) for account in found]


async def get_user(ctx: UsersContext, user_id: UUID) -> UserView:
    """One account. Raises UserNotFound."""
    async with ctx.database.reading() as reading:
        account = await accounts.find_account(reading, user_id)
    if account is None:
        raise UserNotFound("there is no such user")
    return user_view_of(account)


async def change_user(
    ctx: UsersContext, principal: Principal, user_id: UUID, change: UserChange
) -> UserView:
    """Changes role and standing. Raises UserNotFound, Denied, Invalid or LastAdmin."""
    async with ctx.live_sessions.ending() as ending, ctx.database.transaction() as tx:
        admins = await accounts.lock_admins(tx, user_id)
        before = await accounts.lock_account(tx, user_id)
        if before is None:
            raise UserNotFound("there is no such user")
        by_admin = principal.user_id in admins
        changed = _changed(before, change, by_admin=by_admin, disabled_at=tx.now)
        if changed == before:
            return user_view_of(before)
        if admins == [user_id] and (changed.role != "admin" or changed.disabled_at is not None):
            raise LastAdmin("name another administrator first")
        await accounts.update_account(tx, changed)
        ended = await sessions.delete_sessions(tx, user_id)
        await tokens.delete_tokens_of(tx, user_id, ["password_reset"])
        await ending.forget(tx, ended)
    return user_view_of(changed)


def _changed(
    before: Account, change: UserChange, *, by_admin: bool, disabled_at: datetime
) -> Account:
    """The account after the change, where the one who wants it may make it."""
    changed = before
    if change.role is not msgspec.UNSET and change.role != before.role:
        if not by_admin:
            raise Denied("only an administrator changes roles")
        if before.email is None:
            raise invalid("role", "an account without an e-mail address cannot be staff")
        changed = msgspec.structs.replace(changed, role=change.role)
    if change.disabled is not msgspec.UNSET and change.disabled != bool(before.disabled_at):
        if not by_admin and before.role != "customer":
            raise Denied("only an administrator disables staff")
        when = disabled_at if change.disabled else None
        changed = msgspec.structs.replace(changed, disabled_at=when)
    return changed

"""My account; one rule: what was not given is not changed, and what must be proved is proved first.

A new e-mail address and the end of the account need the password again (OWASP ASVS 5, 7.5).
"""

from collections.abc import Callable

import msgspec

from tradewind.platform.database import Transaction, assert_no_transaction
from tradewind.platform.errors import Unauthenticated
from tradewind.platform.idempotency import Once
from tradewind.platform.principals import Principal
from tradewind.users.actions.context import UsersContext
from tradewind.users.actions.live_sessions import Ending
from tradewind.users.actions.passwords import NOTHING, lock_token_owner
from tradewind.users.actions.registering import new_verification
from tradewind.users.actions.signing_in import confirm_password
from tradewind.users.contract import (
    EmailChanged,
    LastAdmin,
    UserErased,
    WrongPassword,
)
from tradewind.users.model.faults import Faults, Read
from tradewind.users.model.names import Email, Username, read_email, read_username
from tradewind.users.model.shapes import (
    ADDRESSES_MOST,
    Account,
    Client,
    Everything,
    SessionView,
    profile_of,
)
from tradewind.users.store import accounts, addresses, attempts, sessions, tokens

_EXPORT_PAGE = 500


class ProfileChange(msgspec.Struct, frozen=True):
    """What is to change; unchecked."""

    name: str | msgspec.UnsetType | None = msgspec.UNSET
    username: str | msgspec.UnsetType = msgspec.UNSET
    email: str | msgspec.UnsetType = msgspec.UNSET
    current_password: str | None = None


async def get_account(ctx: UsersContext, principal: Principal) -> Account:
    """The account of the one who asks."""
    async with ctx.database.reading() as reading:
        account = await accounts.find_account(reading, principal.user_id)
    return _alive(account)


async def change_profile(
    ctx: UsersContext,
    principal: Principal,
    change: ProfileChange,
    client: Client,
    check_version: Callable[[int], None],
) -> Account:
    """Changes name, user name and e-mail address, as far as given.

    Raises Invalid, UsernameTaken, WrongPassword, or what `check_version` raises.
    """
    faults = Faults()
    email = _given(faults, "email", read_email, change.email)
    username = _given(faults, "username", read_username, change.username)
    if email is not None and change.current_password is None:
        faults.add("currentPassword", "a new e-mail address needs the current password")
    faults.settle()
    shown = None
    if email is not None and change.current_password is not None:
        shown = await confirm_password(ctx, principal.user_id, change.current_password, client)
    async with ctx.live_sessions.ending() as ending, ctx.database.transaction() as tx:
        before = _alive(await accounts.lock_account(tx, principal.user_id))
        check_version(before.version)
        if shown is not None and before.password_hash != shown:
            raise WrongPassword("the password was changed meanwhile")
        changed = _changed(before, change, email, username)
        if changed != before:
            await accounts.update_account(tx, changed)
        if email is not None and (email.key != before.email_key or not before.email_verified_at):
            await _begin_verification(ctx, tx, ending, before, changed)
    return msgspec.structs.replace(changed, version=before.version + (changed != before))


async def verify_email(ctx: UsersContext, token: str, once: Once) -> None:
    """Uses a verification token up: who reads the address has the account. Raises LinkExpired."""
    async with ctx.live_sessions.ending() as ending, ctx.database.transaction(once) as tx:
        account = await lock_token_owner(tx, "email_verification", token)
        verified = msgspec.structs.replace(account, email_verified_at=tx.now)
        await accounts.update_account(tx, verified)
        hashes = await sessions.list_token_hashes(tx, account.id)
        await ending.forget(tx, hashes)
        once.answer(NOTHING)


async def erase_account(
    ctx: UsersContext, principal: Principal, password: str, client: Client
) -> None:
    """Ends the account for good: nothing of the person stays here, and every service is told.

    Raises WrongPassword, or LastAdmin.
    """
    shown = await confirm_password(ctx, principal.user_id, password, client)
    async with ctx.live_sessions.ending() as ending, ctx.database.transaction() as tx:
        admins = await accounts.lock_admins(tx, principal.user_id)
        account = _alive(await accounts.lock_account(tx, principal.user_id))
        if account.password_hash != shown:
            raise WrongPassword("the password was changed meanwhile")
        if account.role == "admin" and admins == [account.id]:
            raise LastAdmin("name another administrator first")
        ended = await sessions.delete_sessions(tx, account.id)
        await accounts.delete_account(tx, account)
        await attempts.delete_counter(tx, ctx.attempts.account_subject(account.id, ""))
        await ctx.outbox.add(tx, [UserErased(user_id=account.id, email=account.email)])
        await ending.forget(tx, ended)


async def export_everything(ctx: UsersContext, principal: Principal) -> Everything:
    """Everything held about the one who asks, by every service."""
    assert_no_transaction("an export")
    orders = await ctx.orders.export(principal.user_id)
    messages = await ctx.notifications.export(principal.user_id)
    account = await get_account(ctx, principal)
    kept_sessions: list[SessionView] = []
    async with ctx.database.reading() as reading:
        kept_addresses = await addresses.list_addresses(reading, account.id, None, ADDRESSES_MOST)
        while True:
            last = kept_sessions[-1].id if kept_sessions else None
            page = await sessions.list_sessions(
                reading, account.id, principal.session_id, last, _EXPORT_PAGE
            )
            kept_sessions += page
            if len(page) < _EXPORT_PAGE:
                break
    return Everything(
        profile=profile_of(account),
        addresses=kept_addresses,
        sessions=kept_sessions,
        orders=orders.orders,
        carts=orders.carts,
        notifications=messages.notifications,
        preferences=messages.preferences,
        messages=messages.messages,
    )


def _given(
    faults: Faults, field: str, reader: Callable[[str], Read], text: str | msgspec.UnsetType
) -> Read | None:
    return None if text is msgspec.UNSET else faults.read(field, reader, text)


def _alive(account: Account | None) -> Account:
    """The account, which may have been erased while the request was on its way."""
    if account is None or account.disabled_at is not None:
        raise Unauthenticated("the session is over; sign in again")
    return account


def _changed(
    before: Account, change: ProfileChange, email: Email | None, username: Username | None
) -> Account:
    changed = before
    if change.name is not msgspec.UNSET:
        changed = msgspec.structs.replace(changed, name=(change.name or "").strip() or None)
    if username is not None:
        changed = msgspec.structs.replace(
            changed, username=username.text, username_key=username.key
        )
    if email is not None:
        kept = before.email_verified_at if email.key == before.email_key else None
        changed = msgspec.structs.replace(
            changed, email=email.address, email_key=email.key, email_verified_at=kept
        )
    return changed


async def _begin_verification(
    ctx: UsersContext, tx: Transaction, ending: Ending, before: Account, changed: Account
) -> None:
    """Sends a link to the new address, or once more to one that is not verified yet."""
    if changed.email is None:
        return
    new = changed.email_key != before.email_key
    if new:
        await tokens.delete_tokens_of(tx, changed.id, ["password_reset"])
        hashes = await sessions.list_token_hashes(tx, changed.id)
        await ending.forget(tx, hashes)
    event = EmailChanged(
        user_id=changed.id,
        old_email=before.email if new else None,
        email=changed.email,
        name=changed.name,
        verification_token=await new_verification(ctx, tx, changed),
    )
    await ctx.outbox.add(tx, [event])

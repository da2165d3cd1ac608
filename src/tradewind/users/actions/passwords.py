"""Changing and resetting passwords; one rule: whoever held the old one is out by the answer.

A reset token is 256 random bits, kept as a hash, good once and for an hour. That somebody asked is
saved in the same time whether or not there is such an account; a worker looks it up afterwards.
"""

from datetime import timedelta

import msgspec

from tradewind.platform.database import Reading, Transaction
from tradewind.platform.idempotency import Once, find_stored, judge
from tradewind.platform.ids import digest, new_id, new_token
from tradewind.platform.principals import Principal
from tradewind.users.actions.context import UsersContext
from tradewind.users.actions.signing_in import confirm_password
from tradewind.users.contract import LinkExpired, PasswordResetRequested, WrongPassword
from tradewind.users.model.faults import Faults, invalid
from tradewind.users.model.names import read_email
from tradewind.users.model.passwords import password_fault
from tradewind.users.model.shapes import Account, Client
from tradewind.users.store import accounts, attempts, sessions, tokens

NOTHING = msgspec.Raw(b"")
"""The answer that has no body."""
_RESETS_LIVE_MOST = 5
_RESETS_BATCH = 100


async def change_password(
    ctx: UsersContext, principal: Principal, current: str, new: str, client: Client, once: Once
) -> None:
    """Changes it and ends all other sessions. Raises WrongPassword, Invalid or TooManyAttempts."""
    async with ctx.database.reading() as reading:
        await _raise_answered(reading, once)
        account = await accounts.find_account(reading, principal.user_id)
    _require_good(ctx, new, account, "newPassword")
    shown = await confirm_password(ctx, principal.user_id, current, client)
    hashed = await ctx.hashing.hash(new)
    async with ctx.live_sessions.ending() as ending, ctx.database.transaction(once) as tx:
        account = await accounts.lock_account(tx, principal.user_id)
        if account is None or account.password_hash != shown:
            raise WrongPassword("the password was changed meanwhile")
        await _replace(ctx, tx, msgspec.structs.replace(account, password_hash=hashed))
        ended = await sessions.delete_sessions(tx, account.id, but=principal.session_id)
        await ending.forget(tx, ended)
        once.answer(NOTHING)


async def request_reset(ctx: UsersContext, email: str, once: Once) -> None:
    """Notes the wish; whether there is such an account is nobody's business. Raises Invalid."""
    faults = Faults()
    address = faults.read("email", read_email, email)
    faults.settle()
    async with ctx.database.transaction(once) as tx:
        if address is not None:
            await tokens.insert_reset_request(tx, new_id(), address.key)
        tx.after_commit(ctx.reset_bell.ring)
        once.answer(None)  # 202 is answered with `null`, and so is its replay


async def send_resets(ctx: UsersContext) -> bool:
    """A worker's step: makes tokens for those who have an account; True where there is more."""
    async with ctx.database.transaction() as tx:
        keys = await tokens.delete_reset_requests(tx, _RESETS_BATCH)
        if not keys:
            return False
        found = await tokens.list_resettable(tx, keys, _RESETS_LIVE_MOST)
        lifetime = timedelta(minutes=ctx.settings.reset_minutes)
        made = [(account, new_token()) for account in found]
        await tokens.insert_tokens(
            tx, "password_reset", [(account.id, digest(token)) for account, token in made], lifetime
        )
        await ctx.outbox.add(
            tx,
            [
                PasswordResetRequested(
                    user_id=account.id,
                    email=account.email,
                    name=account.name,
                    reset_token=token,
                    expires_at=tx.now + lifetime,
                )
                for account, token in made
                if account.email is not None
            ],
        )
    return len(keys) == _RESETS_BATCH


async def reset_password(ctx: UsersContext, token: str, new: str, once: Once) -> None:
    """Uses a reset token up: a new password, no session left, no failures held against the owner.

    Who has the token reads the address, so that it is verified too. Raises LinkExpired or Invalid.
    """
    async with ctx.database.reading() as reading:
        await _raise_answered(reading, once)
        account = await tokens.find_token_owner(reading, "password_reset", digest(token))
    if account is None:
        raise _expired()
    _require_good(ctx, new, account, "newPassword")
    hashed = await ctx.hashing.hash(new)
    async with ctx.live_sessions.ending() as ending, ctx.database.transaction(once) as tx:
        account = await lock_token_owner(tx, "password_reset", token)
        verified = account.email_verified_at or tx.now
        await _replace(
            ctx,
            tx,
            msgspec.structs.replace(account, password_hash=hashed, email_verified_at=verified),
        )
        await ending.forget(tx, await sessions.delete_sessions(tx, account.id))
        once.answer(NOTHING)


async def lock_token_owner(tx: Transaction, kind: tokens.Kind, token: str) -> Account:
    """Uses a token up; answers whose it was, held against change. Raises LinkExpired.

    The account is locked before the token, as everywhere.
    """
    owner = await tokens.find_token_owner(tx, kind, digest(token))
    account = await accounts.lock_account(tx, owner.id) if owner is not None else None
    used = account is not None and await tokens.delete_token(tx, kind, digest(token))
    if account is None or not used or account.disabled_at is not None:
        raise _expired()
    return account


async def _replace(ctx: UsersContext, tx: Transaction, account: Account) -> None:
    """Saves the new password; reset tokens die, and so do the failures of guessing the old one."""
    await accounts.update_account(tx, account)
    await tokens.delete_tokens_of(tx, account.id, ["password_reset"])
    await attempts.delete_counter(tx, ctx.attempts.account_subject(account.id, ""))


async def _raise_answered(reading: Reading, once: Once) -> None:
    """Answers a repeated request from the first one, before the password that it changed is asked.

    The transaction looks again.
    """
    if once.key is not None:
        stored = (await find_stored(reading, [once.key]))[0]
        if stored is not None:
            raise judge(stored, once.key)


def _require_good(ctx: UsersContext, new: str, account: Account | None, field: str) -> None:
    fault = password_fault(new, account.names if account else [], ctx.common_passwords)
    if fault is not None:
        raise invalid(field, fault)


def _expired() -> LinkExpired:
    return LinkExpired("the link is unknown, used or too old; ask for a new one")

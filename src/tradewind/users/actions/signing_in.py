"""Signing in; one rule: an unknown name and a wrong password are the same in answer, work and time.

The password is tried in a thread, between two short visits to the database, so that no connection
and no lock waits for a hash.
"""

import asyncio
import time
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import structlog

from tradewind.orders.contract import CartAdoption
from tradewind.platform.database import assert_no_transaction
from tradewind.platform.ids import digest, new_id, new_token
from tradewind.users.actions.attempts import Attempt, Question
from tradewind.users.actions.context import UsersContext
from tradewind.users.contract import InvalidCredentials, WrongPassword
from tradewind.users.model.names import login_key
from tradewind.users.model.shapes import Account, Client, NewSession, SignedIn
from tradewind.users.model.throttling import Decision

_ADOPTION_SECONDS = 0.5
_log = structlog.get_logger(__name__)


async def sign_in(ctx: UsersContext, name: str, password: str, client: Client) -> SignedIn:
    """Opens a session. Raises InvalidCredentials, TooManyAttempts or Unavailable."""
    token = new_token()
    ticket = _Ticket(
        token_hash=digest(token),
        expires_at=ctx.database.clock.now() + timedelta(days=ctx.settings.session_days),
    )
    user_id = await _try(ctx, name, password, client, ticket)
    return SignedIn(user_id=user_id, token=token, expires_at=ticket.expires_at)


async def check_credentials(ctx: UsersContext, name: str, password: str, client: Client) -> UUID:
    """Whose credentials these are, as `sign_in`, but without a session."""
    return await _try(ctx, name, password, client, None)


async def confirm_password(ctx: UsersContext, user_id: UUID, password: str, client: Client) -> str:
    """The hash under which somebody signed in has just shown the password again.

    What is done on the strength of it checks that the hash is still the same. Counts like a
    sign-in, since it could be used to guess like one; raises WrongPassword or TooManyAttempts.
    """
    standing = await ctx.attempts.standing(Question("", client, user_id=user_id))
    await ctx.attempts.wait(standing)
    right, rehashed = await _verify(ctx, standing.account, password)
    decision = await ctx.attempts.settle(Attempt(standing, right=right, rehashed=rehashed))
    if decision is not Decision.LET_IN or standing.account is None:
        raise WrongPassword("the current password is not right")
    return rehashed or standing.account.password_hash


async def adopt_cart(ctx: UsersContext, user_id: UUID, cart_token: str | None) -> None:
    """Gives the guest's cart to who has just signed in, if it goes quickly; never fails."""
    if not cart_token:
        return
    assert_no_transaction("adopting a cart")
    try:
        async with asyncio.timeout(_ADOPTION_SECONDS):
            await ctx.orders.adopt_carts([CartAdoption(user_id=user_id, cart_token=cart_token)])
    except Exception as error:  # noqa: BLE001  whatever orders has, the sign-in went well
        _log.warning("cart not adopted", user_id=str(user_id), error=type(error).__name__)


class _Ticket(NamedTuple):
    token_hash: bytes
    expires_at: datetime


async def _try(
    ctx: UsersContext, name: str, password: str, client: Client, ticket: _Ticket | None
) -> UUID:
    started = time.monotonic()
    standing = await ctx.attempts.standing(Question(login_key(name), client))
    await ctx.attempts.wait(standing)
    account = standing.account
    right, rehashed = await _verify(ctx, account, password)
    right = right and account is not None and _may_sign_in(ctx, account)
    session = None
    if right and account is not None and ticket is not None:
        session = NewSession(new_id(), account.id, ticket.token_hash, client, ticket.expires_at)
    attempt = Attempt(standing, right=right, rehashed=rehashed, session=session)
    decision = await ctx.attempts.settle(attempt)
    if decision is not Decision.LET_IN or account is None:
        await asyncio.sleep(started + ctx.settings.failure_seconds - time.monotonic())
        raise InvalidCredentials("wrong user name or password")
    return account.id


async def _verify(
    ctx: UsersContext, account: Account | None, password: str
) -> tuple[bool, str | None]:
    """Whether the password is right, and a stronger hash of it where the stored one is weak."""
    stored = account.password_hash if account is not None else None
    right = await ctx.hashing.verify(stored, password)
    if account is None or account.disabled_at is not None or not right:
        return False, None
    if ctx.hashing.is_weak(account.password_hash):
        return True, await ctx.hashing.hash(password)
    return True, None


def _may_sign_in(ctx: UsersContext, account: Account) -> bool:
    verified = account.email is None or account.email_verified_at is not None
    return verified or ctx.settings.unverified_sign_in

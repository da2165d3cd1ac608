"""My devices; one rule: a session that is ended is dead everywhere when the answer is given."""

from collections.abc import Sequence
from uuid import UUID

from tradewind.platform.principals import Principal
from tradewind.users.actions.context import UsersContext
from tradewind.users.contract import Contact, SessionNotFound
from tradewind.users.model.shapes import SessionView
from tradewind.users.store import accounts, sessions


async def end_session(ctx: UsersContext, principal: Principal, session_id: UUID) -> None:
    """Ends one session of the one who asks. Raises SessionNotFound."""
    async with ctx.live_sessions.ending() as ending, ctx.database.transaction() as tx:
        ended = await sessions.delete_session(tx, principal.user_id, session_id)
        await ending.forget(tx, ended)
    if not ended:
        raise SessionNotFound("you have no such session")


async def end_other_sessions(ctx: UsersContext, principal: Principal) -> None:
    """Ends all but the one that asks."""
    async with ctx.live_sessions.ending() as ending, ctx.database.transaction() as tx:
        ended = await sessions.delete_sessions(tx, principal.user_id, but=principal.session_id)
        await ending.forget(tx, ended)


async def list_sessions(
    ctx: UsersContext, principal: Principal, before: UUID | None, limit: int
) -> list[SessionView]:
    """A page of my sessions, newest first."""
    async with ctx.database.reading() as reading:
        return await sessions.list_sessions(
            reading, principal.user_id, principal.session_id, before, limit
        )


async def list_contacts(ctx: UsersContext, user_ids: Sequence[UUID]) -> list[Contact]:
    """How to reach each, in order; without an address where the account is gone."""
    async with ctx.database.reading() as reading:
        known = await accounts.list_contacts(reading, user_ids)
    return [
        known.get(user_id) or Contact(user_id=user_id, email=None, name=None)
        for user_id in user_ids
    ]

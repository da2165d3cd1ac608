"""What is over is removed; one rule: in small batches, so that nobody waits for it."""

from tradewind.platform import idempotency
from tradewind.users.actions.context import UsersContext
from tradewind.users.store import attempts, sessions, tokens

_BATCH = 500


async def tidy_up(ctx: UsersContext) -> bool:
    """A worker's step: removes expired sessions, tokens, counters and answers; True for more."""
    removed: list[int] = []
    for delete in (
        sessions.delete_expired,
        tokens.delete_expired,
        attempts.delete_expired,
        idempotency.delete_old,
    ):
        async with ctx.database.transaction() as tx:
            removed.append(await delete(tx, _BATCH))
    return _BATCH in removed

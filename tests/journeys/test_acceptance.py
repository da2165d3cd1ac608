"""The acceptance checks beside the repository, in all three worlds: of the API alone."""

import pytest

from acceptance import accept, handed_out
from faults.splitting import FIRST_STAFF, SplitWorld
from shop import STAFF, NewStore


@pytest.mark.asyncio
@pytest.mark.parametrize("world", ["direct", "codec", "split"])
@handed_out
async def test_the_contract_is_kept(world: str, new_store: NewStore, split: SplitWorld) -> None:
    """Every check passes: in one process, with every call as bytes, and behind HAProxy."""
    if world == "split":
        base = (await split.front()).base
        account = (FIRST_STAFF, split.running.password)
    else:
        shop = await new_store(codec=world == "codec")
        await shop.staff()
        base, account = shop.base, STAFF
    await accept(base, account)

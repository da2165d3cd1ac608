"""The acceptance checks beside the repository, in all three worlds: of the API alone."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from faults.splitting import FIRST_STAFF, SplitWorld
from shop import STAFF, NewStore, repository

CHECKS = Path(repository()).parent / "shared" / "accept"


@pytest.mark.asyncio
@pytest.mark.parametrize("world", ["direct", "codec", "split"])
@pytest.mark.skipif(not CHECKS.is_dir(), reason="the checks are handed out apart from the code")
async def test_the_contract_is_kept(world: str, new_store: NewStore, split: SplitWorld) -> None:
    """Every check passes: in one process, with every call as bytes, and behind HAProxy."""
    if world == "split":
        base = (await split.front()).base
        account = (FIRST_STAFF, split.running.password)
    else:
        shop = await new_store(codec=world == "codec")
        await shop.staff()
        base, account = shop.base, STAFF
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(CHECKS)),
        env={**os.environ, "BASE": base, "STAFF_EMAIL": account[0], "STAFF_PASSWORD": account[1]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-4000:]

"""The acceptance checks that stand beside the repository, run against a store."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from shop import repository

CHECKS = Path(repository()).parent / "shared" / "accept"
handed_out = pytest.mark.skipif(
    not CHECKS.is_dir(), reason="the checks are handed out apart from the code"
)


async def accept(base: str, account: tuple[str, str]) -> None:
    """Every check passes at `base`, with an administrator's address and password."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(CHECKS)),
        env={**os.environ, "BASE": base, "STAFF_EMAIL": account[0], "STAFF_PASSWORD": account[1]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-4000:]

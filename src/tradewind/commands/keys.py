"""`tradewind keys`: by which services prove who they are; one rule: no good token is refused."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from tradewind.platform.errors import Invalid
from tradewind.platform.remote.identity import PUBLIC_NAME
from tradewind.platform.remote.keys import add_new, changing, forget_old, make_keys, use_new
from tradewind.topology.services import SERVICES

Say = Callable[[str], None]


def make(folder: Path, say: Say) -> None:
    """Makes the keys that are missing. Raises KeysUnusable."""
    made = make_keys(folder, SERVICES)
    for service in made:
        say(f"{service}: a new key, {folder / service}.pem (for this service alone)")
    if len(made) < len(SERVICES):
        say(f"{len(SERVICES) - len(made)} of {len(SERVICES)} services have a key already")
    say(f"All services need {folder / PUBLIC_NAME}; TRADEWIND_SERVICE_KEYS={folder}")


async def rotate(
    folder: Path, services: Sequence[str], wait_seconds: float, say: Say, *, forget: bool
) -> None:
    """New keys under running processes; raises KeysUnusable, before anything is changed."""
    for service in services:
        if service not in SERVICES:
            raise Invalid(f"there is no service {service}: choose of {', '.join(SERVICES)}")
    names = sorted(set(services or SERVICES))
    with changing(folder):
        add_new(folder, names)
        say(f"1. New public keys of {', '.join(names)} are known beside the old ones.")
        await _let_them_see(wait_seconds, say)
        use_new(folder, names)
        say("2. The new private keys are in use; tokens of the old ones are still good.")
        if forget:
            await _let_them_see(wait_seconds, say)
            forget_old(folder, names)
            say("3. The old keys are forgotten: their tokens are refused within a second.")
        else:
            say("The old ones are forgotten at the next rotation, or now with --forget-old.")


async def _let_them_see(wait_seconds: float, say: Say) -> None:
    say(f"   {wait_seconds:g} s, so that every process sees it …")
    await asyncio.sleep(wait_seconds)

"""`tradewind check`: recomputes the promises on live data; one rule: it only reads."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from tradewind.commands.place import home_of, running_database, secret_of
from tradewind.compose import PACKAGES
from tradewind.platform.config import PlatformSettings
from tradewind.platform.invariants import check_services
from tradewind.platform.migrate import address_of


async def check_store(settings: Mapping[str, Any], console: Console) -> bool:
    """Whether all holds; prints what does not, naming it."""
    platform: PlatformSettings = settings[""]
    home = home_of(platform)
    owner = await running_database(platform, home)
    secret = secret_of(platform, home)
    addresses = {name: address_of(owner, secret, name) for name in PACKAGES}
    asked, broken = await check_services(addresses, PACKAGES)
    for one in broken:
        console.print(f"[red]broken[/red] {one.service}: {one.name}", highlight=False)
        for row in one.rows:
            console.print(f"    {row}", highlight=False)
    if broken:
        console.print(f"{len(broken)} of {asked} invariants do not hold.")
    else:
        console.print(f"All {asked} invariants hold.")
    return not broken

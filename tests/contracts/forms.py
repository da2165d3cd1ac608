"""A contract in its three forms, and what may be compared of answers; one rule: all of it is.

Each form is asked the same of a real store: by plain calls, as bytes there and back, and over a
real internal listener with tokens.
"""

import re
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import msgspec

from contracts.internal import House, listening
from contracts.trial import PATIENT
from shop import Shop
from tradewind.compose import CONTRACTS
from tradewind.platform.errors import Invalid, StoreError
from tradewind.platform.wire import through_codec
from tradewind.topology.services import callers_of


@asynccontextmanager
async def three_forms(shop: Shop, service: str, folder: Path) -> AsyncGenerator[Mapping[str, Any]]:
    """The contract of one of the store's services, by the name of the form."""
    contract, remote = CONTRACTS[service]
    local = next(one.contract for one in shop.store.services if one.name == service)
    house = House(folder)
    async with listening(house.application(service, contract, local)) as url:
        caller = min(callers_of(service))
        yield {
            "local": local,
            "codec": through_codec(contract, local),
            # A call that is tried again may say another thing than one that was not.
            "remote": remote(
                house.remote(service, contract, [url], caller=caller, settings=PATIENT)
            ),
        }
        await house.close()


async def told(asking: Awaitable[Any], *known: object) -> Any:
    """What a call answers or raises, as something to compare; `known` become their numbers."""
    names = {str(one): f"<{number}>" for number, one in enumerate(known)}
    try:
        return _shown(await asking, names)
    except StoreError as error:
        return "raised", _shown(error, names)


def _shown(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, StoreError):
        faults = value.errors if isinstance(value, Invalid) else ()
        plain = (dict(value.extra), value.retry_after_seconds, value.title, faults)
        return type(value), value.code, *_shown((value.detail, *plain), names)
    if isinstance(value, msgspec.Raw):
        return "json", _shown(msgspec.json.decode(value), names)
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        return type(value), _shown(fields, names)
    if isinstance(value, dict):
        given = cast("dict[Any, Any]", value)
        return {_shown(key, names): _shown(one, names) for key, one in given.items()}
    if isinstance(value, list | tuple):
        members = cast("Sequence[Any]", value)
        return type(members), *(_shown(one, names) for one in members)
    if isinstance(value, str | UUID):
        # The driver's ids are of a class of their own, below UUID.
        kind = UUID if isinstance(value, UUID) else type(value)
        return kind, re.sub("|".join(names) or "(?!)", lambda it: names[it[0]], str(value))
    if isinstance(value, datetime):
        return datetime, value.tzinfo is not None and value.utcoffset()
    return type(value), value

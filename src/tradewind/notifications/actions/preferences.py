"""What people want to be told; one rule: what keeps an account safe is always told."""

from collections.abc import Mapping
from uuid import UUID

import msgspec

from tradewind.notifications.actions.context import NotificationsContext
from tradewind.notifications.model.kinds import REQUIRED, Switches, muted_by, switches_of
from tradewind.notifications.store import people as store


class PreferencesView(msgspec.Struct, frozen=True):
    """Each kind's channels, on or off. `required` names what cannot be switched off."""

    preferences: dict[str, Switches]
    required: dict[str, list[str]]


async def show_preferences(context: NotificationsContext, user_id: UUID) -> PreferencesView:
    """What a person wants; everything, until they say otherwise."""
    async with context.database.reading() as reading:
        return _view(await store.find_muted(reading, user_id))


async def set_preferences(
    context: NotificationsContext, user_id: UUID, wishes: Mapping[str, Switches]
) -> PreferencesView:
    """Replaces what a person wants; kinds that are left out are on."""
    muted = muted_by(wishes)
    async with context.database.transaction() as tx:
        await store.update_muted(tx, user_id, muted)
    return _view(frozenset(muted))


def _view(muted: frozenset[str]) -> PreferencesView:
    required = {kind: [str(one) for one in channels] for kind, channels in REQUIRED.items()}
    return PreferencesView(switches_of(muted), required)

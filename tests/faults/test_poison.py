"""A poison message in the whole store: parked, told of, replayed; all others keep flowing (P8)."""

from collections.abc import Sequence
from typing import Any

import pytest

from faults.spine import silence
from orders.conftest import Open, counters
from orders.parts import Answer, Counter
from tradewind.orders.contract import OrderPlaced
from tradewind.platform.database import DatabaseDown, Transaction
from tradewind.platform.inbox import ATTEMPTS_MOST, list_parked, update_replayed

pytestmark = pytest.mark.asyncio

__all__ = ["counters"]


class Poison:
    """A reaction of a service that fails for one address, as it is told to."""

    def __init__(self, shop: Counter, service: str, reaction: str) -> None:
        [inbox] = [one.inbox for one in shop.store.store.services if one.name == service]
        self.place = (OrderPlaced.TYPE, reaction)
        self._reactions = inbox._reactions
        self._good = inbox._reactions[self.place]
        self.email = ""
        self.error: Exception = ValueError("poison")
        self.tries = 0
        self._reactions[self.place] = self

    async def __call__(self, tx: Transaction, events: Sequence[Any]) -> None:
        """The reaction: its effect first, so that half of it would be seen."""
        await self._good(tx, events)
        if self.email in [event.email for event in events]:
            self.tries += 1
            raise self.error

    def heal(self) -> None:
        """It fails no more."""
        self._reactions[self.place] = self._good


async def parked(shop: Counter, service: str) -> list[tuple[Any, ...]]:
    """What rests there."""
    async with shop.store.store.databases[service].transaction() as tx:
        return await list_parked(tx)


@pytest.mark.parametrize(
    ("service", "reaction"), [("notifications", "tell_order_placed"), ("products", "take_stock")]
)
@pytest.mark.parametrize(
    "error", [ValueError("poison"), TimeoutError(), OSError("a file"), KeyError("x"), None]
)
async def test_one_that_always_fails(
    counters: Open, service: str, reaction: str, error: Exception | None
) -> None:
    """Whatever it fails with, the ten others arrive, it is parked, and a replay applies it once."""
    [shop] = await counters(1)
    with silence():
        await _poisoned(shop, service, reaction, error)


async def _poisoned(shop: Counter, service: str, reaction: str, error: Exception | None) -> None:
    sku = await shop.product(20)
    await shop.store.settle()
    poison = Poison(shop, service, reaction)
    if error is None:
        # Not even an error of ours that means "later" may keep the others waiting for ever.
        error = DatabaseDown("only for this one")
    poison.error = error
    answers: list[Answer] = []
    for number in range(11):
        email = f"buyer{number}@example.com"
        if number == 5:
            poison.email = email
        answers.append(await shop.buy(sku, email=email))
    assert {one.status for one in answers} == {201}
    if isinstance(error, DatabaseDown):
        # Where nothing can be taken the publisher keeps all, and nobody is parked.
        with pytest.raises(DatabaseDown):
            await shop.store.relay()
        assert await parked(shop, service) == []
        poison.heal()
        await shop.store.settle()
        assert await shop.level(sku) == (9, 0)
        return
    await shop.store.drain()
    mails = await told(shop)
    if service == "notifications":
        assert mails == {f"buyer{number}@example.com" for number in range(11) if number != 5}
        assert await shop.level(sku) == (9, 0)
    else:
        assert len(mails) == 11
        assert await shop.level(sku) == (10, 1)
    for _ in range(ATTEMPTS_MOST + 2):
        # Its pauses grow; an hour later it is due again. What it holds must not run out meanwhile.
        await shop.store.quietly(
            service, "UPDATE deliveries SET due_at = now() WHERE parked_at IS NULL"
        )
        await shop.store.drain(())
    [one] = await parked(shop, service)
    assert one[1:3] == (reaction, OrderPlaced.TYPE)
    assert one[4] == ATTEMPTS_MOST
    assert [fault for fault in await shop.broken() if "no event is parked" in fault]
    poison.heal()
    async with shop.store.store.databases[service].transaction() as tx:
        assert await update_replayed(tx) == 1
    await shop.store.settle()
    assert await shop.level(sku) == (9, 0)
    assert len(await told(shop)) == 11
    assert await shop.broken() == []


async def told(shop: Counter) -> set[str]:
    """Who has the confirmation of an order; nobody has two."""
    rows = await shop.store.quietly(
        "notifications", "SELECT recipient FROM messages WHERE kind = 'order_confirmed'"
    )
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0] for row in rows}

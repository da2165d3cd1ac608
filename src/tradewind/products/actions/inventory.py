"""Staff's changes of stock; one rule: each is a movement, and none touches what is reserved."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from tradewind.platform.database import Transaction
from tradewind.platform.idempotency import Once
from tradewind.products.actions.context import ProductsContext
from tradewind.products.contract import InsufficientStock, SkuNotFound
from tradewind.products.model.stock import Level, Movement
from tradewind.products.store import stock


class LevelView(msgspec.Struct, frozen=True, rename="camel"):
    """How much there is of a SKU; `available` = on hand − reserved."""

    sku: str
    on_hand: int
    reserved: int
    available: int
    updated_at: datetime


class MovementView(msgspec.Struct, frozen=True, rename="camel"):
    """One line of the ledger."""

    id: UUID
    delta: int
    reason: str
    order_id: UUID | None
    created_at: datetime


def level_view(level: Level) -> LevelView:
    """As the API shows it."""
    return LevelView(level.sku, level.on_hand, level.reserved, level.available, level.updated_at)


async def show_level(context: ProductsContext, sku: str) -> LevelView:
    """One SKU's level."""
    async with context.database.reading() as reading:
        level = await stock.find_level(reading, sku)
    if level is None:
        raise SkuNotFound(f"there is no SKU {sku!r}")
    return level_view(level)


async def list_movements(
    context: ProductsContext, sku: str, before: UUID | None, most: int
) -> list[MovementView]:
    """The ledger of one SKU, newest first."""
    async with context.database.reading() as reading:
        if await stock.find_level(reading, sku) is None:
            raise SkuNotFound(f"there is no SKU {sku!r}")
        return [
            MovementView(*one) for one in await stock.list_movements(reading, sku, before, most)
        ]


async def adjust_stock(
    context: ProductsContext,
    sku: str,
    delta: int,
    reason: Literal["received", "sold_elsewhere", "damaged", "counted", "returned"],
    once: Once,
) -> LevelView:
    """Changes what is on hand, never below what is reserved."""
    async with context.database.transaction(once) as tx:
        [outcome] = await add_movements(tx, [Movement(sku, delta, reason)])
        if not isinstance(outcome, Level):
            raise outcome
        await context.tell_stock_changed(tx, [sku])
        return once.answer(level_view(outcome))


async def add_movements(
    tx: Transaction, movements: Sequence[Movement]
) -> list[Level | InsufficientStock | SkuNotFound]:
    """Applies each movement that is possible after those before it; answers the level it left."""
    levels = await stock.lock_levels(tx, {movement.sku for movement in movements})
    outcomes: list[Level | InsufficientStock | SkuNotFound] = []
    applied: list[Movement] = []
    for movement in movements:
        level = levels.get(movement.sku)
        if level is None:
            outcomes.append(SkuNotFound(f"there is no SKU {movement.sku!r}"))
            continue
        if level.on_hand + movement.delta < level.reserved:
            outcomes.append(
                InsufficientStock(
                    f"{movement.sku}: {level.available} can be taken away "
                    f"({level.on_hand} on hand, {level.reserved} reserved)",
                    extra={"sku": movement.sku, "available": level.available},
                )
            )
            continue
        levels[movement.sku] = msgspec.structs.replace(
            level, on_hand=level.on_hand + movement.delta, updated_at=tx.now
        )
        outcomes.append(levels[movement.sku])
        applied.append(movement)
    await stock.update_levels(tx, movements=applied)
    return outcomes

"""What can happen to stock; one rule: each function takes many, and each member has its own end.

A reservation is held (expires), kept (an order stands, its payment is pending), confirmed (sold),
released (nobody wanted it), expired, cancelled (its order was), or lost (it expired, its order was
placed all the same, and the units are sold: the order is told). It is settled exactly once.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal
from uuid import UUID

import msgspec
import structlog

from tradewind.platform.database import Transaction
from tradewind.platform.idempotency import delete_old
from tradewind.products.actions.context import ProductsContext
from tradewind.products.contract import (
    NoPrice,
    NotSold,
    PricedLine,
    Quote,
    QuotedLine,
    Refusal,
    ReservationGone,
    ReservationLost,
    Reserve,
    Reserved,
)
from tradewind.products.model.stock import (
    Movement,
    Reservation,
    ReservationState,
    allocated,
    quoted,
)
from tradewind.products.store import stock

_log = structlog.get_logger(__name__)
_EXPIRY_BATCH = 500
_FORGET_MOST = 1000


class Settlement(msgspec.Struct, frozen=True):
    """An order's claim on its reservation: to be kept, or sold. `lines` is quantity by SKU."""

    reservation_id: UUID
    order_id: UUID
    target: Literal["kept", "confirmed"]
    lines: Mapping[str, int]


async def reserve_stock(
    context: ProductsContext, requests: Sequence[Reserve]
) -> list[Reserved | Refusal]:
    """Holds each request's stock whole or not at all; a repeated id is answered as before."""
    known: dict[UUID, Reserved | Refusal] = {}
    while True:
        fresh = {one.reservation_id: one for one in requests if one.reservation_id not in known}
        if not fresh:
            break
        clashed = await _reserve_fresh(context, list(fresh.values()), known)
        if not clashed:
            break
    return [known[one.reservation_id] for one in requests]


async def _reserve_fresh(
    context: ProductsContext, requests: list[Reserve], known: dict[UUID, Reserved | Refusal]
) -> bool:
    """One transaction; True where ids existed already: those are known now, the rest is to do."""
    seconds = context.settings.reservation_seconds
    held: dict[UUID, Mapping[str, int]] = {}
    outcomes: dict[UUID, Reserved | Refusal] = {}
    try:
        async with context.database.transaction() as tx:
            skus = sorted({line.sku for request in requests for line in request.lines})
            articles = await stock.lock_articles(tx, skus)
            available = {sku: article.available for sku, article in articles.items()}
            priced: dict[UUID, tuple[PricedLine, ...]] = {}
            for request in requests:
                lines = allocated(request, articles, available)
                if isinstance(lines, tuple):
                    held[request.reservation_id] = {one.sku: one.quantity for one in lines}
                    priced[request.reservation_id] = lines
                else:
                    outcomes[request.reservation_id] = lines
            # One that is refused may hold its stock already: its own units are missing then.
            if outcomes and await stock.list_known(tx, list(outcomes)):
                raise _Clash
            if held:
                ends = await stock.insert_reservations(tx, held, seconds)
                if len(ends) != len(held):
                    raise _Clash
                for id_, lines in priced.items():
                    currency = articles[lines[0].sku].currency
                    outcomes[id_] = Reserved(id_, currency, lines, ends[id_])
    except _Clash:
        known |= await _reserved_before(context, requests)
        return True
    known |= outcomes
    return False


class _Clash(Exception):
    """A reservation id exists already."""


async def _reserved_before(
    context: ProductsContext, requests: Sequence[Reserve]
) -> dict[UUID, Reserved | Refusal]:
    """The answers of requests whose reservation exists: found, held anew, or gone."""
    answers: dict[UUID, Reserved | Refusal] = {}
    seconds = context.settings.reservation_seconds
    async with context.database.transaction() as tx:
        found = await stock.lock_reservations(tx, [one.reservation_id for one in requests])
        again = [one for one in requests if one.reservation_id in found]
        articles = await stock.lock_articles(
            tx, {line.sku for request in again for line in request.lines}
        )
        available = {sku: article.available for sku, article in articles.items()}
        taken: dict[str, int] = {}
        for request in again:
            state = found[request.reservation_id].state
            wanted = {line.sku: line.quantity for line in request.lines}
            same = wanted == found[request.reservation_id].lines
            if state not in ("held", "released", "expired") or not same:
                answers[request.reservation_id] = ReservationGone(
                    "this purchase is over; start a new one with a new key"
                )
                continue
            held = state == "held"
            lines = allocated(request, articles, wanted if held else available)
            if not isinstance(lines, tuple):
                answers[request.reservation_id] = lines
                continue
            if not held:
                for line in lines:
                    taken[line.sku] = taken.get(line.sku, 0) + line.quantity
            answers[request.reservation_id] = Reserved(
                request.reservation_id,
                articles[lines[0].sku].currency,
                lines,
                tx.now + timedelta(seconds=seconds),
            )
        await stock.update_levels(tx, reserved=taken)
        held_ids = [id_ for id_, one in answers.items() if isinstance(one, Reserved)]
        await stock.update_held(tx, held_ids, seconds)
    return answers


async def extend_reservations(
    context: ProductsContext, reservation_ids: Sequence[UUID]
) -> list[bool]:
    """Starts each reservation's time anew; False where it is over."""
    async with context.database.transaction() as tx:
        alive = await stock.update_expiries(
            tx, reservation_ids, context.settings.reservation_seconds
        )
    return [one in alive for one in reservation_ids]


async def release_reservations(context: ProductsContext, reservation_ids: Sequence[UUID]) -> None:
    """Gives back what nobody will buy."""
    async with context.database.transaction() as tx:
        await give_back(tx, list(reservation_ids), "released")


async def give_back(
    tx: Transaction, reservation_ids: Sequence[UUID], state: ReservationState
) -> dict[UUID, Reservation]:
    """Ends those that are held, in `state`; answers all that exist as they were before.

    What is kept belongs to an order that stands: it ends with its payment or its cancellation.
    """
    found = await stock.lock_reservations(tx, reservation_ids)
    await _free(tx, [one for one in found.values() if one.state == "held"], state)
    return found


async def _free(tx: Transaction, holding: Sequence[Reservation], state: ReservationState) -> None:
    if not holding:
        return
    freed: dict[str, int] = {}
    for one in holding:
        for sku, quantity in one.lines.items():
            freed[sku] = freed.get(sku, 0) - quantity
    await stock.lock_levels(tx, freed)
    await stock.update_levels(tx, reserved=freed, states={one.id: state for one in holding})


async def expire_reservations(context: ProductsContext) -> bool:
    """Gives back what was held too long; answers whether there may be more.

    Orders is asked first: where an order stands on a reservation, its event is only late (a broker
    that is away, say), and the stock is held on. Where orders does not answer, nothing expires.
    """
    async with context.database.reading() as reading:
        over = await stock.list_expired(reading, _EXPIRY_BATCH)
    if not over:
        return False
    stands = await context.orders.standing(over)
    sold = [one for one, placed in zip(over, stands, strict=True) if placed]
    async with context.database.transaction() as tx:
        await stock.update_expiries(tx, sold, context.settings.reservation_seconds)
        await _free(tx, await stock.lock_expired(tx, list({*over} - {*sold})), "expired")
    return len(over) == _EXPIRY_BATCH


async def forget_old(context: ProductsContext) -> bool:
    """Forgets settled reservations and old answers; answers whether there may be more."""
    async with context.database.transaction() as tx:
        forgotten = (
            await stock.delete_settled(tx, _FORGET_MOST),
            await delete_old(tx, _FORGET_MOST),
        )
    return _FORGET_MOST in forgotten


async def settle_reservations(
    context: ProductsContext, tx: Transaction, settlements: Sequence[Settlement]
) -> None:
    """Keeps or sells what orders stand on; those whose stock is gone are told (ReservationLost)."""
    found = await stock.lock_reservations(tx, [one.reservation_id for one in settlements])
    levels = await stock.lock_levels(tx, {sku for one in settlements for sku in one.lines})
    available = {sku: level.available for sku, level in levels.items()}
    reserved: dict[str, int] = {}
    movements: list[Movement] = []
    states: dict[UUID, ReservationState] = {}
    unknown: list[Reservation] = []
    lost: list[ReservationLost] = []
    for one in settlements:
        before = found.get(one.reservation_id)
        state = before.state if before else "expired"
        if state in ("confirmed", "cancelled", "lost", one.target):
            continue
        holds = state in ("held", "kept")
        after: ReservationState = one.target
        if not holds:
            if any(available.get(sku, 0) < quantity for sku, quantity in one.lines.items()):
                after = "lost"
                lost.append(
                    ReservationLost(reservation_id=one.reservation_id, order_id=one.order_id)
                )
            else:
                for sku, quantity in one.lines.items():
                    available[sku] -= quantity
        if after != "lost":
            _change(one, reserved, movements, holds=holds)
        if before:
            states[one.reservation_id] = after
        else:
            unknown.append(Reservation(one.reservation_id, after, dict(one.lines)))
    await stock.update_levels(tx, reserved=reserved, movements=movements, states=states)
    if unknown:
        await stock.insert_settled(tx, unknown)
    if lost:
        _log.warning("orders lost their stock", orders=[str(one.order_id) for one in lost])
        await context.outbox.add(tx, lost)


def _change(
    one: Settlement, reserved: dict[str, int], movements: list[Movement], *, holds: bool
) -> None:
    for sku, quantity in one.lines.items():
        if one.target == "confirmed":
            movements.append(Movement(sku, -quantity, "sold", one.order_id))
        change = (quantity if one.target == "kept" else 0) - (quantity if holds else 0)
        if change:
            reserved[sku] = reserved.get(sku, 0) + change


async def return_cancelled(
    tx: Transaction, cancelled: Sequence[tuple[UUID, UUID, Mapping[str, int]]]
) -> None:
    """Takes cancelled orders' units back: (reservation, order, quantity by SKU) each.

    What was only held is released; a settlement that comes later finds it cancelled.
    """
    found = await stock.lock_reservations(tx, [reservation for reservation, _, _ in cancelled])
    # All levels at once, in their order: those that are given back and those that return.
    skus = {sku for one in found.values() for sku in one.lines}
    await stock.lock_levels(tx, skus.union(*(lines for _, _, lines in cancelled)))
    await _free(tx, [one for one in found.values() if one.state in ("held", "kept")], "cancelled")
    movements: list[Movement] = []
    states: dict[UUID, ReservationState] = {}
    unknown: list[Reservation] = []
    for reservation_id, order_id, lines in cancelled:
        before = found.get(reservation_id)
        if before is None:
            unknown.append(Reservation(reservation_id, "cancelled", dict(lines)))
        elif before.state == "confirmed":
            movements += [Movement(sku, n, "returned", order_id) for sku, n in lines.items()]
            states[reservation_id] = "cancelled"
        elif before.state in ("released", "expired"):
            states[reservation_id] = "cancelled"
    await stock.update_levels(tx, movements=movements, states=states)
    if unknown:
        await stock.insert_settled(tx, unknown)


async def return_refunded(
    tx: Transaction, refunded: Sequence[tuple[UUID, Mapping[str, int]]]
) -> None:
    """Takes refunded units back: (order, quantity by SKU) each."""
    movements = [
        Movement(sku, quantity, "returned", order_id)
        for order_id, lines in refunded
        for sku, quantity in lines.items()
    ]
    await stock.lock_levels(tx, {movement.sku for movement in movements})
    await stock.update_levels(tx, movements=movements)


async def quote_lines(
    context: ProductsContext, requests: Sequence[Quote]
) -> list[tuple[QuotedLine, ...] | NotSold | NoPrice]:
    """Prices and availability for showing."""
    async with context.database.reading() as reading:
        articles = await stock.list_articles(
            reading, {sku for request in requests for sku in request.skus}
        )
        asked = {one.currency for one in requests if one.currency and not one.skus}
        unknown = asked - await stock.list_priced_currencies(reading, asked) if asked else asked
    return [
        NoPrice(f"nothing is priced in {one.currency}")
        if one.currency in unknown
        else quoted(one.skus, one.currency, articles)
        for one in requests
    ]

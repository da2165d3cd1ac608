"""Stock in any order of events: a model of a few lines, and the real database beside it (P1, P2).

Reservations are made, found again, extended, released, run out, kept, sold, cancelled, refunded and
adjusted, alone and in batches, twice and too late; after every step both must say the same.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from orders.parts import fresh_owner
from products.orders_apart import NobodyOrdered
from shop import SECRET, settings_of
from tradewind.platform.cache import ResponseCache
from tradewind.platform.database import Address, Database
from tradewind.platform.migrate import address_of
from tradewind.products.actions import stock as actions
from tradewind.products.actions.context import ProductsContext
from tradewind.products.actions.inventory import add_movements
from tradewind.products.contract import (
    InsufficientStock,
    OutOfStock,
    ReservationGone,
    Reserve,
    Reserved,
    Wanted,
)
from tradewind.products.model.stock import Level, Movement
from tradewind.products.service import local

Answer = TypeVar("Answer")
SKUS = 3
SLOTS = st.integers(0, 5)
LINES = st.dictionaries(st.integers(0, SKUS - 1), st.integers(1, 4), min_size=1)
TARGETS = st.sampled_from(["kept", "confirmed"])


class Stock:
    """The stock half of the products service, on a database of its own."""

    def __init__(self, owner: Address, loop: asyncio.AbstractEventLoop) -> None:
        self.owner = owner
        self.loop = loop
        self.database = Database(address_of(owner, SECRET, "products"))
        running = local(self.database, settings_of()["products"], NobodyOrdered(), ResponseCache())
        self.context: ProductsContext = running.context
        self.superuser: asyncpg.Connection

    def do(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Waits for it."""
        return self.loop.run_until_complete(work)

    async def open(self) -> None:
        """Connects."""
        await self.database.open()
        self.superuser = await asyncpg.connect(**self.owner.arguments())
        await self.superuser.execute("SET search_path = products")

    async def close(self) -> None:
        """Ends its connections."""
        await self.superuser.close()
        await self.database.close()

    async def rows(self, query: str, *arguments: Any) -> list[Any]:
        """A statement of somebody who may do everything."""
        return await self.superuser.fetch(query, *arguments)


class Held:
    """What the model knows of a reservation."""

    def __init__(self, lines: dict[str, int]) -> None:
        self.id, self.order = uuid4(), uuid4()
        self.lines = lines
        self.state = "none"
        self.is_due = False
        self.sold_once = 0
        self.returned: dict[str, int] = {}


class StockMachine(RuleBasedStateMachine):
    """The model, and what it does to the real thing."""

    def __init__(self, stock: Stock) -> None:
        super().__init__()
        self.stock = stock
        self.skus: list[str] = []
        self.on_hand: dict[str, int] = {}
        self.slots: dict[int, Held] = {}
        self.lost: list[UUID] = []

    @initialize(units=st.lists(st.integers(0, 9), min_size=SKUS, max_size=SKUS))
    def begin(self, units: list[int]) -> None:
        """Goods come in."""
        self.skus = [f"{uuid4().hex[:10]}-{n}" for n in range(SKUS)]
        self.on_hand = dict.fromkeys(self.skus, 0)
        self.stock.do(
            self.stock.rows(
                """
                WITH product AS (
                    INSERT INTO products (id, slug, title, title_key, status, price_minor, currency,
                        search)
                    VALUES (gen_random_uuid(), $2, 'Kettle', 'kettle', 'active', 100, 'EUR', '')
                    RETURNING id
                ), made AS (
                    INSERT INTO variants (sku, product_id, price_minor, currency, position)
                    SELECT sku, product.id, 100, 'EUR', 1
                    FROM product, unnest($1::text[]) AS g (sku)
                    RETURNING sku
                )
                INSERT INTO stock (sku) SELECT sku FROM made
                """,
                self.skus,
                self.skus[0],
            )
        )
        for sku, count in zip(self.skus, units, strict=True):
            if count:
                self._adjust(sku, count, "received")

    def _available(self, sku: str) -> int:
        return self.on_hand[sku] - self._reserved(sku)

    def _reserved(self, sku: str) -> int:
        holding = (one for one in self.slots.values() if one.state in ("held", "kept"))
        return sum(one.lines.get(sku, 0) for one in holding)

    def _fits(self, lines: dict[str, int]) -> bool:
        return all(self._available(sku) >= n for sku, n in lines.items())

    def _named(self, lines: dict[int, int]) -> dict[str, int]:
        return {self.skus[place]: n for place, n in lines.items()}

    @rule(place=st.integers(0, SKUS - 1), delta=st.integers(-6, 6).filter(bool))
    def adjust(self, place: int, delta: int) -> None:
        """Staff count, receive and throw away; never what is reserved."""
        self._adjust(self.skus[place], delta, "received" if delta > 0 else "damaged")

    def _adjust(self, sku: str, delta: int, reason: Any) -> None:
        async def act() -> Any:
            async with self.stock.database.transaction() as tx:
                return await add_movements(tx, [Movement(sku, delta, reason)])

        [outcome] = self.stock.do(act())
        if self._available(sku) + delta < 0:
            assert isinstance(outcome, InsufficientStock)
        else:
            assert isinstance(outcome, Level)
            self.on_hand[sku] += delta

    @rule(wishes=st.lists(st.tuples(SLOTS, LINES, st.booleans()), min_size=1, max_size=4))
    def reserve(self, wishes: list[tuple[int, dict[int, int], bool]]) -> None:
        """New wishes and old ones again, some with other lines, several in one call."""
        requests: dict[UUID, tuple[Held, dict[str, int]]] = {}
        for slot, lines, others in wishes:
            known = self.slots.get(slot)
            if known is None:
                known = self.slots[slot] = Held(self._named(lines))
            wanted = self._named(lines) if others else known.lines
            if known.state == "none":
                wanted = known.lines
            requests.setdefault(known.id, (known, wanted))
        asked = [
            Reserve(held.id, tuple(Wanted(sku, n) for sku, n in wanted.items()))
            for held, wanted in requests.values()
        ]
        outcomes = self.stock.do(actions.reserve_stock(self.stock.context, asked))
        # New ones are taken first where all are new; where one is known the others come after it.
        ordered = sorted(
            zip(requests.values(), outcomes, strict=True),
            key=lambda one: one[0][0].state == "none",
        )
        for (held, wanted), outcome in ordered:
            if held.state in ("kept", "confirmed", "cancelled", "lost") or (
                held.state != "none" and wanted != held.lines
            ):
                assert isinstance(outcome, ReservationGone), (held.state, outcome)
            elif held.state == "held":
                assert isinstance(outcome, Reserved)
                held.is_due = False
            elif isinstance(outcome, Reserved):
                assert self._fits(wanted), "more than there is"
                held.state, held.is_due = "held", False
            else:
                assert isinstance(outcome, OutOfStock), outcome
                assert not self._fits(wanted), "refused although it was there"

    @rule(slots=st.lists(SLOTS, min_size=1, max_size=3))
    def extend(self, slots: list[int]) -> None:
        """What is held, kept or sold holds; everything else is over."""
        some = [self.slots[slot] for slot in slots if slot in self.slots]
        alive = self.stock.do(
            actions.extend_reservations(self.stock.context, [one.id for one in some])
        )
        assert alive == [one.state in ("held", "kept", "confirmed") for one in some]
        for one in some:
            one.is_due = False

    @rule(slots=st.lists(SLOTS, min_size=1, max_size=3))
    def release(self, slots: list[int]) -> None:
        """Only what is held goes back, however often it is asked."""
        some = [self.slots[slot] for slot in slots if slot in self.slots]
        self.stock.do(actions.release_reservations(self.stock.context, [one.id for one in some]))
        for one in some:
            if one.state == "held":
                one.state = "released"

    @rule()
    def time_passes(self) -> None:
        """Everything that is held has been held too long."""
        held = [one for one in self.slots.values() if one.state == "held"]
        for one in held:
            one.is_due = True
        self.stock.do(
            self.stock.rows(
                "UPDATE reservations SET expires_at = now() - interval '1 s' "
                "WHERE id = ANY ($1::uuid[])",
                [one.id for one in held],
            )
        )

    @rule()
    def expire(self) -> None:
        """What was held too long comes back, once, whoever looks for it at the same time."""

        async def act() -> None:
            await asyncio.gather(
                *(actions.expire_reservations(self.stock.context) for _ in range(3))
            )

        self.stock.do(act())
        for one in self.slots.values():
            if one.is_due and one.state == "held":
                one.state, one.is_due = "expired", False

    @rule(
        some=st.lists(
            st.tuples(SLOTS, TARGETS), min_size=1, max_size=4, unique_by=lambda one: one[0]
        )
    )
    def settle(self, some: list[tuple[int, Any]]) -> None:
        """Orders stand on reservations, on those that are over too; it may come twice, and late."""
        wanted = [(self.slots[slot], target) for slot, target in some if slot in self.slots]
        settlements = [
            actions.Settlement(one.id, one.order, target, one.lines) for one, target in wanted
        ]

        async def act() -> None:
            async with self.stock.database.transaction() as tx:
                await actions.settle_reservations(self.stock.context, tx, settlements)

        self.stock.do(act())
        # What others free in the same call is not promised to those who hold nothing.
        free = {sku: self._available(sku) for sku in self.skus}
        for one, target in wanted:
            if one.state in ("confirmed", "cancelled", "lost", target):
                continue
            if one.state not in ("held", "kept"):
                if any(free[sku] < n for sku, n in one.lines.items()):
                    one.state = "lost"
                    self.lost.append(one.order)
                    continue
                for sku, n in one.lines.items():
                    free[sku] -= n
            one.state, one.is_due = target, False
            if target == "confirmed":
                one.sold_once += 1
                for sku, n in one.lines.items():
                    self.on_hand[sku] -= n

    @rule(slots=st.lists(SLOTS, min_size=1, max_size=3, unique=True), part=st.booleans())
    def cancel(self, slots: list[int], part: bool) -> None:
        """Orders are off: what was held is free, what was sold is back; again is nothing."""
        some = [self.slots[slot] for slot in slots if slot in self.slots]
        back = {
            one.id: {
                sku: n - one.returned.get(sku, 0)
                for sku, n in one.lines.items()
                if n > one.returned.get(sku, 0) and not (part and sku == min(one.lines))
            }
            for one in some
        }

        async def act() -> None:
            async with self.stock.database.transaction() as tx:
                await actions.return_cancelled(
                    tx, [(one.id, one.order, back[one.id]) for one in some]
                )

        self.stock.do(act())
        for one in some:
            if one.state == "confirmed":
                for sku, n in back[one.id].items():
                    self.on_hand[sku] += n
            if one.state != "lost":
                one.state, one.is_due = "cancelled", False

    @rule(slot=SLOTS)
    def refund(self, slot: int) -> None:
        """A unit of what was sold comes back, as long as there is one left of it."""
        one = self.slots.get(slot)
        if one is None or one.state != "confirmed":
            return
        left = [sku for sku, n in one.lines.items() if n > one.returned.get(sku, 0)]
        if not left:
            return

        async def act() -> None:
            async with self.stock.database.transaction() as tx:
                await actions.return_refunded(tx, [(one.order, {left[0]: 1})])

        self.stock.do(act())
        one.returned[left[0]] = one.returned.get(left[0], 0) + 1
        self.on_hand[left[0]] += 1

    @rule(slot=SLOTS)
    def forget(self, slot: int) -> None:
        """Another purchase takes the place."""
        one = self.slots.get(slot)
        if one is not None and one.state in ("confirmed", "cancelled", "lost", "released"):
            del self.slots[slot]

    @invariant()
    def says_the_same(self) -> None:
        """P1: received + returned = available + reserved + sold + written off, none below 0."""
        if not self.skus:
            return
        rows = self.stock.do(self.stock.rows(_LEVELS, self.skus))
        found = {row["sku"]: (row["on_hand"], row["reserved"]) for row in rows}
        assert found == {sku: (self.on_hand[sku], self._reserved(sku)) for sku in self.skus}
        for row in rows:
            available = row["on_hand"] - row["reserved"]
            assert min(available, row["reserved"], row["on_hand"]) >= 0
            assert row["came_in"] == available + row["reserved"] + row["sold"] + row["written_off"]
            assert row["held"] == row["reserved"]
        known = [one for one in self.slots.values() if one.state != "none"]
        states = self.stock.do(
            self.stock.rows(
                "SELECT id, state FROM reservations WHERE id = ANY ($1::uuid[])",
                [one.id for one in known],
            )
        )
        assert {row["id"]: row["state"] for row in states} == {one.id: one.state for one in known}
        assert all(one.sold_once <= 1 for one in known)
        lost = self.stock.do(
            self.stock.rows(
                "SELECT count(*) FROM outbox WHERE key = ANY ($1::text[])",
                [str(one) for one in self.lost],
            )
        )
        assert lost[0][0] == len(self.lost), "every order that lost its stock is told, once"


_LEVELS = """
    SELECT stock.sku, on_hand, reserved,
        coalesce((SELECT sum(delta) FROM movements AS m WHERE m.sku = stock.sku
            AND reason IN ('received', 'returned')), 0)::bigint AS came_in,
        coalesce((SELECT -sum(delta) FROM movements AS m WHERE m.sku = stock.sku
            AND reason IN ('sold', 'sold_elsewhere')), 0)::bigint AS sold,
        coalesce((SELECT -sum(delta) FROM movements AS m WHERE m.sku = stock.sku
            AND reason IN ('damaged', 'counted')), 0)::bigint AS written_off,
        coalesce((SELECT sum((lines->>stock.sku)::bigint) FROM reservations
            WHERE state IN ('held', 'kept') AND lines ? stock.sku), 0)::bigint AS held
    FROM stock WHERE sku = ANY ($1::text[])
"""


def test_stock_in_any_order(postgres: Address) -> None:
    """Whatever happens in whatever order, nothing is lost, doubled or oversold."""
    loop = asyncio.new_event_loop()
    stock = Stock(loop.run_until_complete(fresh_owner(postgres)), loop)
    stock.do(stock.open())
    try:
        run_state_machine_as_test(
            lambda: StockMachine(stock),  # pyright: ignore[reportArgumentType]  it is only called
            settings=settings(
                max_examples=60,
                report_multiple_bugs=False,
                stateful_step_count=25,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]  all
            ),
        )
    finally:
        stock.do(stock.close())
        loop.close()

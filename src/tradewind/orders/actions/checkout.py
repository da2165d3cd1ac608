"""A purchase; one rule: whatever ends this process, the same key finds the same end.

The steps, each written for many and coalesced: look the key up; reserve (products); save the
attempt and open the key (one transaction); ask the payment provider; make the order, store the
answer and publish (one transaction). Between any two of them the process may die: `recovery` takes
up what was saved, and what was only reserved expires. A reservation's id is made of the key, so
that a second try finds the first one's.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
import structlog

from tradewind.orders.actions.context import OrdersContext
from tradewind.orders.actions.placing import Finish, Placing
from tradewind.orders.contract import CartCheckedOut, TotalChanged
from tradewind.orders.model.order import Draft, NumberTaken, naming, new_number, summed
from tradewind.orders.model.payment import Charge, Charged, ProviderDown, ProviderUnclear
from tradewind.orders.store import carts as cart_store
from tradewind.orders.store import checkouts as store
from tradewind.platform.coalesce import Coalescer
from tradewind.platform.database import Transaction
from tradewind.platform.errors import StoreError, Unavailable
from tradewind.platform.idempotency import (
    Key,
    KeyInProgress,
    Replay,
    Stored,
    delete_open,
    find_stored,
    insert_open,
    judge,
    update_answers,
)
from tradewind.platform.ids import new_id
from tradewind.platform.money import Money
from tradewind.platform.outbox import current_cause
from tradewind.products.contract import (
    NoPrice,
    NotSold,
    OutOfStock,
    ReservationGone,
    Reserve,
    Reserved,
    Wanted,
)

_log = structlog.get_logger(__name__)
_CHARGE_TRIES = 3
_REFUSED = 400


class Purchase(msgspec.Struct, frozen=True):
    """What somebody wants to buy, checked; `lines` name each SKU once."""

    key: Key
    user_id: UUID | None
    email: str
    lines: tuple[Wanted, ...]
    shipping_address: Mapping[str, Any]
    billing_address: Mapping[str, Any] | None
    provider: str
    token: str
    expected_total: Money | None = None
    currency: str | None = None
    cart_id: UUID | None = None
    cart_version: int = 0


class Answer(msgspec.Struct, frozen=True):
    """A checkout's stored answer."""

    status: int
    body: bytes


class _Opening(msgspec.Struct, frozen=True):
    checkout: store.OpenCheckout
    cart_version: int


class Checkouts:
    """The purchases of one process."""

    def __init__(self, context: OrdersContext) -> None:
        self.context = context
        self._placing = Placing(context)
        self._looks: Coalescer[Key, Stored | None] = Coalescer("idempotency keys", self._look_many)
        self._openings: Coalescer[_Opening, None] = Coalescer("checkouts opened", self._open_many)
        self.finishes: Coalescer[Finish, Answer] = Coalescer(
            "checkouts finished", self._finish_many
        )
        self._refusals: Coalescer[tuple[Key, int, bytes], Answer] = Coalescer(
            "checkouts refused", self._refuse_many
        )

    async def check_out(self, purchase: Purchase, request_id: str) -> Answer:
        """Buys it. Raises Replay with the stored answer of a key that was used before.

        A refusal that depends on the state of things is stored too, so that the same request
        finds the same end.
        """
        try:
            return await self._buy(purchase, request_id)
        except (OutOfStock, TotalChanged, CartCheckedOut) as refusal:
            status, body = self.context.render(refusal, request_id)
            return await self._refusals.submit((purchase.key, status, body))

    async def check_key(self, key: Key) -> None:
        """Raises what a key that was used before deserves (Replay, KeyReused, KeyInProgress)."""
        stored = await self._looks.submit(key)
        if stored is not None:
            raise judge(stored, key)

    async def _buy(self, purchase: Purchase, request_id: str) -> Answer:
        await self.check_key(purchase.key)
        provider = self.context.providers[purchase.provider]
        reserved = await self._reserve(purchase)
        draft = await self._decide(purchase, reserved)
        checkout = store.OpenCheckout(new_id(), purchase.key, draft)
        await self._openings.submit(_Opening(checkout, purchase.cart_version))
        try:
            charged = await charge(self.context, checkout)
        except ProviderDown as error:
            await self.give_up(checkout)
            raise Unavailable(
                f"the payment provider {provider.name} is not reachable; nothing was taken"
            ) from error
        traceparent = current_cause().traceparent
        return await self.finishes.submit(Finish(checkout, charged, request_id, traceparent))

    async def _reserve(self, purchase: Purchase) -> Reserved:
        wish = Reserve(
            reservation_of(purchase.key, purchase.cart_version), purchase.lines, purchase.currency
        )
        [outcome] = await self.context.products.reserve([wish])
        if isinstance(outcome, Reserved):
            return outcome
        if isinstance(outcome, ReservationGone):
            # Either the first request with this key was answered meanwhile, or its answer is
            # forgotten by now.
            await self.check_key(purchase.key)
        raise naming(outcome) if isinstance(outcome, NotSold | NoPrice) else outcome

    async def _decide(self, purchase: Purchase, reserved: Reserved) -> Draft:
        try:
            lines, subtotal = summed(reserved.lines)
            expected = purchase.expected_total
            if expected is not None and expected != Money(subtotal, reserved.currency):
                total = {"amount": subtotal, "currency": reserved.currency}
                raise TotalChanged(
                    f"the total is now {subtotal} {reserved.currency} (minor units)",
                    extra={"total": total},
                )
        except StoreError:
            await self.context.products.release([reserved.reservation_id])
            raise
        return Draft(
            order_id=new_id(),
            number=new_number(),
            user_id=purchase.user_id,
            email=purchase.email,
            currency=reserved.currency,
            lines=lines,
            subtotal_minor=subtotal,
            shipping_address=purchase.shipping_address,
            billing_address=purchase.billing_address,
            provider=purchase.provider,
            token=purchase.token,
            cart_id=purchase.cart_id,
            reservation_id=reserved.reservation_id,
        )

    async def _look_many(self, keys: list[Key]) -> Sequence[Stored | None]:
        async with self.context.database.reading() as reading:
            return await find_stored(reading, keys)

    async def _open_many(self, openings: list[_Opening]) -> Sequence[Exception | None]:
        """Saves each attempt with its key and takes its cart; who cannot have both is refused."""
        lease = self.context.settings.lease_seconds
        wanted = {(one.checkout.key.principal, one.checkout.key.key): one for one in openings}
        checkouts = [one.checkout for one in wanted.values()]
        if all(one.draft.cart_id is None for one in checkouts):
            async with self.context.database.statement() as tx:
                opened = await store.insert_checkouts(tx, checkouts, lease)
            lost = set[UUID]()
        else:
            async with self.context.database.transaction() as tx:
                opened = await store.insert_checkouts(tx, checkouts, lease)
                lost = await self._take_carts(
                    tx, [one for one in wanted.values() if one.checkout.id in opened]
                )
        refused = [
            one for one in openings if one.checkout.id not in opened or one.checkout.id in lost
        ]
        if not refused:
            return [None] * len(openings)
        refusals = await self._refusals_of(refused, lost)
        gone = [
            one.checkout.draft.reservation_id
            for one in refused
            if one.checkout.id in lost or _ended_without_an_order(refusals[one.checkout.id])
        ]
        if gone:
            await self.context.products.release(gone)
        return [refusals.get(one.checkout.id) for one in openings]

    async def _take_carts(self, tx: Transaction, openings: Sequence[_Opening]) -> set[UUID]:
        """Takes the carts of saved attempts; ends those whose cart is not to be had."""
        carts = [
            (one.checkout.draft.cart_id, one.cart_version, one.checkout.draft.order_id)
            for one in openings
            if one.checkout.draft.cart_id is not None
        ]
        taken = await cart_store.update_checking_out(tx, carts)
        lost = [
            one.checkout
            for one in openings
            if one.checkout.draft.cart_id is not None and one.checkout.draft.order_id not in taken
        ]
        if lost:
            await store.delete_placed(tx, [one.id for one in lost])
            await delete_open(tx, [one.key for one in lost])
        return {one.id for one in lost}

    async def _refusals_of(
        self, refused: Sequence[_Opening], lost: set[UUID]
    ) -> dict[UUID, Exception]:
        async with self.context.database.reading() as reading:
            stored = await find_stored(reading, [one.checkout.key for one in refused])
        refusals: dict[UUID, Exception] = {}
        for one, known in zip(refused, stored, strict=True):
            if one.checkout.id in lost:
                refusals[one.checkout.id] = CartCheckedOut(
                    "the cart was checked out, or changed, while this request was on its way"
                )
            elif known is not None:
                refusals[one.checkout.id] = judge(known, one.checkout.key)
            else:
                refusals[one.checkout.id] = KeyInProgress(
                    "the key is being given up just now", retry_after_seconds=1
                )
        return refusals

    async def _finish_many(self, finishes: list[Finish]) -> Sequence[Answer | StoreError]:
        try:
            answers = await self._placing.finish(finishes)
        except NumberTaken:
            # Nobody was told these numbers yet, so all may be drawn anew.
            answers = await self._placing.finish([one.renumbered() for one in finishes])
        return [Answer(*one) if isinstance(one, tuple) else one for one in answers]

    async def _refuse_many(
        self, refusals: list[tuple[Key, int, bytes]]
    ) -> Sequence[Answer | Exception]:
        """Stores each refusal as its key's answer; who comes second hears what is stored."""
        answers: list[Answer | Exception] = []
        firsts: dict[Key, int] = {}
        for place, (key, _, _) in enumerate(refusals):
            firsts.setdefault(key, place)
        async with self.context.database.transaction() as tx:
            ours = await insert_open(tx, list(firsts))
            mine = {place for key, place in firsts.items() if (key.principal, key.key) in ours}
            await update_answers(tx, [refusals[place] for place in sorted(mine)])
            keys = [key for key, _, _ in refusals]
            stored = await find_stored(tx, keys) if len(mine) < len(keys) else [None] * len(keys)
        for place, ((key, status, body), known) in enumerate(zip(refusals, stored, strict=True)):
            if place in mine or known is None:
                answers.append(Answer(status, body))
            else:
                answers.append(judge(known, key))
        return answers

    async def give_up(self, checkout: store.OpenCheckout) -> None:
        """Nothing was taken: frees key, cart and stock, so that the same key may be sent again."""
        async with self.context.database.transaction() as tx:
            await free_checkout(tx, checkout)
        await self.context.products.release([checkout.draft.reservation_id])


def _ended_without_an_order(refusal: Exception) -> bool:
    """Whether the first request with this key was refused: nobody needs the reservation then."""
    return isinstance(refusal, Replay) and refusal.status >= _REFUSED


async def free_checkout(tx: Transaction, checkout: store.OpenCheckout) -> None:
    """Ends an open checkout as if it had never been."""
    if await store.delete_placed(tx, [checkout.id]):
        await delete_open(tx, [checkout.key])
        draft = checkout.draft
        if draft.cart_id is not None:
            await cart_store.update_states(tx, [(draft.cart_id, draft.order_id)], "open")


def reservation_of(key: Key, cart_version: int) -> UUID:
    """The reservation's id (UUIDv8, RFC 9562): the same for the same request, and no other."""
    parts = (key.principal.encode(), key.key.encode(), key.fingerprint, b"%d" % cart_version)
    text = b"\0".join(parts)
    number = int.from_bytes(hashlib.sha256(text).digest()[:16])
    number = number & ~(0xF << 76) & ~(0x3 << 62) | (0x8 << 76) | (0x2 << 62)
    return UUID(int=number)


async def charge(context: OrdersContext, checkout: store.OpenCheckout) -> Charged | None:
    """Asks for the money, always under the attempt's id. None: unclear, to be reconciled.

    Raises ProviderDown only where no call can have reached the provider.
    """
    draft = checkout.draft
    provider = context.providers[draft.provider]
    wish = Charge(checkout.id, draft.order_id, draft.token, draft.total_minor, draft.currency)
    reached = False
    for attempt in range(_CHARGE_TRIES):
        try:
            async with asyncio.timeout(context.settings.charge_seconds / _CHARGE_TRIES):
                return await provider.charge(wish)
        except ProviderDown:
            if attempt + 1 == _CHARGE_TRIES and not reached:
                raise
        except (ProviderUnclear, TimeoutError, StoreError) as error:
            reached = True
            _log.info(
                "payment unclear", attempt=attempt, order=str(draft.order_id), error=repr(error)
            )
        if attempt + 1 < _CHARGE_TRIES:
            await asyncio.sleep(0.05 * 2**attempt)
    return None

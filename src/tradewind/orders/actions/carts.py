"""What can happen to carts; one rule: a cart holds wishes, prices are always today's.

A cart belongs to a customer, or to whoever shows its secret token. A guest's cart that is shown
together with a session, or brought along at login, becomes the customer's.
"""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from tradewind.orders.actions.context import OrdersContext
from tradewind.orders.contract import (
    CartAdoption,
    CartCheckedOut,
    CartEmpty,
    CartNotFound,
)
from tradewind.orders.model.order import naming
from tradewind.orders.store import carts as store
from tradewind.orders.store.carts import Cart
from tradewind.platform.database import Transaction
from tradewind.platform.errors import FieldError, Invalid
from tradewind.platform.idempotency import Once, find_stored, judge
from tradewind.platform.ids import digest, new_id, new_token
from tradewind.platform.money import Money
from tradewind.platform.web.answers import etag_of_version, require_match
from tradewind.products.contract import NoPrice, NotSold, Quote, QuotedLine, Wanted


class Visitor(msgspec.Struct, frozen=True):
    """Who asks for a cart: a customer, a guest with a token, or both."""

    user_id: UUID | None
    cart_token: str | None


class CartLineView(msgspec.Struct, frozen=True, rename="camel"):
    """A line at today's price; `available` is what could be bought now."""

    sku: str
    title: str
    quantity: int
    unit_price: Money | None
    total: Money | None
    available: int


class CartView(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A cart; `token` only in the answer that makes it. Sums are of what is sold now."""

    id: UUID
    status: str
    currency: str | None
    lines: list[CartLineView]
    subtotal: Money | None
    discount: Money | None
    shipping: Money | None
    tax: Money | None
    total: Money | None
    version: int
    token: str | msgspec.UnsetType = msgspec.UNSET


def merge_lines(
    lines: Sequence[tuple[str, int]], context: OrdersContext
) -> tuple[tuple[str, int], ...]:
    """The same SKU added up; raises Invalid past the limits."""
    settings, merged = context.settings, dict[str, int]()
    for sku, quantity in lines:
        merged[sku] = merged.get(sku, 0) + quantity
    faults = [
        FieldError("lines", f"{sku}: {quantity} is more than {settings.quantity_most}")
        for sku, quantity in merged.items()
        if quantity > settings.quantity_most
    ]
    if len(merged) > settings.lines_most:
        faults.append(FieldError("lines", f"more than {settings.lines_most} different SKUs"))
    if faults:
        raise Invalid("These lines cannot be bought at once.", errors=faults[:20])
    return tuple(merged.items())


async def _quote(
    context: OrdersContext, skus: Sequence[str], currency: str | None
) -> dict[str, QuotedLine]:
    """Each SKU as it is sold now; those that are not sold any more are missing."""
    outcomes = await context.products.quote([Quote((sku,), currency) for sku in skus])
    return {one[0].sku: one[0] for one in outcomes if isinstance(one, tuple)}


async def _checked_currency(
    context: OrdersContext,
    lines: Sequence[tuple[str, int]],
    currency: str | None,
    field: str = "lines",
) -> str | None:
    """The cart's currency once these lines are in it; raises NotSold or NoPrice."""
    if not lines and currency is None:
        return None
    [quote] = await context.products.quote([Quote(tuple(sku for sku, _ in lines), currency)])
    if isinstance(quote, NotSold | NoPrice):
        raise naming(quote, field)
    return currency or quote[0].currency


async def show_cart(
    context: OrdersContext, cart: Cart, lines: Sequence[tuple[str, int]], token: str | None = None
) -> CartView:
    """The cart at today's prices."""
    quotes = await _quote(context, [sku for sku, _ in lines], cart.currency) if lines else {}
    views, subtotal = list[CartLineView](), 0
    for sku, quantity in lines:
        quote = quotes.get(sku)
        if quote is None:
            views.append(CartLineView(sku, sku, quantity, None, None, 0))
            continue
        total = quote.unit_price_minor * quantity
        subtotal += total
        views.append(
            CartLineView(
                sku,
                quote.title,
                quantity,
                Money(quote.unit_price_minor, quote.currency),
                Money(total, quote.currency),
                quote.available,
            )
        )
    currency = cart.currency
    money = Money(subtotal, currency) if currency else None
    nothing = Money(0, currency) if currency else None
    return CartView(
        id=cart.id,
        status=cart.state,
        currency=currency,
        lines=views,
        subtotal=money,
        discount=nothing,
        shipping=nothing,
        tax=nothing,
        total=money,
        version=cart.version,
        token=token or msgspec.UNSET,
    )


async def create_cart(
    context: OrdersContext,
    user_id: UUID | None,
    lines: Sequence[tuple[str, int]],
    currency: str | None,
    once: Once,
) -> CartView:
    """A new cart, with its secret token."""
    merged = merge_lines(lines, context)
    await _refuse_known(context, once)
    currency = await _checked_currency(context, merged, currency)
    token = new_token()
    cart_id = new_id()
    now = context.database.clock.now()
    cart = Cart(cart_id, digest(token), user_id, currency, "open", None, 1, now, now)
    view = await show_cart(context, cart, merged, token)
    async with context.database.transaction(once) as tx:
        await store.insert_cart(tx, cart, merged)
        return once.answer(view)


async def _refuse_known(context: OrdersContext, once: Once) -> None:
    """Raises what a key that was used before deserves, whatever is sold by now."""
    if once.key is None:
        return
    async with context.database.reading() as reading:
        [stored] = await find_stored(reading, [once.key])
    if stored is not None:
        raise judge(stored, once.key)


async def read_cart(
    context: OrdersContext, cart_id: UUID, visitor: Visitor
) -> tuple[Cart, list[tuple[str, int]]]:
    """A cart of the visitor's with its lines; raises CartNotFound."""
    async with context.database.reading() as reading:
        cart = _of(visitor, await store.find_cart(reading, cart_id))
        lines = await store.list_lines(reading, cart_id)
    if cart.user_id is None and visitor.user_id is not None:
        async with context.database.transaction() as tx:
            await store.update_owner(tx, cart_id, visitor.user_id)
    return cart, lines


def _of(visitor: Visitor, cart: Cart | None) -> Cart:
    if cart is not None:
        if cart.user_id is not None and cart.user_id == visitor.user_id:
            return cart
        shown = visitor.cart_token
        if cart.user_id is None and shown is not None and digest(shown) == cart.token_hash:
            return cart
    raise CartNotFound("There is no such cart of yours.")


async def _lock_open(
    tx: Transaction, cart_id: UUID, visitor: Visitor, if_match: str | None
) -> Cart:
    cart = _of(visitor, await store.lock_cart(tx, cart_id))
    if cart.state != "open":
        raise CartCheckedOut("The cart was checked out; make a new one.")
    require_match(if_match, etag_of_version(cart.version))
    return cart


async def set_line(
    context: OrdersContext,
    cart_id: UUID,
    visitor: Visitor,
    line: tuple[str, int],
    if_match: str | None,
) -> CartView:
    """Sets one SKU's quantity; 0 removes it."""
    sku, quantity = line
    if quantity > context.settings.quantity_most:
        message = f"must be at most {context.settings.quantity_most}"
        raise Invalid("So many cannot be bought at once.", errors=[FieldError("quantity", message)])
    before, _ = await read_cart(context, cart_id, visitor)
    currency = before.currency
    if quantity:
        currency = await _checked_currency(context, [line], currency, "sku")
    async with context.database.transaction() as tx:
        cart = await _lock_open(tx, cart_id, visitor, if_match)
        if quantity:
            await store.upsert_line(tx, cart_id, sku, quantity)
        else:
            await store.delete_line(tx, cart_id, sku)
        lines = await store.list_lines(tx, cart_id)
        if len(lines) > context.settings.lines_most:
            message = f"more than {context.settings.lines_most} different SKUs"
            raise Invalid("The cart is full.", errors=[FieldError("sku", message)])
        if cart.currency is not None and cart.currency != currency:
            message = f"the cart is in {cart.currency}, {sku} is priced in {currency}"
            raise NoPrice(message, errors=[FieldError("sku", message)])
        version = await store.update_changed(tx, cart_id, currency)
    changed = msgspec.structs.replace(cart, currency=currency, version=version)
    return await show_cart(context, changed, lines)


async def delete_cart(
    context: OrdersContext, cart_id: UUID, visitor: Visitor, if_match: str | None
) -> None:
    """Removes an open cart."""
    async with context.database.transaction() as tx:
        await _lock_open(tx, cart_id, visitor, if_match)
        await store.delete_cart(tx, cart_id)


async def wanted_of_cart(
    context: OrdersContext, cart_id: UUID, visitor: Visitor
) -> tuple[Cart, tuple[Wanted, ...]]:
    """What a checkout of this cart would buy. Raises CartCheckedOut, CartEmpty, CartNotFound."""
    cart, lines = await read_cart(context, cart_id, visitor)
    if cart.state != "open":
        raise CartCheckedOut(
            "The cart was checked out."
            if cart.state == "checked_out"
            else "The cart is being checked out just now.",
            extra={"orderId": str(cart.order_id)} if cart.state == "checked_out" else None,
        )
    if not lines:
        fault = FieldError("lines", "There are none.")
        raise CartEmpty("Put something into the cart first.", errors=[fault])
    return cart, tuple(Wanted(sku, quantity) for sku, quantity in lines)


async def adopt_carts(context: OrdersContext, adoptions: Sequence[CartAdoption]) -> list[bool]:
    """Guests who signed in bring their carts along."""
    async with context.database.transaction() as tx:
        pairs = [(digest(one.cart_token), one.user_id) for one in adoptions]
        adopted = await store.update_owners(tx, pairs)
    return [token_hash in adopted for token_hash, _ in pairs]

"""Purchases over HTTP; one rule: the answer is the stored one, byte for byte."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from tradewind.orders.actions.carts import Visitor, merge_lines, wanted_of_cart
from tradewind.orders.actions.checkout import Answer, Checkouts, Purchase
from tradewind.orders.actions.context import OrdersContext
from tradewind.orders.actions.views import OrderView
from tradewind.orders.routes.bodies import CartCheckoutBody, CheckoutBody
from tradewind.platform.errors import FieldError, Invalid
from tradewind.platform.principals import Principal
from tradewind.platform.sessions import principal as identify
from tradewind.platform.web.context import current_request_id
from tradewind.platform.web.keys import key_of
from tradewind.products.contract import Wanted

TAGS = ["Orders"]


@post("/v1/checkout", tags=TAGS)
async def check_out(
    request: Request[Any, Any, Any],
    data: JSONBody[CheckoutBody],
    checkouts: NamedDependency[Checkouts],
) -> Response[OrderView]:
    """Buy these lines in one request: 201 placed, 202 the provider has not decided yet."""
    # One dependency: for more, the framework starts a task for each, on every purchase.
    orders, principal = checkouts.context, await identify(request)
    merged = merge_lines([(line.sku, line.quantity) for line in data.lines], orders)
    lines = tuple(Wanted(sku, quantity) for sku, quantity in merged)
    purchase = await _purchase(request, orders, data, principal, lines)
    return _answered(
        await checkouts.check_out(
            msgspec.structs.replace(purchase, currency=data.currency), current_request_id()
        )
    )


@post("/v1/carts/{cart_id:uuid}/checkout", tags=TAGS)
async def check_out_cart(
    request: Request[Any, Any, Any],
    cart_id: FromPath[UUID],
    data: JSONBody[CartCheckoutBody],
    checkouts: NamedDependency[Checkouts],
) -> Response[OrderView]:
    """Buy what is in the cart."""
    orders, principal = checkouts.context, await identify(request)
    purchase = await _purchase(request, orders, data, principal, ())
    await checkouts.check_key(purchase.key)
    user_id = principal.user_id if principal else None
    visitor = Visitor(user_id, request.headers.get("cart-token"))
    cart, lines = await wanted_of_cart(orders, cart_id, visitor)
    return _answered(
        await checkouts.check_out(
            msgspec.structs.replace(
                purchase,
                lines=lines,
                currency=cart.currency,
                cart_id=cart_id,
                cart_version=cart.version,
            ),
            current_request_id(),
        )
    )


async def _purchase(
    request: Request[Any, Any, Any],
    orders: OrdersContext,
    data: CheckoutBody | CartCheckoutBody,
    principal: Principal | None,
    lines: tuple[Wanted, ...],
) -> Purchase:
    key = await key_of(request)
    provider = data.payment.provider or orders.settings.payment_provider
    if provider not in orders.providers:
        known = ", ".join(sorted(orders.providers))
        fault = FieldError("payment.provider", f"not a provider of this store; one of: {known}")
        raise Invalid("There is no such payment provider.", errors=[fault])
    billing = data.billing_address
    return Purchase(
        key=key,
        user_id=principal.user_id if principal else None,
        email=data.email.strip().lower(),
        lines=lines,
        shipping_address=msgspec.to_builtins(data.shipping_address),
        billing_address=msgspec.to_builtins(billing) if billing else None,
        provider=provider,
        token=data.payment.token,
        expected_total=data.expected_total.money() if data.expected_total else None,
    )


def _answered(answer: Answer) -> Response[Any]:
    problem = answer.status >= 400  # noqa: PLR2004  where errors begin (RFC 9110)
    return Response(
        answer.body,
        status_code=answer.status,
        media_type="application/problem+json" if problem else "application/json",
    )

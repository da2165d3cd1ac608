"""Carts over HTTP; one rule: whoever is not the owner learns nothing."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from tradewind.orders.actions import carts
from tradewind.orders.actions.carts import CartView, Visitor
from tradewind.orders.actions.context import OrdersContext
from tradewind.orders.routes.bodies import CartBody, QuantityBody
from tradewind.platform.idempotency import Once
from tradewind.platform.principals import Principal
from tradewind.platform.web.answers import etag_of_version

TAGS = ["Orders"]


def visitor(request: Request[Any, Any, Any], principal: Principal | None) -> Visitor:
    """Who asks: session, `Cart-Token`, or both."""
    return Visitor(principal.user_id if principal else None, request.headers.get("cart-token"))


def _shown(view: CartView, status: int = 200) -> Response[CartView]:
    return Response(view, status_code=status, headers={"ETag": etag_of_version(view.version)})


@post("/v1/carts", tags=TAGS)
async def create_cart(
    orders: NamedDependency[OrdersContext],
    principal: NamedDependency[Principal | None],
    once: NamedDependency[Once],
    data: JSONBody[CartBody | None] = None,
) -> Response[CartView]:
    """Make a cart; a guest sends its secret `token` as `Cart-Token` from then on."""
    user_id = principal.user_id if principal else None
    wanted = data or CartBody()
    lines = [(line.sku, line.quantity) for line in wanted.lines]
    return _shown(await carts.create_cart(orders, user_id, lines, wanted.currency, once), 201)


@get("/v1/carts/{cart_id:uuid}", tags=TAGS)
async def get_cart(
    request: Request[Any, Any, Any],
    cart_id: FromPath[UUID],
    orders: NamedDependency[OrdersContext],
    principal: NamedDependency[Principal | None],
) -> Response[CartView]:
    """Show a cart at today's prices."""
    cart, lines = await carts.read_cart(orders, cart_id, visitor(request, principal))
    return _shown(await carts.show_cart(orders, cart, lines))


@delete("/v1/carts/{cart_id:uuid}", tags=TAGS)
async def delete_cart(
    request: Request[Any, Any, Any],
    cart_id: FromPath[UUID],
    orders: NamedDependency[OrdersContext],
    principal: NamedDependency[Principal | None],
) -> None:
    """Throw an open cart away."""
    if_match = request.headers.get("if-match")
    await carts.delete_cart(orders, cart_id, visitor(request, principal), if_match)


@put("/v1/carts/{cart_id:uuid}/lines/{sku:str}", tags=TAGS)
async def set_line(
    request: Request[Any, Any, Any],
    cart_id: FromPath[UUID],
    sku: FromPath[str],
    data: JSONBody[QuantityBody],
    orders: NamedDependency[OrdersContext],
    principal: NamedDependency[Principal | None],
) -> Response[CartView]:
    """Set the quantity of a SKU; 0 removes it."""
    return _shown(
        await carts.set_line(
            orders,
            cart_id,
            visitor(request, principal),
            (sku, data.quantity),
            request.headers.get("if-match"),
        )
    )


@delete("/v1/carts/{cart_id:uuid}/lines/{sku:str}", status_code=200, tags=TAGS)
async def delete_line(
    request: Request[Any, Any, Any],
    cart_id: FromPath[UUID],
    sku: FromPath[str],
    orders: NamedDependency[OrdersContext],
    principal: NamedDependency[Principal | None],
) -> Response[CartView]:
    """Remove a SKU."""
    who, if_match = visitor(request, principal), request.headers.get("if-match")
    return _shown(await carts.set_line(orders, cart_id, who, (sku, 0), if_match))

"""Orders over HTTP; one rule: owners and guests with a token see theirs, staff see all."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from tradewind.orders.actions import listing
from tradewind.orders.actions import orders as actions
from tradewind.orders.actions.context import OrdersContext
from tradewind.orders.actions.views import OrderView
from tradewind.orders.routes.bodies import FulfillmentBody, ReasonBody, RefundBody, SumBody
from tradewind.platform.errors import Denied, FieldError, Invalid, Unauthenticated
from tradewind.platform.idempotency import Once
from tradewind.platform.principals import Principal
from tradewind.platform.sessions import staff
from tradewind.platform.web.answers import etag_of_version
from tradewind.platform.web.keys import key_of
from tradewind.platform.web.pages import DEFAULT_LIMIT, Cursor, Limit, Page

TAGS = ["Orders"]


def _shown(view: OrderView) -> Response[OrderView]:
    return Response(view, headers={"ETag": etag_of_version(view.version)})


@get("/v1/orders", tags=TAGS)
async def list_orders(
    orders: NamedDependency[OrdersContext],
    principal: NamedDependency[Principal | None],
    all_orders: Annotated[bool, QueryParameter(name="all")] = False,
    status: FromQuery[listing.AnyStatus | None] = None,
    q: Annotated[str | None, QueryParameter(name="q", max_length=254)] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[OrderView]:
    """My orders, newest first; for staff with `all=true` everybody's."""
    if principal is None:
        raise Unauthenticated("This needs a session; a guest reads an order with its Order-Token.")
    if not all_orders:
        return await listing.list_own(orders, principal.user_id, status, limit, cursor)
    if not principal.is_staff:
        raise Denied("Only staff see everybody's orders.")
    return await listing.list_all(orders, status, q, limit, cursor)


@get("/v1/orders/{order_id:uuid}", tags=TAGS)
async def get_order(
    request: Request[Any, Any, Any],
    order_id: FromPath[UUID],
    orders: NamedDependency[OrdersContext],
    principal: NamedDependency[Principal | None],
) -> Response[OrderView]:
    """One order, for its owner, for a guest with its `Order-Token`, or for staff."""
    return _shown(
        await actions.show_order(
            orders,
            order_id,
            principal.user_id if principal else None,
            request.headers.get("order-token"),
            staff=principal is not None and principal.is_staff,
        )
    )


@post("/v1/orders/{order_id:uuid}/cancel", status_code=200, tags=TAGS)
async def cancel_order(
    request: Request[Any, Any, Any],
    order_id: FromPath[UUID],
    orders: NamedDependency[OrdersContext],
    principal: NamedDependency[Principal | None],
    once: NamedDependency[Once],
    data: JSONBody[ReasonBody | None] = None,
) -> Response[OrderView]:
    """Cancel before anything was shipped: stock back, money back."""
    async with orders.database.reading() as reading:
        await actions.check_owner(
            orders,
            reading,
            order_id,
            principal.user_id if principal else None,
            request.headers.get("order-token"),
            staff=principal is not None and principal.is_staff,
        )
    reason = (data or ReasonBody()).reason
    return _shown(await actions.cancel_order(orders, order_id, once, reason))


@post("/v1/orders/{order_id:uuid}/capture", guards=[staff], status_code=200, tags=TAGS)
async def capture_order(
    request: Request[Any, Any, Any],
    order_id: FromPath[UUID],
    orders: NamedDependency[OrdersContext],
    once: NamedDependency[Once],
) -> Response[OrderView]:
    """Take authorized money."""
    await key_of(request)
    return _shown(await actions.capture_order(orders, order_id, once))


@post("/v1/orders/{order_id:uuid}/refunds", guards=[staff], tags=TAGS)
async def refund_order(
    request: Request[Any, Any, Any],
    order_id: FromPath[UUID],
    data: JSONBody[RefundBody],
    orders: NamedDependency[OrdersContext],
    once: NamedDependency[Once],
) -> Response[OrderView]:
    """Give money back, in part or whole, with or without units."""
    await key_of(request)
    lines = [(line.sku, line.quantity) for line in data.lines] if data.lines else None
    amount = data.amount
    if isinstance(amount, SumBody):
        if not amount.amount:
            fault = FieldError("amount.amount", "must be 1 or more")
            raise Invalid("Nothing cannot be refunded.", errors=[fault])
        amount = await listing.amount_in_currency(orders, order_id, amount.money())
    view = await actions.refund_order(orders, order_id, amount, lines, data.reason, once)
    return Response(view, status_code=201, headers={"ETag": etag_of_version(view.version)})


@post("/v1/orders/{order_id:uuid}/fulfillments", guards=[staff], tags=TAGS)
async def ship_order(
    order_id: FromPath[UUID],
    orders: NamedDependency[OrdersContext],
    once: NamedDependency[Once],
    data: JSONBody[FulfillmentBody | None] = None,
) -> Response[OrderView]:
    """Ship lines, or all that is left."""
    parcel = data or FulfillmentBody()
    lines = [(line.sku, line.quantity) for line in parcel.lines] if parcel.lines else None
    view = await actions.ship_order(orders, order_id, lines, parcel.carrier, parcel.tracking, once)
    return Response(view, status_code=201, headers={"ETag": etag_of_version(view.version)})


@post(
    "/v1/orders/{order_id:uuid}/fulfillments/{fulfillment_id:uuid}/delivered",
    guards=[staff],
    status_code=200,
    tags=TAGS,
)
async def note_delivered(
    order_id: FromPath[UUID],
    fulfillment_id: FromPath[UUID],
    orders: NamedDependency[OrdersContext],
    once: NamedDependency[Once],
) -> Response[OrderView]:
    """Note that a parcel has arrived."""
    return _shown(await actions.note_delivered(orders, order_id, fulfillment_id, once))

"""Webhooks of payment providers; one rule: nothing is believed before its signature is checked."""

from typing import Any

from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from tradewind.orders.actions.checkout import Checkouts
from tradewind.orders.actions.context import OrdersContext
from tradewind.orders.actions.recovery import take_notice
from tradewind.platform.errors import NotFound


@post("/v1/payments/webhooks/{provider:str}", status_code=200, tags=["Orders"])
async def receive_notice(
    request: Request[Any, Any, Any],
    provider: FromPath[str],
    orders: NamedDependency[OrdersContext],
    checkouts: NamedDependency[Checkouts],
) -> dict[str, str]:
    """Take a provider's signed notice, once however often it comes."""
    known = orders.providers.get(provider)
    if known is None:
        raise NotFound("There is no such payment provider.")
    body = await request.body()
    notice = known.read_notice(request.headers, body, orders.database.clock.now())
    await take_notice(orders, checkouts, provider, notice)
    return {"message": "taken"}

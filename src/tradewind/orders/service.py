"""How orders plugs in; one rule: only `compose` comes here."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from litestar import Router

from tradewind.orders.actions import carts as cart_actions
from tradewind.orders.actions.checkout import Checkouts
from tradewind.orders.actions.context import OrdersContext, OrdersSettings
from tradewind.orders.actions.erasure import export_orders
from tradewind.orders.actions.listing import list_standing
from tradewind.orders.actions.recovery import (
    forget_old,
    reconcile_payments,
    recover_checkouts,
    recover_refunds,
)
from tradewind.orders.client import RemoteOrders
from tradewind.orders.contract import CartAdoption, HeldOrders, Orders
from tradewind.orders.model.payment import PaymentProvider
from tradewind.orders.providers.test_provider import TestProvider
from tradewind.orders.reactions import REACTIONS
from tradewind.orders.routes import carts, checkout, orders, webhooks
from tradewind.platform.database import Database
from tradewind.platform.errors import StoreError
from tradewind.platform.ids import derive
from tradewind.platform.inbox import Inbox
from tradewind.platform.lifecycle import Worker
from tradewind.platform.outbox import Outbox
from tradewind.platform.remote.client import Remote
from tradewind.platform.service import Running, given
from tradewind.platform.web.problems import render
from tradewind.products.contract import Products

__all__ = [
    "DEPENDENCIES",
    "HANDLERS",
    "OrdersSettings",
    "PaymentProvider",
    "local",
    "make_test_provider",
    "remote",
]

HANDLERS = (
    carts.create_cart,
    carts.get_cart,
    carts.delete_cart,
    carts.set_line,
    carts.delete_line,
    checkout.check_out,
    checkout.check_out_cart,
    orders.list_orders,
    orders.get_order,
    orders.cancel_order,
    orders.capture_order,
    orders.refund_order,
    orders.ship_order,
    orders.note_delivered,
    webhooks.receive_notice,
)
"""Every route of the service."""
DEPENDENCIES = ("orders", "checkouts")
"""What its routes are given by name."""


class LocalOrders:
    """The contract, by plain calls."""

    def __init__(self, context: OrdersContext) -> None:
        self._context = context

    async def adopt_carts(self, adoptions: Sequence[CartAdoption]) -> list[bool]:
        """As the contract says."""
        return await cart_actions.adopt_carts(self._context, adoptions)

    async def standing(self, reservation_ids: Sequence[UUID]) -> list[bool]:
        """As the contract says."""
        return await list_standing(self._context, reservation_ids)

    async def export(self, user_id: UUID) -> HeldOrders:
        """As the contract says."""
        return await export_orders(self._context, user_id)


def make_test_provider(
    database: Database, settings: OrdersSettings, secret: bytes
) -> PaymentProvider:
    """The provider for trying the store out; its webhooks are signed with a key of the store's."""
    key = derive(secret, "test provider webhooks")
    return TestProvider(database, key, settings.test_settle_seconds)


def remote(link: Remote) -> Orders:
    """The service in another process."""
    return RemoteOrders(link)


def local(
    database: Database,
    settings: OrdersSettings,
    products: Products,
    providers: Sequence[PaymentProvider],
    secret: bytes,
) -> Running[Orders]:
    """The service in this process."""
    outbox = Outbox()
    context = OrdersContext(
        database=database,
        outbox=outbox,
        settings=settings,
        products=products,
        providers={one.name: one for one in providers},
        token_secret=derive(secret, "order tokens"),
        render=_rendered,
    )
    checkouts = Checkouts(context)
    router = Router(
        path="/",
        route_handlers=HANDLERS,
        dependencies={"orders": given(context), "checkouts": given(checkouts)},
    )
    reactions = {
        kind: [partial(reaction, context) for reaction in many] for kind, many in REACTIONS.items()
    }
    workers = (
        Worker("checkouts", partial(recover_checkouts, context, checkouts), every_seconds=1.0),
        Worker("payments", partial(reconcile_payments, context), every_seconds=0.5),
        Worker("refunds", partial(recover_refunds, context), every_seconds=2.0),
        Worker("orders forget", partial(forget_old, context), every_seconds=300.0),
    )
    return Running(
        name="orders",
        contract=LocalOrders(context),
        context=context,
        router=router,
        database=database,
        outbox=outbox,
        inbox=Inbox("orders", database, reactions),
        workers=workers,
    )


def _rendered(error: StoreError, request_id: str) -> tuple[int, bytes]:
    told = render(error, request_id)
    return told.status, told.body

"""A day's buying and giving back; one rule: a customer's steps in order, many customers at once."""

import time
from dataclasses import dataclass, field

import msgspec

from bench.real_year.client import Api
from bench.real_year.customers import Customers, address_of, email_of
from bench.real_year.deviations import Deviated
from bench.real_year.matching import GivingBack, Sale
from bench.real_year.mornings import CURRENCY
from bench.real_year.plan import Day
from bench.real_year.working import work_off


class Placed(msgspec.Struct):
    """What a checkout answers, as far as it matters here."""

    id: str


@dataclass(frozen=True, slots=True)
class Purchase:
    """One purchase as it was measured: how long its answer took, and its lines."""

    seconds: float
    lines: int


@dataclass(slots=True)
class Book:
    """What was done and acknowledged. `sales` by the order's id, the rest by its invoice."""

    sales: dict[str, Sale] = field(default_factory=dict[str, Sale])
    order_ids: dict[str, str] = field(default_factory=dict[str, str])
    prices: dict[str, dict[str, int]] = field(default_factory=dict[str, "dict[str, int]"])
    cancelled: dict[str, GivingBack] = field(default_factory=dict[str, GivingBack])
    refunded: list[GivingBack] = field(default_factory=list[GivingBack])
    purchases: list[Purchase] = field(default_factory=list[Purchase])


class Trading:
    """The customers' side of a day."""

    def __init__(
        self, api: Api, customers: Customers, book: Book, staff_token: str, at_once: int
    ) -> None:
        self._api = api
        self._customers = customers
        self._book = book
        self._staff_token = staff_token
        self._at_once = at_once

    async def trade(self, day: Day) -> None:
        """Everything that happened on this day."""
        by_buyer: dict[str, list[Sale | GivingBack]] = {}
        for event in day.events:
            sale = event.sale if isinstance(event, GivingBack) else event
            by_buyer.setdefault(email_of(sale), []).append(event)

        async def follow(events: list[Sale | GivingBack]) -> None:
            for event in events:
                try:
                    if isinstance(event, GivingBack):
                        await self._give_back(event)
                    else:
                        await self._buy(event, day)
                except Deviated:
                    continue  # it is noted; the buyer goes on

        await work_off(by_buyer.values(), follow, self._at_once)

    async def _buy(self, sale: Sale, day: Day) -> None:
        prices = {sku: day.prices[sku] for sku in sale.units}
        total = sum(units * prices[sku] for sku, units in sale.units.items())
        body = {
            "lines": [{"sku": sku, "quantity": units} for sku, units in sale.units.items()],
            "email": email_of(sale),
            "shippingAddress": address_of(sale),
            "payment": {"token": "tok_approved"},
            "expectedTotal": {"amount": total, "currency": CURRENCY},
        }
        token = self._customers.tokens.get(sale.customer)
        if sale.customer and token is None:
            self._api.deviations.note(f"invoice {sale.invoice}: its customer could not sign in")
            return
        began, key = time.monotonic(), f"real-year-buy-{sale.invoice}"
        answer = await self._api.send(
            "POST", "/v1/checkout", body, token=token, key=key, expect=201
        )
        self._book.purchases.append(Purchase(time.monotonic() - began, len(sale.units)))
        order = msgspec.json.decode(answer, type=Placed)
        self._book.sales[order.id] = sale
        self._book.order_ids[sale.invoice] = order.id
        self._book.prices[sale.invoice] = prices

    async def _give_back(self, step: GivingBack) -> None:
        sale = step.sale
        order_id = self._book.order_ids.get(sale.invoice)
        if order_id is None:
            self._api.deviations.note(f"{step.cancellation}: {sale.invoice} was never placed")
            return
        key, reason = f"real-year-{step.cancellation}-{sale.invoice}", reason_of(step)
        if step.whole:
            token = self._customers.tokens[sale.customer]
            path = f"/v1/orders/{order_id}/cancel"
            await self._api.send("POST", path, {"reason": reason}, token=token, key=key)
            self._book.cancelled[sale.invoice] = step
            return
        lines = [{"sku": sku, "quantity": units} for sku, units in step.units.items()]
        body, path = {"lines": lines, "reason": reason}, f"/v1/orders/{order_id}/refunds"
        token = self._staff_token
        await self._api.send("POST", path, body, token=token, key=key, expect=201)
        self._book.refunded.append(step)


def reason_of(step: GivingBack) -> str:
    """What is written on a refund: the month of it is read from here at the end."""
    return f"{step.at[:10]} {step.cancellation}"

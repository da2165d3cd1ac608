"""Orders in any order of requests and events, beside a model that knows only sums and states (P5).

Carts, checkouts with every token, captures, cancellations, refunds, parcels, deliveries, webhooks,
the same requests once more, events that travel late, an hour that passes, a customer who is erased;
whenever the store has come to rest, both must say the same, and `check_services` finds nothing.
"""

import asyncio
import time
from collections import Counter as Count
from collections.abc import Coroutine
from typing import Any, TypeVar
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from faults.stillness import checkout_body, dumps
from orders.modelled import AFTER, Modelled
from orders.parts import Answer, Counter, fresh_owner
from tradewind.platform.database import Address

Result = TypeVar("Result")
TOKENS = st.sampled_from(
    [
        "tok_approved",
        "tok_approved",
        "tok_authorize_only",
        "tok_pending",
        "tok_timeout",
        "tok_flaky",
        "tok_declined",
        "tok_insufficient_funds",
    ]
)
BASKET = st.dictionaries(st.integers(0, 2), st.integers(1, 3), min_size=1)
PICK = st.integers(0, 50)
PRICES = (1000, 250, 0)


class OrdersMachine(RuleBasedStateMachine):
    """The model, and the requests."""

    def __init__(self, shop: Counter, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.shop, self.loop = shop, loop
        self.orders: list[Modelled] = []
        self.sent: list[tuple[tuple[Any, ...], dict[str, str], Answer]] = []
        self.declined: list[str] = []
        self.skus: list[str] = []
        self.who: dict[str, str] = {}

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Waits for it."""
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        """Three goods, one of them free of charge; plenty of each."""
        self.skus = [self.do(self.shop.product(1000, price)) for price in PRICES]
        self.prices = dict(zip(self.skus, PRICES, strict=True))

    def _send(self, *request: Any, **headers: str) -> Answer:
        named = {"idempotency-key": uuid4().hex, **headers}
        answer = self.do(self.shop.ask(*request, **named))
        assert answer.status < 500, answer
        if answer.status < 300:
            self.sent.append((request, named, answer))
        return answer

    def _staff(self, order: Modelled, what: str, body: Any = None) -> Answer:
        return self._send("POST", f"/v1/orders/{order.id}/{what}", body or {}, **self.shop.staff)

    def _placed(self, answer: Answer, email: str, lines: dict[str, int], token: str) -> None:
        if token in ("tok_declined", "tok_insufficient_funds"):
            assert (answer.status, answer["code"]) == (402, "payment_declined")
            self.declined.append(email)
            return
        order = Modelled(answer["id"], email, lines, self.prices)
        assert {line["sku"]: line["quantity"] for line in answer["lines"]} == lines
        assert answer["total"]["amount"] == answer["subtotal"]["amount"] == order.total
        order.attempt = answer["payment"]["id"]
        order.payment = AFTER.get(token, "paid")
        assert answer.status == (202 if order.payment == "pending" else 201)
        assert answer["paymentStatus"] == order.payment
        if order.payment == "paid":
            order.paid()
        elif order.payment == "authorized":
            order.mails["order_confirmed"] += 1
        self.orders.append(order)

    @rule(basket=BASKET, token=TOKENS, expected=st.sampled_from([0, 0, 0, 1]), as_who=st.booleans())
    def buy(self, basket: dict[int, int], token: str, expected: int, as_who: bool) -> None:
        """The whole purchase in one request; with a wrong expectation nothing happens."""
        lines = {self.skus[place]: n for place, n in basket.items()}
        total = sum(self.prices[sku] * n for sku, n in lines.items())
        email = f"{uuid4().hex[:12]}@example.com"
        wanted = [{"sku": sku, "quantity": n} for sku, n in lines.items()]
        amount = {"amount": total + expected, "currency": "EUR"}
        body = checkout_body(email, token, lines=wanted, expectedTotal=amount)
        answer = self._send("POST", "/v1/checkout", body, **(self.who if as_who else {}))
        if expected:
            assert (answer.status, answer["code"]) == (409, "total_changed")
        else:
            self._placed(answer, email, lines, token)

    @rule(
        first=BASKET,
        changes=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=3),
        token=TOKENS,
    )
    def buy_cart(self, first: dict[int, int], changes: list[tuple[int, int]], token: str) -> None:
        """A cart that is filled, changed, bought, and cannot be bought again."""
        lines = {self.skus[place]: n for place, n in first.items()}
        cart = self.do(self.shop.cart(lines))
        headers = {"cart-token": cart["token"]}
        for place, quantity in changes:
            sku = self.skus[place]
            path = f"/v1/carts/{cart['id']}/lines/{sku}"
            cart = self._send("PUT", path, {"quantity": quantity}, **headers)
            lines[sku] = quantity
        self.sent = [one for one in self.sent if one[0][0] == "POST"]
        lines = {sku: n for sku, n in lines.items() if n}
        email = f"{uuid4().hex[:12]}@example.com"
        body = checkout_body(email, token)
        answer = self._send("POST", f"/v1/carts/{cart['id']}/checkout", body, **headers)
        if not lines:
            assert (answer.status, answer["code"]) == (422, "cart_empty")
            return
        assert cart["total"]["amount"] == sum(self.prices[sku] * n for sku, n in lines.items())
        self._placed(answer, email, lines, token)
        again = self._send("POST", f"/v1/carts/{cart['id']}/checkout", body, **headers)
        if answer.status == 402:
            assert again.status == 402
            self.declined.append(email)
        else:
            assert (again.status, again["code"]) == (409, "cart_checked_out")

    def _some(self, pick: int) -> Modelled:
        return self.orders[pick % len(self.orders)]

    @precondition(lambda self: self.orders)
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        """Before anything was shipped; what is not decided yet goes back when it comes in."""
        order = self._some(pick)
        answer = self._staff(order, "cancel")
        if order.status == "cancelled" or order.shipped:
            assert (answer.status, answer["code"]) == (409, "wrong_order_state")
            return
        assert answer.status == 200, answer
        order.status = "cancelled"
        if order.captured > order.refunded or order.payment == "authorized":
            order.payment = "refunded"
        order.refunded = order.captured
        order.mails["order_cancelled"] += 1

    @precondition(lambda self: self.orders)
    @rule(pick=PICK)
    def capture(self, pick: int) -> None:
        """What was authorized, once."""
        order = self._some(pick)
        answer = self._staff(order, "capture")
        if order.status == "placed" and order.payment == "authorized":
            assert (answer.status, answer["paymentStatus"]) == (200, "paid")
            order.payment, order.captured = "paid", order.total
        else:
            assert (answer.status, answer["code"]) == (409, "wrong_order_state")

    @precondition(lambda self: self.orders)
    @rule(pick=PICK, amount=st.none() | st.integers(1, 2500), units=st.booleans())
    def refund(self, pick: int, amount: int | None, units: bool) -> None:
        """In part, with units or without, or all that is left; never more than was captured."""
        order = self._some(pick)
        left = order.left(order.returned)
        lines = dict(list(left.items())[:1]) if units else {}
        body: dict[str, Any] = {"reason": "because"}
        if amount is not None:
            body["amount"] = amount
        if lines:
            body["lines"] = [{"sku": sku, "quantity": n} for sku, n in lines.items()]
        answer = self._staff(order, "refunds", body)
        rest = order.captured - order.refunded
        price = sum(order.prices[sku] * n for sku, n in lines.items())
        worth = amount if amount is not None else (price if lines else rest)
        if not order.may_be_refunded or (worth == 0 and not lines):
            assert (answer.status, answer["code"]) == (409, "wrong_order_state"), answer
        elif worth > rest:
            assert (answer.status, answer["code"]) == (409, "refund_too_large")
            assert answer["refundable"]["amount"] == rest
        else:
            assert answer.status == 201, answer
            order.give_back(worth, lines)
            assert answer["paymentStatus"] == order.payment

    @precondition(lambda self: self.orders)
    @rule(pick=PICK, whole=st.booleans())
    def ship(self, pick: int, whole: bool) -> None:
        """Paid and authorized orders, each unit once."""
        order = self._some(pick)
        left = order.left(order.shipped)
        some = left if whole else dict.fromkeys(list(left)[:1], 1)
        body = {"lines": [{"sku": sku, "quantity": n} for sku, n in some.items()]}
        answer = self._staff(order, "fulfillments", body if some and not whole else {})
        may = order.status == "placed" and order.payment not in ("pending", "failed", "refunded")
        if not may or not some:
            assert (answer.status, answer["code"]) == (409, "wrong_order_state")
            return
        assert answer.status == 201, answer
        for sku, n in some.items():
            order.shipped[sku] = order.shipped.get(sku, 0) + n
        [parcel] = [one["id"] for one in answer["fulfillments"] if one["id"] not in order.parcels]
        order.parcels[parcel] = False
        order.mails["order_shipped"] += 1
        assert answer["fulfillmentStatus"] == order.fulfillment

    @precondition(lambda self: any(order.parcels for order in self.orders))
    @rule(pick=PICK)
    def deliver(self, pick: int) -> None:
        """Each parcel arrives once."""
        some = [order for order in self.orders if order.parcels]
        order = some[pick % len(some)]
        parcel = list(order.parcels)[pick % len(order.parcels)]
        answer = self._staff(order, f"fulfillments/{parcel}/delivered")
        if order.parcels[parcel]:
            assert answer.status == 409
        else:
            assert answer.status == 200
            order.parcels[parcel] = True
            order.mails["order_delivered"] += 1
            assert answer["fulfillmentStatus"] == order.fulfillment

    @precondition(lambda self: any(order.payment == "pending" for order in self.orders))
    @rule(pick=PICK, captured=st.booleans(), times=st.integers(1, 2))
    def provider_writes(self, pick: int, captured: bool, times: int) -> None:
        """A payment that was open is decided by webhook, and told once more."""
        some = [order for order in self.orders if order.payment == "pending"]
        order = some[pick % len(some)]
        self.do(
            self.shop.store.quietly(
                "orders",
                "UPDATE test_provider_charges SET verdict = $2, captured_minor = "
                "CASE $2 WHEN 'captured' THEN amount_minor ELSE 0 END "
                "WHERE attempt_id = $1::text::uuid",
                order.attempt,
                "captured" if captured else "declined",
            )
        )
        for _ in range(times):
            assert self._webhook(order, "captured" if captured else "declined").status == 200
        if captured:
            order.paid()
        else:
            order.mails["payment_failed"] += order.status == "placed"
            order.status, order.payment = "cancelled", "failed"

    def _webhook(self, order: Modelled, verdict: str) -> Answer:
        body = dumps(
            {
                "attemptId": order.attempt,
                "orderId": order.id,
                "verdict": verdict,
                "amount": {"amount": order.total, "currency": "EUR"},
            }
        )
        name, now = uuid4().hex, int(time.time())
        signed = {
            "webhook-id": name,
            "webhook-timestamp": str(now),
            "webhook-signature": self.shop.store.provider.sign(name, now, body),
        }
        return self.do(self.shop.ask("POST", "/v1/payments/webhooks/test", body, **signed))

    @precondition(lambda self: self.orders)
    @rule(pick=PICK, verdict=st.sampled_from(["captured", "declined", "pending", "authorized"]))
    def provider_writes_late(self, pick: int, verdict: str) -> None:
        """What is decided stays decided, whatever comes afterwards."""
        order = self._some(pick)
        if order.payment != "pending":
            assert self._webhook(order, verdict).status == 200

    @precondition(lambda self: self.sent)
    @rule(pick=PICK)
    def again(self, pick: int) -> None:
        """A request that succeeded, with its key once more: the very same answer, no effect."""
        request, headers, answer = self.sent[pick % len(self.sent)]
        if request[0] != "POST" or (self.who and headers.get("authorization") == "gone"):
            return
        repeated = self.do(self.shop.ask(*request, **headers))
        assert (repeated.status, repeated.raw) == (answer.status, answer.raw), request

    @rule()
    def events_travel(self) -> None:
        """A little of what was published arrives."""
        self.do(self.shop.store.relay())

    @rule()
    def an_hour_passes(self) -> None:
        """Pauses, leases and reservations are over; workers go round once."""
        self.do(self.shop.store.let_an_hour_pass())
        self.do(self.shop.store.drain())
        self._decide_pending()

    def _decide_pending(self) -> None:
        for order in self.orders:
            if order.payment == "pending":
                order.paid()

    @precondition(lambda self: not self.who)
    @rule()
    def somebody_signs_in(self) -> None:
        """Some of the purchases are a customer's from here on."""
        self.who = self.do(self.shop.customer())

    @precondition(lambda self: self.who)
    @rule()
    def the_customer_is_erased(self) -> None:
        """The person goes; orders, sums and goods stay."""
        body = {"password": "correct horse battery staple"}
        answer = self.do(self.shop.ask("DELETE", "/v1/me", body, **self.who))
        assert answer.status in (200, 204), answer
        bearer = self.who["authorization"]
        self.sent = [one for one in self.sent if one[1].get("authorization") != bearer]
        self.who = {}
        self.do(self.shop.store.drain())
        self._decide_pending_if_due()
        query = "SELECT id FROM orders WHERE email = 'erased@invalid'"
        erased = self.do(self.shop.store.quietly("orders", query))
        ids = {str(row[0]) for row in erased}
        for order in self.orders:
            order.erased = order.erased or order.id in ids

    def _decide_pending_if_due(self) -> None:
        """What the drain found due just then: the store knows better than the model."""
        for order in self.orders:
            seen = self.do(self.shop.order(order.id))
            if order.payment == "pending" and seen["paymentStatus"] in ("paid", "refunded"):
                order.paid()

    @rule()
    def rest(self) -> None:
        """Everything has come to its end: the model and the store say the same."""
        shop = self.shop
        self.do(shop.store.settle())
        self._decide_pending()
        assert self.do(shop.store.undone()) == {}
        away: Count[str] = Count()
        for order in self.orders:
            seen = self.do(shop.order(order.id))
            order.check(seen)
            assert self.do(shop.kept(order.id)) == order.captured - order.refunded
            away += Count(order.units_away())
            if not order.erased:
                assert self._mails(order.email) == order.mails, order.id
        for email in set(self.declined):
            assert self._mails(email)["payment_failed"] == self.declined.count(email)
        for sku in self.skus:
            assert self.do(shop.level(sku)) == (1000 - away[sku], 0)
        assert self.do(shop.broken()) == []

    def _mails(self, email: str) -> Count[str]:
        query = "SELECT kind FROM messages WHERE recipient = $1"
        rows = self.do(self.shop.store.quietly("notifications", query, email))
        return Count(row[0] for row in rows)

    def teardown(self) -> None:
        """It ends at rest."""
        if self.skus:
            self.rest()


def test_orders_in_any_order(postgres: Address) -> None:
    """Whatever is asked in whatever order, sums, states, stock, mails and ledgers agree."""
    loop = asyncio.new_event_loop()
    shop = loop.run_until_complete(Counter.open(loop.run_until_complete(fresh_owner(postgres))))
    try:
        run_state_machine_as_test(
            lambda: OrdersMachine(shop, loop),  # pyright: ignore[reportArgumentType]  it is only called
            settings=settings(
                max_examples=40,
                stateful_step_count=25,
                deadline=None,
                derandomize=True,
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]  all
            ),
        )
    finally:
        loop.run_until_complete(shop.close())
        loop.close()

"""What happens when the process ends in the middle of it; each scenario and its one right end.

`prepare` runs in a process that lives on, `act` in the one that is ended at every place in turn.
`ask` sends the request that a customer would send again, with its key. The end is the same wherever
the process was ended: that is the promise.
"""

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from faults.stillness import StillStore, checkout_body, dumps
from tradewind.products.contract import Reserve, Wanted

Answered = tuple[int, bytes]
AMOUNT = 1250
QUANTITY = 2


@dataclass
class Run:
    """One run of a scenario: who buys what, and what is known of it."""

    sku: str
    scarce: str
    """A SKU of which there is one unit."""
    bearer: str
    """The session of a customer."""
    staff: str
    """The session of staff."""
    email: str = field(default_factory=lambda: f"{uuid4().hex[:16]}@example.com")
    key: str = field(default_factory=lambda: uuid4().hex)
    more: dict[str, Any] = field(default_factory=dict)
    """What `prepare` found out: ids, tokens, bodies."""

    def guest(self) -> dict[str, str]:
        """The headers of a guest's request."""
        return {"idempotency-key": self.key}

    def customer(self) -> dict[str, str]:
        """The headers of the customer's."""
        return {"idempotency-key": self.key, "authorization": f"Bearer {self.bearer}"}

    def by_staff(self, key: str | None = None) -> dict[str, str]:
        """The headers of a request by staff."""
        return {"idempotency-key": key or self.key, "authorization": f"Bearer {self.staff}"}


@dataclass(frozen=True)
class End:
    """How it must end, wherever the process was ended on the way."""

    status: int
    orders: tuple[tuple[str, str, str], ...] = ()
    """Status, payment status and fulfilment status of the buyer's orders."""
    kept: int = 0
    """What the payment provider holds for us, in minor units."""
    mails: Mapping[str, int] = field(default_factory=dict[str, int])
    entries: Mapping[str, int] = field(default_factory=dict[str, int])
    on_hand: int = 0
    """By how much there is less or more on hand than before."""


Step = Callable[[StillStore, Run], Awaitable[Any]]
Ask = Callable[[StillStore, Run], Awaitable[Answered]]


async def _nothing(_store: StillStore, _run: Run) -> None:
    """Nothing to prepare."""


@dataclass(frozen=True)
class Scenario:
    """One story."""

    ask: Ask
    end: End
    prepare: Step = _nothing
    after: Step = _nothing
    """What the process does once it has answered."""
    services: tuple[str, ...] = ("orders", "products", "notifications")
    """What the process connects to: without sessions nobody asks users."""
    scarce: bool = False
    """It needs a SKU of which there is one unit."""
    half_done: str | None = None
    """Before all that, a process has asked and was ended when it was first told this."""


ALL = ("orders", "products", "notifications", "users")
PAID = (("placed", "paid", "unfulfilled"),)
TOTAL = AMOUNT * QUANTITY
BOUGHT = End(201, PAID, TOTAL, {"order_confirmed": 1}, {}, -QUANTITY)


def _one_request(token: str, quantity: int = QUANTITY, **more: Any) -> Ask:
    async def ask(store: StillStore, run: Run) -> Answered:
        lines = [{"sku": run.more.get("sku", run.sku), "quantity": quantity}]
        body = checkout_body(run.email, token, lines=lines, **more)
        return await store.ask("POST", "/v1/checkout", body, **run.guest())

    return ask


async def _relays(store: StillStore, _run: Run) -> None:
    while await store.relay():
        pass


async def _payment_is_decided(store: StillStore, run: Run) -> None:
    await _relays(store, run)
    await store.let_an_hour_pass()
    await store.step("payments")
    await _relays(store, run)


async def _make_cart(store: StillStore, run: Run) -> None:
    body = {"lines": [{"sku": run.sku, "quantity": QUANTITY}]}
    headers = {"authorization": f"Bearer {run.bearer}"}
    status, answer = await store.ask("POST", "/v1/carts", body, **headers)
    assert status == 201, answer
    run.more["cart"] = json.loads(answer)["id"]


async def _buy_cart(store: StillStore, run: Run) -> Answered:
    path = f"/v1/carts/{run.more['cart']}/checkout"
    return await store.ask("POST", path, checkout_body(run.email, "tok_approved"), **run.customer())


def _bought(token: str) -> Step:
    async def prepare(store: StillStore, run: Run) -> None:
        key, run.key = run.key, uuid4().hex
        status, answer = await _one_request(token)(store, run)
        assert status in (201, 202), answer
        run.key, run.more["order"] = key, json.loads(answer)["id"]
        run.more["attempt"] = json.loads(answer)["payment"]["id"]
        await _relays(store, run)

    return prepare


def _to_order(what: str, body: Any) -> Ask:
    async def ask(store: StillStore, run: Run) -> Answered:
        path = f"/v1/orders/{run.more['order']}/{what}"
        return await store.ask("POST", path, body, **run.by_staff())

    return ask


async def _ship_and_deliver(store: StillStore, run: Run) -> Answered:
    order = f"/v1/orders/{run.more['order']}"
    shipped = await store.ask("POST", f"{order}/fulfillments", {"carrier": "DHL"}, **run.by_staff())
    if shipped[0] != 201:
        return shipped
    parcel = json.loads(shipped[1])["fulfillments"][0]["id"]
    return await store.ask(
        "POST",
        f"{order}/fulfillments/{parcel}/delivered",
        **run.by_staff(f"{run.key} delivered"),
    )


def _webhook(verdict: str) -> Ask:
    async def ask(store: StillStore, run: Run) -> Answered:
        body = dumps(
            {
                "attemptId": run.more["attempt"],
                "orderId": run.more["order"],
                "verdict": verdict,
                "amount": {"amount": TOTAL, "currency": "EUR"},
            }
        )
        now = int(time.time())
        signed = {
            "webhook-id": run.key,
            "webhook-timestamp": str(now),
            "webhook-signature": store.provider.sign(run.key, now, body),
        }
        if verdict == "captured":
            # What the provider says it took stands in its own book.
            await store.quietly(
                "orders",
                "UPDATE test_provider_charges SET verdict = 'captured', "
                "captured_minor = amount_minor WHERE attempt_id = $1",
                run.more["attempt"],
            )
        elif verdict == "declined":
            await store.quietly(
                "orders",
                "UPDATE test_provider_charges SET verdict = 'declined' WHERE attempt_id = $1",
                run.more["attempt"],
            )
        return await store.ask("POST", "/v1/payments/webhooks/test", body, **signed)

    return ask


async def _abandon(store: StillStore, run: Run) -> None:
    """Somebody has reserved and is never seen again."""
    wish = Reserve(uuid4(), (Wanted(run.sku, QUANTITY),))
    products = store.context("orders").products
    await products.reserve([wish])


async def _expire(store: StillStore, run: Run) -> Answered:
    await store.let_an_hour_pass()
    await store.step("expiry")
    return 200, b""


async def _recover(store: StillStore, run: Run) -> None:
    await store.let_an_hour_pass()
    await store.step("expiry")
    await store.let_an_hour_pass()
    await store.step("checkouts")
    await _relays(store, run)


async def _in_time(store: StillStore, run: Run) -> Answered:
    """Recovery comes before the reservation is over."""
    await store.quietly(
        "orders", "UPDATE checkouts SET due_at = now() - interval '1 s' WHERE state = 'open'"
    )
    await store.step("checkouts")
    await _relays(store, run)
    return await _one_request("tok_approved")(store, run)


async def _too_late(store: StillStore, run: Run) -> Answered:
    """Recovery comes after the reservation is over."""
    await _recover(store, run)
    return await _one_request("tok_approved")(store, run)


async def _of_the_last_one(_store: StillStore, run: Run) -> None:
    """There is one unit left, and it is wanted."""
    run.more["sku"] = run.scarce


async def _sold_to_others(store: StillStore, run: Run) -> None:
    """An order stands on a reservation that ran out before it was placed (a process that hung)."""
    run.more["sku"] = run.scarce
    key, run.key = run.key, uuid4().hex
    status, answer = await _one_request("tok_approved", 1)(store, run)
    assert status == 201, answer
    run.key, run.more["order"] = key, json.loads(answer)["id"]
    await store.lose_reservations(run.scarce)
    await store.quietly(
        "products",
        """
        WITH sold AS (INSERT INTO movements (id, sku, delta, reason)
            VALUES (gen_random_uuid(), $1, -1, 'sold_elsewhere'))
        UPDATE stock SET on_hand = on_hand - 1 WHERE sku = $1
        """,
        run.scarce,
    )


async def _tell_of_the_loss(store: StillStore, run: Run) -> Answered:
    await _relays(store, run)
    await store.let_an_hour_pass()
    await store.step("refunds")
    headers = {"authorization": f"Bearer {run.staff}"}
    status, answer = await store.ask("GET", f"/v1/orders/{run.more['order']}", None, **headers)
    return status, dumps(json.loads(answer)["status"])


SCENARIOS: Mapping[str, Scenario] = {
    "a purchase in one request": Scenario(_one_request("tok_approved"), BOUGHT, after=_relays),
    "a purchase of the last one": Scenario(
        _one_request("tok_approved", 1),
        End(201, PAID, AMOUNT, {"order_confirmed": 1}, {}, -1),
        prepare=_of_the_last_one,
        after=_relays,
        scarce=True,
    ),
    "a purchase by cart": Scenario(
        _buy_cart,
        End(201, PAID, TOTAL, {"order_confirmed": 1}, {"order_confirmed": 1}, -QUANTITY),
        prepare=_make_cart,
        after=_relays,
        services=ALL,
    ),
    "a declined card": Scenario(
        _one_request("tok_declined"), End(402, mails={"payment_failed": 1}), after=_relays
    ),
    "an answer that is lost": Scenario(
        _one_request("tok_timeout"),
        End(202, PAID, TOTAL, {"order_confirmed": 1}, {}, -QUANTITY),
        after=_payment_is_decided,
    ),
    "a provider that stumbles": Scenario(_one_request("tok_flaky"), BOUGHT, after=_relays),
    "a payment that is decided later": Scenario(
        _one_request("tok_pending"),
        End(202, PAID, TOTAL, {"order_confirmed": 1}, {}, -QUANTITY),
        after=_payment_is_decided,
    ),
    "a refusal for want of stock": Scenario(
        _one_request("tok_approved", 90_000), End(409), after=_relays
    ),
    "a refusal for another total": Scenario(
        _one_request("tok_approved", expectedTotal={"amount": 1, "currency": "EUR"}),
        End(409),
        after=_relays,
    ),
    "a webhook that says paid": Scenario(
        _webhook("captured"),
        End(200, PAID, TOTAL, {"order_confirmed": 1}, {}, -QUANTITY),
        prepare=_bought("tok_pending"),
        after=_relays,
    ),
    "a webhook that says declined": Scenario(
        _webhook("declined"),
        End(200, (("cancelled", "failed", "unfulfilled"),), 0, {"payment_failed": 1}),
        prepare=_bought("tok_pending"),
        after=_relays,
    ),
    "a capture": Scenario(
        _to_order("capture", {}),
        End(200, PAID, TOTAL, {"order_confirmed": 1}, {}, -QUANTITY),
        prepare=_bought("tok_authorize_only"),
        after=_relays,
        services=ALL,
    ),
    "a cancellation": Scenario(
        _to_order("cancel", {}),
        End(
            200,
            (("cancelled", "refunded", "unfulfilled"),),
            0,
            {"order_confirmed": 1, "order_cancelled": 1},
        ),
        prepare=_bought("tok_approved"),
        after=_relays,
        services=ALL,
    ),
    "a refund of one unit": Scenario(
        _to_order("refunds", {"reason": "late", "amount": 500}),
        End(
            201,
            (("placed", "partially_refunded", "unfulfilled"),),
            TOTAL - 500,
            {"order_confirmed": 1, "order_refunded": 1},
            {},
            -QUANTITY,
        ),
        prepare=_bought("tok_approved"),
        after=_relays,
        services=ALL,
    ),
    "a parcel": Scenario(
        _ship_and_deliver,
        End(
            200,
            (("placed", "paid", "delivered"),),
            TOTAL,
            {"order_confirmed": 1, "order_shipped": 1, "order_delivered": 1},
            {},
            -QUANTITY,
        ),
        prepare=_bought("tok_approved"),
        after=_relays,
        services=ALL,
    ),
    "a reservation that runs out": Scenario(_expire, End(200), prepare=_abandon),
    "recovery of what was saved and not asked for": Scenario(
        _in_time, BOUGHT, half_done="provider before charge"
    ),
    "recovery of what was taken and not saved": Scenario(
        _in_time, BOUGHT, half_done="provider after charge"
    ),
    "recovery too late to have the stock": Scenario(
        _too_late, BOUGHT, half_done="provider after charge"
    ),
    "an order whose stock is sold to others": Scenario(
        _tell_of_the_loss,
        End(
            200,
            (("cancelled", "refunded", "unfulfilled"),),
            0,
            {"order_confirmed": 1, "order_cancelled": 1},
            on_hand=-1,
        ),
        prepare=_sold_to_others,
        scarce=True,
        services=ALL,
    ),
}

"""A provider's word counts if it is the provider's, fresh, new, about what we asked for (P15)."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import pytest

from faults.stillness import dumps
from orders.parts import Answer, Counter

pytestmark = pytest.mark.asyncio


class Letter:
    """A webhook as the provider would send it; each part can be something else."""

    def __init__(self, counter: Counter, order: Answer, verdict: str = "captured") -> None:
        self.counter = counter
        self.id = uuid4().hex
        self.at = int(time.time())
        self.body: dict[str, Any] = {
            "attemptId": order["payment"]["id"],
            "orderId": order["id"],
            "verdict": verdict,
            "amount": {"amount": order["total"]["amount"], "currency": order["currency"]},
        }
        self.changes: dict[str, str] = {}

    async def book(self) -> None:
        """Writes into the provider's own book what the letter says, as if it were so."""
        await self.counter.store.quietly(
            "orders",
            "UPDATE test_provider_charges SET verdict = $2, captured_minor = "
            "CASE $2 WHEN 'captured' THEN amount_minor ELSE 0 END "
            "WHERE attempt_id = $1::text::uuid",
            self.body["attemptId"],
            self.body["verdict"],
        )

    async def send(self, provider: str = "test") -> Answer:
        """Signs it, puts the changed headers in, sends it."""
        body = dumps(self.body)
        signed = {
            "webhook-id": self.id,
            "webhook-timestamp": str(self.at),
            "webhook-signature": self.counter.store.provider.sign(self.id, self.at, body),
            **self.changes,
        }
        path = f"/v1/payments/webhooks/{provider}"
        return await self.counter.ask("POST", path, body, **signed)


async def pending(counter: Counter) -> Answer:
    """An order whose payment is open."""
    return await counter.ordered(await counter.product(5), "tok_pending")


async def status_of(counter: Counter, order: Answer) -> str:
    """Its payment, as it stands."""
    return (await counter.order(order["id"]))["paymentStatus"]


async def test_paid_by_webhook_once_or_again(counter: Counter) -> None:
    """200 for the first and for every repetition; the order is paid, confirmed and told of once."""
    order = await pending(counter)
    letter = Letter(counter, order)
    await letter.book()
    for _ in range(3):
        assert (await letter.send()).status == 200
    await counter.store.drain()
    assert await status_of(counter, order) == "paid"
    rows = await counter.store.quietly(
        "notifications", "SELECT count(*) FROM messages WHERE recipient = $1", order["email"]
    )
    assert rows[0][0] == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-signature", "v1,AAAA"),
        ("webhook-signature", ""),
        ("webhook-signature", "v2,AAAA v1a,BBBB"),
        ("webhook-signature", "v1,\u00e4"),
        ("webhook-id", "another"),
        ("webhook-id", ""),
        ("webhook-id", "x" * 256),
        ("webhook-timestamp", ""),
        ("webhook-timestamp", "soon"),
        ("webhook-timestamp", "-1"),
        ("webhook-timestamp", "9" * 30),
        ("webhook-timestamp", "1e9"),
    ],
)
async def test_a_letter_that_was_tampered_with(counter: Counter, name: str, value: str) -> None:
    """400, and nothing is paid."""
    order = await pending(counter)
    letter = Letter(counter, order)
    letter.changes = {name: value}
    answer = await letter.send()
    assert (answer.status, answer["code"]) == (400, "bad_signature")
    assert await status_of(counter, order) == "pending"


@pytest.mark.parametrize(
    ("age", "status"), [(0, 200), (290, 200), (320, 400), (-30, 400), (10**9, 400)]
)
async def test_neither_too_old_nor_from_the_future(counter: Counter, age: int, status: int) -> None:
    """Signed properly, but 300 seconds is the most, and tomorrow's letters are not of today."""
    order = await pending(counter)
    letter = Letter(counter, order)
    letter.at -= age
    if status == 200:
        await letter.book()
    assert (await letter.send()).status == status
    assert await status_of(counter, order) == ("paid" if status == 200 else "pending")


async def test_a_signature_of_another_body(counter: Counter) -> None:
    """The signature is over every byte."""
    order = await pending(counter)
    letter = Letter(counter, order)
    signature = counter.store.provider.sign(letter.id, letter.at, dumps(letter.body))
    letter.body["verdict"] = "authorized"
    letter.changes = {"webhook-signature": signature}
    assert (await letter.send()).status == 400
    assert await status_of(counter, order) == "pending"


@pytest.mark.parametrize(
    "change",
    [
        {"amount": {"amount": 999, "currency": "EUR"}},
        {"amount": {"amount": 1001, "currency": "EUR"}},
        {"amount": {"amount": 0, "currency": "EUR"}},
        {"amount": {"amount": 1000, "currency": "USD"}},
        {"orderId": str(uuid4())},
    ],
)
async def test_another_amount_currency_or_order_pays_nothing(
    counter: Counter, change: dict[str, Any]
) -> None:
    """Properly signed, but not what we asked for: refused, and noted by nobody as handled."""
    order = await pending(counter)
    letter = Letter(counter, order)
    letter.body |= change
    answer = await letter.send()
    assert (answer.status, answer["code"]) == (422, "notice_mismatch")
    assert await status_of(counter, order) == "pending"
    good = Letter(counter, order)
    await good.book()
    assert (await good.send()).status == 200
    assert await status_of(counter, order) == "paid"


async def test_an_attempt_of_another_order(counter: Counter) -> None:
    """The right order's id with another order's attempt pays neither."""
    one, other = await pending(counter), await pending(counter)
    letter = Letter(counter, one)
    letter.body["attemptId"] = other["payment"]["id"]
    assert (await letter.send()).status == 422
    assert await status_of(counter, one) == await status_of(counter, other) == "pending"


async def test_an_attempt_that_nobody_made(counter: Counter) -> None:
    """404, whatever it says."""
    letter = Letter(counter, await pending(counter))
    letter.body["attemptId"] = str(uuid4())
    assert (await letter.send()).status == 404


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"verdict": "captured"}', b'{"attemptId": 7}']
)
async def test_signed_nonsense(counter: Counter, body: bytes) -> None:
    """Not a notice: 400, never a 500."""
    now, name = int(time.time()), uuid4().hex
    signed = {
        "webhook-id": name,
        "webhook-timestamp": str(now),
        "webhook-signature": counter.store.provider.sign(name, now, body),
    }
    answer = await counter.ask("POST", "/v1/payments/webhooks/test", body, **signed)
    assert answer.status == 400, answer


async def test_an_unknown_provider(counter: Counter) -> None:
    """There is nothing at its address."""
    assert (await Letter(counter, await pending(counter)).send("nobody")).status == 404


@pytest.mark.parametrize(
    ("verdicts", "end"),
    [
        (("pending", "captured", "declined"), ("placed", "paid", 1000)),
        (("captured", "pending", "captured"), ("placed", "paid", 1000)),
        (("declined", "captured"), ("cancelled", "failed", 0)),
        (("authorized", "pending"), ("placed", "authorized", 0)),
    ],
)
async def test_in_any_order_the_first_decision_stands(
    counter: Counter, verdicts: tuple[str, ...], end: tuple[str, str, int]
) -> None:
    """Letters come late, twice and in disorder; what was decided once stays decided."""
    order = await pending(counter)
    decided = next(one for one in verdicts if one != "pending")
    await Letter(counter, order, decided).book()
    for verdict in verdicts:
        assert (await Letter(counter, order, verdict).send()).status == 200
    await counter.store.drain()
    seen = await counter.order(order["id"])
    assert (seen["status"], seen["paymentStatus"]) == end[:2]
    captured = seen["payment"]["captured"]["amount"]
    assert captured == end[2]


async def test_each_id_counts_once(counter: Counter) -> None:
    """A letter with an id that was here before is taken, and read by nobody, whatever it says."""
    order = await pending(counter)
    letter = Letter(counter, order, "pending")
    assert (await letter.send()).status == 200
    letter.body["verdict"] = "captured"
    assert (await letter.send()).status == 200
    assert await status_of(counter, order) == "pending"


@pytest.mark.parametrize(
    ("token", "status", "sold"), [("tok_approved", 201, 1), ("tok_declined", 402, 0)]
)
async def test_a_letter_that_overtakes_the_checkout(
    counter: Counter, token: str, status: int, sold: int
) -> None:
    """The provider writes before our own call has its answer: one end, and one answer."""
    sku, key = await counter.product(5), uuid4().hex
    context = counter.store.context("orders")
    provider = context.providers["test"]
    letters: list[Answer] = []

    class Hasty:
        name = "test"

        async def charge(self, wish: Any) -> Any:
            charged = await provider.charge(wish)
            letter = Letter.__new__(Letter)
            letter.counter, letter.id, letter.at = counter, uuid4().hex, int(time.time())
            letter.body = {
                "attemptId": str(wish.attempt_id),
                "orderId": str(wish.order_id),
                "verdict": charged.verdict,
                "amount": {"amount": wish.amount_minor, "currency": wish.currency},
            }
            letter.changes = {}
            letters.append(await letter.send())
            return charged

        def read_notice(self, *arguments: Any) -> Any:
            return provider.read_notice(*arguments)

        def sign(self, *arguments: Any) -> str:
            return provider.sign(*arguments)

    context.providers["test"] = Hasty()
    try:
        bought = await asyncio.wait_for(counter.buy(sku, token, key=key, email="a@example.com"), 60)
    finally:
        context.providers["test"] = provider
    assert [one.status for one in letters] == [200]
    assert bought.status == status
    again = await counter.buy(sku, token, key=key, email="a@example.com")
    assert again.raw == bought.raw
    await counter.store.drain()
    assert await counter.level(sku) == (5 - sold, 0)
    if sold:
        assert await counter.kept(bought["id"]) == 1000

"""No card number is accepted, stored or logged, whatever it is dressed up as (P20)."""

import io
import logging
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import structlog

from orders.parts import Counter
from shop import ADDRESS
from tradewind.orders.routes.bodies import refuse_card_numbers
from tradewind.platform.telemetry import configure_logging
from tradewind.platform.web.bodies import FieldFault

# Numbers that card schemes publish for testing.
VISA, AMEX, MASTERCARD, MAESTRO = (
    "4111111111111111",
    "378282246310005",
    "5555555555554444",
    "6759649826438453",
)


def dressed(number: str) -> list[str]:
    """The ways in which people write a number."""
    groups = [number[start : start + 4] for start in range(0, len(number), 4)]
    written = [
        sep.join(groups) for sep in ("", " ", "-", ".", "  ", " - ", "\u00a0", "\u2013", "_", "/")
    ]
    return [
        *written,
        " ".join(number),
        f"{written[1]} 12/29",
        f"{written[1]} 12/29 123",
        f"Main St 5, {written[0]}",
        f"Main St 12 {written[1]}",
        f"{written[2]} 10115",
        f"card:{written[0]}.",
        f"x{written[0]}x",
    ]


@pytest.mark.parametrize("number", [VISA, AMEX, MASTERCARD, MAESTRO, "\uff14" + VISA[1:]])
def test_every_way_to_write_it(number: str) -> None:
    """Spaces, dashes, dots, an expiry date behind it, a house number before it."""
    for text in dressed(number):
        with pytest.raises(FieldFault):
            refuse_card_numbers("name", text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        None,
        "1 Main St",
        "4111111111111112",  # fails the Luhn check
        "9111111111111111111",
        "+49 30 901820",
        "00340434161094015902",
        "Flat 4111, 1111 Long Road, 1111 Hill",
        "0" * 16,
        "2026-11-22 18:30:15",
        "ISBN 978-3-16-148410-0",
    ],
)
def test_what_is_none_passes(text: str | None) -> None:
    """House numbers, telephone numbers, parcels, dates, books."""
    refuse_card_numbers("name", text)


def test_a_telephone_number_is_no_card() -> None:
    """Up to 15 digits it may be a telephone, beyond that it is none."""
    refuse_card_numbers("phone", "+49 151 1234 5675", 16)
    with pytest.raises(FieldFault):
        refuse_card_numbers("phone", VISA, 16)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged while the test runs, however small."""
    stream = io.StringIO()
    before = structlog.get_config()
    handlers, level = logging.root.handlers[:], logging.root.level
    configure_logging("debug", stream)
    logging.root.setLevel(logging.DEBUG)
    yield stream
    structlog.configure(**before)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


async def everything(counter: Counter) -> str:
    """Every row of every table of the store, as text."""
    import asyncpg

    connection = await asyncpg.connect(**counter.owner.arguments())
    try:
        tables = await connection.fetch(
            "SELECT schemaname, tablename FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        parts: list[str] = []
        for schema, table in tables:
            rows = await connection.fetch(f'SELECT t::text FROM "{schema}"."{table}" AS t')
            parts += [row[0] for row in rows]
        byteas = await connection.fetch(
            """
            SELECT encode(payload, 'escape') FROM orders.outbox
            UNION ALL SELECT encode(draft, 'escape') FROM orders.checkouts WHERE draft IS NOT NULL
            UNION ALL SELECT encode(body, 'escape') FROM orders.idempotency_keys
                WHERE body IS NOT NULL
            UNION ALL SELECT encode(data, 'escape') FROM notifications.messages
                WHERE data IS NOT NULL
            """
        )
    finally:
        await connection.close()
    return "\n".join([*parts, *(row[0] for row in byteas)])


def hidden_in(text: str) -> bool:
    """Whether the card's digits stand there, with whatever between them."""
    return VISA in re.sub(r"[\s\-]", "", text)


async def refused(counter: Counter, path: str, body: Any, field: str, **headers: str) -> None:
    """The body is refused, the field is named, and the number is not said back."""
    answer = await counter.ask("POST", path, body, **headers)
    assert answer.status == 422, (field, answer)
    assert [one["field"] for one in answer["errors"]] == [field], answer
    assert not hidden_in(answer.raw.decode()), answer


@pytest.mark.asyncio
async def test_nowhere_in_a_purchase(counter: Counter, logged: io.StringIO) -> None:
    """In no field of a checkout, a cart's checkout, a refund or a cancellation; no trace stays."""
    sku = await counter.product(10)
    order = await counter.ordered(sku)
    cart = await counter.cart({sku: 1})
    guest = {"cart-token": cart["token"]}
    base = {
        "email": "ann@example.com",
        "shippingAddress": ADDRESS,
        "payment": {"token": "tok_approved"},
    }
    one_request = {**base, "lines": [{"sku": sku, "quantity": 1}]}
    texts = [VISA, "4111 1111 1111 1111", "4111-1111-1111-1111", "4111 1111 1111 1111 12/29"]
    for body, path, headers in (
        (one_request, "/v1/checkout", {}),
        (base, f"/v1/carts/{cart['id']}/checkout", guest),
    ):
        for name in ("name", "line1", "line2", "city", "region"):
            for text in texts:
                for kind in ("shippingAddress", "billingAddress"):
                    changed = {**body, kind: {**ADDRESS, name: text}}
                    key = {"idempotency-key": uuid4().hex}
                    await refused(counter, path, changed, f"{kind}.{name}", **key, **headers)
        for name, text in (("postalCode", texts[1]), ("phone", texts[1])):
            changed = {**body, "shippingAddress": {**ADDRESS, name: text}}
            key = {"idempotency-key": uuid4().hex}
            await refused(counter, path, changed, f"shippingAddress.{name}", **key, **headers)
        for token in (VISA, texts[2], f"tok_{VISA}"):
            changed = {**body, "payment": {"token": token}}
            key = {"idempotency-key": uuid4().hex}
            await refused(counter, path, changed, "payment.token", **key, **headers)
    for what in ("refunds", "cancel"):
        path = f"/v1/orders/{order['id']}/{what}"
        for text in texts:
            key = {"idempotency-key": uuid4().hex, **counter.staff}
            await refused(counter, path, {"reason": f"take {text}"}, "reason", **key)
    assert await counter.level(sku) == (9, 0)
    await counter.store.settle()
    assert not hidden_in(await everything(counter))
    assert not hidden_in(logged.getvalue())

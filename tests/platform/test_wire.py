"""Calls between services as bytes: what the contract says comes out as it went in."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec
import pytest

from tradewind.notifications.contract import Notifications
from tradewind.orders.contract import CartAdoption, HeldOrders, Orders
from tradewind.platform.errors import Conflict, FieldError, Invalid, StoreError, Unavailable
from tradewind.platform.ids import new_id
from tradewind.platform.wire import methods_of, through_codec
from tradewind.products.contract import (
    NotSold,
    OutOfStock,
    PricedLine,
    Products,
    Quote,
    QuotedLine,
    Refusal,
    Reserve,
    Reserved,
    Wanted,
)
from tradewind.users.contract import Users


class Given:
    """Products that answer what they were given to answer, and remember what they were asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    def _answer(self, *arguments: Any) -> Any:
        self.asked.append(arguments)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def reserve(self, requests: Sequence[Reserve]) -> list[Reserved | Refusal]:
        """As given."""
        return self._answer(requests)

    async def extend(self, reservation_ids: Sequence[UUID]) -> list[bool]:
        """As given."""
        return self._answer(reservation_ids)

    async def release(self, reservation_ids: Sequence[UUID]) -> None:
        """As given."""
        return self._answer(reservation_ids)

    async def quote(self, requests: Sequence[Quote]) -> list[tuple[QuotedLine, ...] | NotSold]:
        """As given."""
        return self._answer(requests)


@pytest.mark.asyncio
async def test_values_and_errors_side_by_side() -> None:
    """A list of outcomes travels member by member: values as their types, errors as theirs."""
    reserved = Reserved(
        new_id(),
        "EUR",
        (PricedLine("A", "Äpfel – grün", 3, 10**12),),
        datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    )
    refused = OutOfStock("not enough", extra={"lines": [{"sku": "B", "available": 0}]})
    given = Given([reserved, refused])
    wishes = [
        Reserve(new_id(), (Wanted("A", 3),), "EUR"),
        Reserve(new_id(), (Wanted("B", 100_000),)),
    ]
    first, second = await through_codec(Products, given).reserve(wishes)
    assert first == reserved
    assert type(second) is OutOfStock
    assert (second.detail, second.extra) == (refused.detail, refused.extra)
    [[asked]] = given.asked
    assert list(asked) == wishes


@pytest.mark.asyncio
async def test_a_call_that_fails_as_a_whole() -> None:
    """Its error is raised on the other side, with all that it says."""
    given = Given(Unavailable("full", retry_after_seconds=7), Conflict("no"), None, [True, False])
    remote = through_codec(Products, given)
    with pytest.raises(Unavailable) as told:
        await remote.release([new_id()])
    assert (told.value.detail, told.value.retry_after_seconds) == ("full", 7)
    with pytest.raises(Conflict):
        await remote.extend([new_id()])
    assert await remote.release([new_id()]) is None
    assert await remote.extend([new_id(), new_id()]) == [True, False]


@pytest.mark.asyncio
async def test_field_faults_survive() -> None:
    """What names a field on one side names it on the other."""

    class Names(Protocol):
        async def check(self, name: str) -> bool: ...

    class Refusing:
        async def check(self, name: str) -> bool:
            raise Invalid("bad", errors=[FieldError("name", f"not {name}")])

    with pytest.raises(Invalid) as told:
        await through_codec(Names, Refusing()).check("x")
    assert told.value.errors == (FieldError("name", "not x"),)


@pytest.mark.asyncio
async def test_arguments_of_another_shape_do_not_pass() -> None:
    """The types of the contract are checked where they arrive."""
    with pytest.raises(msgspec.ValidationError):
        await through_codec(Products, Given([])).extend(["no uuid"])  # pyright: ignore[reportArgumentType]  on purpose


@pytest.mark.asyncio
async def test_json_that_is_only_passed_on() -> None:
    """What is held about a person is JSON already, and stays byte for byte what it means."""

    class Holding:
        async def adopt_carts(self, adoptions: Sequence[CartAdoption]) -> list[bool]:
            return [bool(one.cart_token) for one in adoptions]

        async def standing(self, reservation_ids: Sequence[UUID]) -> list[bool]:
            return [False for _ in reservation_ids]

        async def export(self, user_id: UUID) -> HeldOrders:
            return HeldOrders(msgspec.Raw(b'[{"total": 1.50}]'), msgspec.Raw(b"[]"))

    remote = through_codec(Orders, Holding())
    held = await remote.export(new_id())
    assert bytes(held.orders) == b'[{"total": 1.50}]'
    assert await remote.adopt_carts([CartAdoption(new_id(), "t")]) == [True]


@pytest.mark.parametrize("contract", [Users, Products, Orders, Notifications])
def test_every_contract_can_travel(contract: type[Any]) -> None:
    """Each method of each contract has types that JSON can carry."""
    for name, method in methods_of(contract).items():
        assert method.name == name
        assert method.decode_arguments.__self__ is method
        msgspec.json.Decoder(method._answer)


def test_every_error_has_a_code_of_its_own() -> None:
    """An error is found again by its code, so no two kinds share one."""
    codes: dict[str, type[StoreError]] = {}
    kinds: list[type[StoreError]] = [StoreError]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if kind.__module__.startswith("tradewind."):
            assert codes.setdefault(kind.code, kind) is kind, (kind, codes[kind.code])

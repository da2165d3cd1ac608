"""The local and the remote form of a contract behave alike: same answers, same errors."""

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio

from contracts.forms import three_forms, told
from contracts.internal import House, listening
from contracts.trial import PATIENT
from shop import Shop, eventually, key, purchase
from tradewind.notifications.contract import HeldMessages, Notifications
from tradewind.orders.contract import CartAdoption, HeldOrders, Orders
from tradewind.platform.connections import Contended, DatabaseDown
from tradewind.platform.errors import FieldError, Invalid, StoreError, Unavailable
from tradewind.platform.ids import new_id
from tradewind.platform.wire import methods_of, through_codec
from tradewind.products.contract import (
    NoPrice,
    NotSold,
    OutOfStock,
    Products,
    Quote,
    ReservationGone,
    Reserve,
    Reserved,
    Wanted,
)
from tradewind.users.contract import Users

pytestmark = pytest.mark.asyncio
Forms = Mapping[str, Any]
Case = Callable[[Any], Awaitable[Any]]


@pytest_asyncio.fixture(loop_scope="session")
async def forms(
    store: Shop, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Forms]:
    """The three forms of the contract that the test is about."""
    folder = tmp_path_factory.mktemp("keys") / "keys"
    async with three_forms(store, request.param, folder) as three:
        yield three


def of(service: str) -> pytest.MarkDecorator:
    """The test is about this service's contract."""
    return pytest.mark.parametrize("forms", [service], indirect=True)


async def alike(forms: Forms, case: Case) -> Any:
    """Puts the case to each form; what all of them say."""
    said = {name: await case(contract) for name, contract in forms.items()}
    assert said["codec"] == said["local"]
    assert said["remote"] == said["local"]
    return said["local"]


def kinds(answer: Any) -> list[type[Any]]:
    """The type of each member of a shown list."""
    return [one[0] for one in answer[1:]]


@of("products")
async def test_reserving(store: Shop, forms: Forms) -> None:
    """Stock is held or refused alike, each wish with its own outcome, in order."""
    product = await store.product(on_hand=10_000)
    sku = product["sku"]

    async def case(products: Products) -> Any:
        first, again, *others = [new_id() for _ in range(6)]
        wishes = [
            Reserve(first, (Wanted(sku, 2),)),
            Reserve(others[0], (Wanted(sku, 1_000_000),), "EUR"),
            Reserve(others[1], (Wanted("NOT-THERE", 1), Wanted(sku, 1), Wanted("Ünknown", 2))),
            Reserve(others[2], (Wanted(sku, 1),), "XTS"),
            Reserve(again, (Wanted(sku, 1),), "EUR"),
            Reserve(others[3], (Wanted("", 1),)),
        ]
        known = (first, again, *others, sku)
        answers = [await told(products.reserve(wishes[:-1]), *known)]
        answers += [await told(products.reserve([one]), *known) for one in wishes]
        answers.append(await told(products.reserve([]), *known))
        await products.release([first, again, *others])
        return answers

    together, *alone = await alike(forms, case)
    assert kinds(together) == [Reserved, OutOfStock, NotSold, NoPrice, Reserved]
    assert [kinds(one) for one in alone[:5]] == [[one] for one in kinds(together)]


@of("products")
async def test_reservations_that_are_over(store: Shop, forms: Forms) -> None:
    """One that became an order is refused alike; extending and releasing say the same."""
    product = await store.product(on_hand=10_000)
    sku = product["sku"]
    body = {**purchase(), "lines": [{"sku": sku, "quantity": 1}]}
    bought = await store.client().post("/v1/checkout", json=body, headers=key())
    assert bought.status_code == 201

    async def confirmed() -> Any:
        async with store.database("products").transaction() as tx:
            return await tx.fetch_value(
                "SELECT id FROM reservations WHERE state = 'confirmed' "
                "AND lines::text LIKE '%' || $1 || '%'",
                sku,
            )

    sold = await eventually(confirmed)

    async def case(products: Products) -> Any:
        held, unknown = new_id(), new_id()
        await products.reserve([Reserve(held, (Wanted(sku, 1),))])
        known = (held, unknown, sold, sku)
        return [
            await told(products.reserve([Reserve(sold, (Wanted(sku, 1),))]), *known),
            await told(products.extend([held, unknown, sold, held]), *known),
            await told(products.extend([unknown]), *known),
            await told(products.release([held, unknown, sold]), *known),
            await told(products.extend([held]), *known),
            await told(products.release([]), *known),
            await told(products.extend([]), *known),
        ]

    gone, extended, *_ = await alike(forms, case)
    assert kinds(gone) == [ReservationGone]
    assert [one[1] for one in extended[1:]] == [True, False, True, True]


@of("products")
async def test_quoting(store: Shop, forms: Forms) -> None:
    """Prices and titles are the same, whatever letters they have; so are refusals."""
    product = await store.product(title="Bücher – 本 \U0001f4da & <b>", amount=10**9)
    other = await store.product()
    skus = (product["sku"], other["sku"])
    questions = [
        Quote(skus),
        Quote(skus[::-1], "EUR"),
        Quote((*skus, "NOT-THERE")),
        Quote(skus, "XTS"),
        Quote((), "EUR"),
        Quote((), "XTS"),
    ]

    async def case(products: Products) -> Any:
        answers = [await told(products.quote(questions))]
        return answers + [await told(products.quote([one])) for one in questions]

    together, *alone = await alike(forms, case)
    assert kinds(together) == [tuple, tuple, NotSold, NoPrice, tuple, NoPrice]
    assert [kinds(one) for one in alone] == [[one] for one in kinds(together)]


@of("users")
async def test_whose_session(store: Shop, forms: Forms) -> None:
    """A token is somebody's or nobody's alike, alone and among many."""
    customer, over = await store.customer(), await store.customer()
    good, gone = (one.headers["Authorization"].partition(" ")[2] for one in (customer, over))
    assert (await over.post("/v1/logout", headers=key())).status_code < 300
    tokens = [good, gone, "", "nonsense", "ü\0\U0001f4da", "x" * 10_000, good]

    async def case(users: Users) -> Any:
        answers = [await told(users.principals(tokens)), await told(users.principals([]))]
        return answers + [await told(users.authenticate(one)) for one in tokens]

    together, _, *alone = await alike(forms, case)
    assert together[1:] == tuple(alone)
    assert together[1] == together[-1]
    assert together[2:-1] == ((type(None), None),) * 5


@of("users")
async def test_contacts(store: Shop, forms: Forms) -> None:
    """How to reach people, those that are unknown among them, in order."""
    customer = await store.customer()
    own = uuid.UUID((await customer.get("/v1/me")).json()["id"])
    asked = [new_id(), own, own]

    async def case(users: Users) -> Any:
        return [await told(users.contacts(asked)), await told(users.contacts([]))]

    many, _ = await alike(forms, case)
    assert many[2] == many[3] != many[1]


@of("orders")
async def test_carts_and_standing_orders(store: Shop, forms: Forms) -> None:
    """A guest's cart is taken over once; a reservation has an order or has none."""
    product = await store.product(on_hand=10_000)
    customer = await store.customer()
    own = uuid.UUID((await customer.get("/v1/me")).json()["id"])
    lines = [{"sku": product["sku"], "quantity": 1}]
    bought = await customer.post("/v1/checkout", json=purchase(lines=lines), headers=key())
    assert bought.status_code == 201
    async with store.database("orders").transaction() as tx:
        query = "SELECT reservation_id FROM orders WHERE id = $1"
        sold = await tx.fetch_value(query, uuid.UUID(bought.json()["id"]))

    async def case(orders: Orders) -> Any:
        body = {"lines": [{"sku": product["sku"], "quantity": 1}]}
        made = await store.client().post("/v1/carts", json=body, headers=key())
        token = made.json()["token"]
        adoptions = [CartAdoption(own, token), CartAdoption(own, "no such token")]
        return [
            await told(orders.adopt_carts(adoptions)),
            await told(orders.adopt_carts(adoptions)),
            await told(orders.adopt_carts([])),
            await told(orders.standing([new_id(), sold, new_id()])),
            await told(orders.standing([])),
        ]

    first, second, _, standing, _ = await alike(forms, case)
    assert [one[1] for one in first[1:]] == [True, False]
    assert [one[1] for one in second[1:]] == [False, False]
    assert [one[1] for one in standing[1:]] == [False, True, False]


@pytest.mark.parametrize(
    ("forms", "kind"),
    [("orders", HeldOrders), ("notifications", HeldMessages)],
    indirect=["forms"],
    ids=["orders", "notifications"],
)
async def test_what_is_held_of_a_person(store: Shop, forms: Forms, kind: type[Any]) -> None:
    """An export is the same JSON, of somebody who bought and of nobody."""
    product = await store.product()
    customer = await store.customer()
    own = uuid.UUID((await customer.get("/v1/me")).json()["id"])
    body = {**purchase(), "lines": [{"sku": product["sku"], "quantity": 1}]}
    assert (await customer.post("/v1/checkout", json=body, headers=key())).status_code == 201

    async def case(held: Orders | Notifications) -> Any:
        return [await told(held.export(own)), await told(held.export(new_id()))]

    async def undisturbed() -> Any:
        """Mails are on their way for a while, and their state is in the export."""
        before = await case(forms["local"])
        said = [await case(contract) for contract in forms.values()]
        return said if before == await case(forms["local"]) else None

    local, *others = await eventually(undisturbed)
    assert others == [local, local]
    somebody, nobody = local
    assert somebody[0] is kind is nobody[0]
    assert somebody != nobody


@pytest.mark.parametrize("forms", ["users", "products", "orders", "notifications"], indirect=True)
async def test_every_method_has_every_form(forms: Forms) -> None:
    """No method of a contract is missing from any form."""
    contract = {
        "LocalUsers": Users,
        "LocalProducts": Products,
        "LocalOrders": Orders,
        "LocalNotifications": Notifications,
    }[type(forms["local"]).__name__]
    for form in forms.values():
        assert all(callable(getattr(form, name)) for name in methods_of(contract))


class Asking(Protocol):
    """A contract of one method, which may be refused in any way."""

    async def ask(self, number: int) -> bool:
        """Something."""
        ...


class Refusing:
    """Refuses with the error of that number."""

    def __init__(self, errors: Sequence[StoreError]) -> None:
        self._errors = errors

    async def ask(self, number: int) -> bool:
        """As the contract says."""
        raise self._errors[number]


def every_error() -> list[StoreError]:
    """One of each kind that the platform and the services have."""
    found: list[type[StoreError]] = [StoreError]
    for kind in found:
        found += [one for one in kind.__subclasses__() if one not in found]
    made: list[StoreError] = []
    for kind in found:
        if not kind.__module__.startswith("tradewind.") or kind.__init__ not in ORDINARY:
            continue
        if issubclass(kind, Invalid):
            faults = (FieldError("lines[0].quantity", "too många"),)
            made.append(kind(f"no {kind.code}", errors=faults, extra={"skus": ["A"]}))
        else:
            extra = {"lines": [{"sku": "Ä", "available": 0, "deep": [None, True, 1.5]}]}
            made.append(kind(f"no {kind.code}", extra=extra, retry_after_seconds=7))
    return made


ORDINARY = {StoreError.__init__, Invalid.__init__, Unavailable.__init__}


async def test_every_error_travels(tmp_path: Path) -> None:
    """Each error of the platform and of every contract arrives as what it was, over HTTP too."""
    errors = every_error()
    assert {OutOfStock, NoPrice, DatabaseDown, Contended} <= {type(one) for one in errors}
    house, refusing = House(tmp_path / "keys"), Refusing(errors)
    async with listening(house.application("products", Asking, refusing)) as url:
        remote = house.remote("products", Asking, [url], settings=PATIENT)
        for number, error in enumerate(errors):
            said = await told(remote.call("ask", number))
            assert said == await told(refusing.ask(number)), error.code
            assert said == await told(through_codec(Asking, refusing).ask(number)), error.code
        assert remote.gauges.retries == 0
    await house.close()

"""What the schema allows is asked of every route, and what it does not allow too.

Nothing answers with a 500, and nothing with what the schema does not know.

Asked of a real store, as nobody, as a customer and as staff, with ids that exist and ids that do
not. The examples are the same in every run. The event stream is left out: it does not end.
"""

# Schemathesis leaves parts of its types open.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from faults.running import RunningStore
from shop import ADDRESS, key

EXAMPLES = {GenerationMode.POSITIVE: 6, GenerationMode.NEGATIVE: 6}
ENDLESS = ("/v1/notifications/stream",)
CALLERS = ("nobody", "customer", "staff")
STAFF = "staff@tradewind.example"
PASSWORD = "correct horse battery staple"
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)


class People:
    """Sessions of customers and of staff, of another person each; one after the other dies here."""

    def __init__(self, base: str, password: str) -> None:
        self.client = httpx.Client(base_url=base, timeout=60)
        self._spare: dict[str, list[str]] = {"staff": [], "customer": []}
        admin = {"Authorization": f"Bearer {self._sign_in(STAFF, password)}"}
        for role, spare in self._spare.items():
            for _ in range(6):
                email = f"{uuid4().hex[:12]}@example.com"
                body = {"email": email, "password": PASSWORD, "name": "Ann Lee"}
                made = self.client.post("/v1/register", json=body)
                assert made.status_code == 201, made.text
                if role == "staff":
                    path = f"/v1/users/{made.json()['userId']}"
                    told = self.client.patch(path, json={"role": "admin"}, headers=admin)
                    assert told.status_code == 200, told.text
                spare.append(self._sign_in(email, PASSWORD))

    def _sign_in(self, username: str, password: str) -> str:
        told = self.client.post("/v1/login", json={"username": username, "password": password})
        assert told.status_code == 200, told.text
        self.client.cookies.clear()
        return told.json()["token"]

    def headers(self, caller: str) -> dict[str, str]:
        """As whom a request goes; the session lives."""
        if caller == "nobody":
            return {}
        spare = self._spare[caller]
        while True:
            headers = {"Authorization": f"Bearer {spare[-1]}"}
            if self.client.get("/v1/me", headers=headers).status_code == 200:
                return headers
            spare.pop()


class Known:
    """Things that exist: by the names that path parameters have."""

    def __init__(self, people: People) -> None:
        self._client, self._people = people.client, people
        staff, customer = people.headers("staff"), people.headers("customer")
        made = self._post(
            "/v1/products",
            {
                "title": f"Kettle {uuid4().hex[:6]}",
                "price": {"amount": 1000, "currency": "EUR"},
                "status": "active",
                "onHand": 100_000,
            },
            staff,
        )
        sku = made["variants"][0]["sku"]
        lines = [{"sku": sku, "quantity": 3}]
        order = self._post(
            "/v1/checkout",
            {
                "lines": lines,
                "email": "ann@example.com",
                "shippingAddress": ADDRESS,
                "payment": {"token": "tok_approved"},
            },
            customer,
        )
        path = f"/v1/orders/{order['id']}/fulfillments"
        shipped = self._post(path, {"lines": [{"sku": sku, "quantity": 1}]}, staff)
        category = self._post("/v1/categories", {"name": f"Kitchen {uuid4().hex[:6]}"}, staff)
        address = self._post("/v1/me/addresses", ADDRESS, customer)
        mails = self._client.get("/v1/messages", headers=staff).json()["items"]
        users = self._client.get("/v1/users?limit=5", headers=staff).json()["items"]
        others = [one["id"] for one in users if one["role"] == "customer"]
        self.by_name: dict[str, Any] = {
            "sku": sku,
            "order_id": order["id"],
            "cart_id": self._post("/v1/carts", {"lines": lines}, customer)["id"],
            "fulfillment_id": shipped["fulfillments"][0]["id"],
            "product_id": made["id"],
            "id_or_slug": made["slug"],
            "category_id": category["id"],
            "address_id": address["id"],
            "message_id": mails[0]["id"] if mails else str(uuid4()),
            "user_id": others[0],
            "provider": "test",
        }

    def _post(self, path: str, body: Any, headers: dict[str, str]) -> Any:
        told = self._client.post(path, json=body, headers={**headers, **key()})
        assert told.status_code == 201, (path, told.text)
        return told.json()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A store in a process of its own."""
    store = RunningStore(
        tmp_path_factory.mktemp("schema"),
        {"TRADEWIND_USERS_FAILURE_SECONDS": "0", "TRADEWIND_LOG_LEVEL": "critical"},
    )
    await store.start()
    yield store
    await store.stop()


@pytest.fixture(scope="module")
def people(running: RunningStore) -> Iterator[People]:
    """Those who ask."""
    some = People(running.base, running.password)
    yield some
    some.client.close()


@pytest.fixture(scope="module")
def known(people: People) -> Known:
    """What they may ask about."""
    return Known(people)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("mode", EXAMPLES, ids=lambda one: one.name.lower())
def test_every_route_answers_as_its_schema_says(
    running: RunningStore, people: People, known: Known, caller: str, mode: GenerationMode
) -> None:
    """Whoever asks, and whatever."""
    schema = schemathesis.openapi.from_url(f"{running.base}/openapi.json")
    asked, faults = 0, list[str]()
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in ENDLESS:
            continue
        headers = people.headers(caller)
        asked += 1
        fault = _ask(operation, mode, headers, known)
        if fault:
            faults.append(f"{operation.method.upper()} {operation.path}: {fault}")
    assert asked > 40, "where are all the routes?"
    assert not faults, f"{len(faults)} of {asked}:\n" + "\n\n".join(faults)


def _ask(operation: Any, mode: GenerationMode, headers: dict[str, str], known: Known) -> str:
    """Some examples of one operation; the first fault, or nothing."""
    real = dict(known.by_name)

    @settings(
        max_examples=EXAMPLES[mode],
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]  all
        report_multiple_bugs=False,
    )
    @given(case=operation.as_strategy(generation_mode=mode), exists=st.booleans())
    def ask(case: Any, exists: bool) -> None:
        if exists:
            for name in case.path_parameters or {}:
                case.path_parameters[name] = real.get(name, case.path_parameters[name])
        named = {**headers, **key()}
        response = case.call(headers=named, timeout=60)
        case.validate_response(response, checks=CHECKS)

    try:
        ask()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, "nothing that could be asked"
        return ""  # a request that cannot be wrong: it takes nothing
    except BaseExceptionGroup as group:
        return "; ".join(str(one) for one in group.exceptions)[:1500]
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:1500]
    return ""

"""Which instance gets what: the topology's paths, and nobody else's."""

import asyncio
import json
from typing import Any

import pytest

from shop import free_port
from topology.conftest import Opening
from topology.house import Door
from tradewind.topology import balancing
from tradewind.topology.services import ELSEWHERE, SERVICES

pytestmark = pytest.mark.asyncio


async def ask(door: Door, target: str, *headers: str) -> tuple[int, dict[str, Any]]:
    """Ask for exactly this address; the status and the JSON of the answer."""
    lines = [f"GET {target} HTTP/1.1", "Host: shop", "Connection: close", *headers, "", ""]
    answer = await door.raw("\r\n".join(lines).encode("latin-1"))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)


async def test_every_path_reaches_its_service(opened: Opening) -> None:
    """Each path of the topology, and what is below it, reaches the service that serves it."""
    house = await opened()
    for service in SERVICES.values():
        for path in service.serves:
            for target in (path, f"{path}/", f"{path}/a/b", f"{path}?next=/v1/orders"):
                status, told = await ask(house.door, target)
                assert (status, told["instance"]) == (200, service.name), target


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/v1",
        "/v1/mess",
        "/v1/meX",
        "/v1/me-2",
        "/v1/ordersX",
        "/v1/orders.json",
        "/v1/notification",
        "/V1/orders",
        "/registerX",
        "/openapi.json",
        "/readyz",
        "/nobody?x=/v1/orders/",
    ],
)
async def test_the_rest_is_elsewhere(opened: Opening, target: str) -> None:
    """What only looks like a service's path is nobody's own, and goes where that goes."""
    status, told = await ask((await opened()).door, target)
    assert (status, told["instance"]) == (200, ELSEWHERE)


async def test_other_spellings(opened: Opening) -> None:
    """A path is read decoded, as the application does; what that refuses is refused, whoever is
    asked, and no other service's instance ever hears of it as something else.
    """
    house = await opened()
    assert (await ask(house.door, "/v1/%6Frders"))[1]["instance"] == "orders"
    assert (await ask(house.door, "/v1/%6frders/%41"))[1]["path"] == "/v1/orders/A"
    assert (await ask(house.door, "http://shop/v1/orders"))[1]["instance"] == "orders"
    assert (await ask(house.door, "/v1/orders/a%zz"))[1]["instance"] == "orders"
    assert (await ask(house.door, "/v1/%256Frders"))[1]["instance"] == ELSEWHERE
    odd = ["//v1/orders", "/v1//orders", "/./v1/orders", "/v1/me/../orders", "/v1/x/%2e%2E/orders"]
    odd += ["/v1%2Forders", "/v1/me/..%2Forders", "/v1\\orders", "/v1/orders/%00", "/v1/%5Corders"]
    for target in odd:
        status, told = await ask(house.door, target)
        assert (status, told["code"]) == (404, "not_found"), target


@pytest.mark.parametrize(
    "target",
    [
        "/internal",
        "/internal/users",
        "/INTERNAL/x",
        "/%69nternal/users",
        "//internal",
        "/./internal",
        "/internals",
        "/metrics",
        "/Metrics/",
        "/%4Detrics",
        "http://shop/metrics",
        "/metrics?x",
    ],
)
async def test_internal_paths_are_nowhere(opened: Opening, target: str) -> None:
    """What is internal does not exist outside, in any spelling, in the application's own words."""
    house = await opened()
    status, told = await ask(house.door, target, "X-Request-Id: mine-1")
    assert (status, told) == (
        404,
        {
            "type": "urn:problem:not_found",
            "title": "Not found",
            "status": 404,
            "code": "not_found",
            "detail": "There is nothing at this address.",
            "requestId": "mine-1",
        },
    )
    assert [one.taken for many in house.inside.values() for one in many] == [[], [], [], []]


@pytest.mark.parametrize(
    "target",
    [
        "/internal",
        "//internal",
        "/./internal",
        "/.//internal/users",
        "/..metrics",
        "/\\internal",
        "/%5Cmetrics",
    ],
)
async def test_the_balancer_alone_hides_them(opened: Opening, target: str) -> None:
    """What is internal is hidden from outside even before an instance that answers everything."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0]
        if b"/readyz" not in line:
            asked.append(line)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        writer.close()

    port = free_port()
    place = balancing.Instance("127.0.0.1", port, port)
    async with await asyncio.start_server(answer, place.host, place.port):
        house = await opened(instances=dict.fromkeys(SERVICES, (place,)))
        assert (await ask(house.door, "/other"))[0] == 200
        assert (await ask(house.door, target))[0] == 404
    assert asked == [b"GET /other HTTP/1.1"]

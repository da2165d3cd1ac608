"""What is tried again on another instance, and what is told to the client instead."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from shop import free_port
from topology.conftest import Opening
from topology.house import House, client, serving
from topology.instance import Instance
from tradewind.topology import balancing

pytestmark = pytest.mark.asyncio

TIMES = 12


class Dropping:
    """A stand-in for an instance that dies at work: it reads a request and hangs up."""

    def __init__(self) -> None:
        self.taken = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if await reader.read(65536):
            self.taken += 1
        writer.close()

    async def be_well(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One look at its health."""
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()


@asynccontextmanager
async def beside_a_dropping_one(
    opened: Opening,
) -> AsyncGenerator[tuple[House, Dropping, Instance]]:
    """A house whose orders are an instance that hangs up and a good one."""
    bad, good, port, inside = Dropping(), Instance("good"), free_port(), free_port()
    dropping = await asyncio.start_server(bad.take, "127.0.0.1", port)
    healthy = await asyncio.start_server(bad.be_well, "127.0.0.1", inside)
    async with serving(good) as place, dropping, healthy:
        both = (balancing.Instance("127.0.0.1", port, inside), place)
        house = await opened(instances=dict.fromkeys(SERVICES, both))
        yield house, bad, good


SERVICES = ("users", "products", "orders", "notifications")


async def ask(house: House, method: str, **headers: str) -> list[int]:
    """So many requests from as many new clients; their statuses."""
    found: list[int] = []
    for _ in range(TIMES):
        async with client() as session:
            url = f"{house.door.url}/v1/orders"
            async with session.request(method, url, headers=headers, data=b"x") as answer:
                found.append(answer.status)
    return found


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_reads_are_tried_again(opened: Opening, method: str) -> None:
    """A read whose instance hung up is answered by another one."""
    async with beside_a_dropping_one(opened) as (house, bad, good):
        assert set(await ask(house, method)) == {200}
        assert bad.taken > 0
        assert len(good.taken) == TIMES


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_writes_are_not(opened: Opening, method: str) -> None:
    """A write is sent once, even with a key: whether it was done is not known, and the client is
    told so. A 503, which promises that nothing was done, is never said instead.
    """
    async with beside_a_dropping_one(opened) as (house, bad, good):
        statuses = await ask(house, method, **{"Idempotency-Key": "k"})
        assert set(statuses) == {200, 502}
        assert statuses.count(502) == bad.taken
        assert len(good.taken) + bad.taken == TIMES


async def test_refused_connections(opened: Opening) -> None:
    """A write whose instance is not there goes to another one: nothing was sent yet."""
    good = Instance("good")
    async with serving(good) as place:
        gone = balancing.Instance("127.0.0.1", free_port(), place.internal_port)
        house = await opened(instances=dict.fromkeys(SERVICES, (gone, place)))
        assert set(await ask(house, "POST")) == {200}
        assert len(good.taken) == TIMES


async def test_idle_connections_that_end(opened: Opening) -> None:
    """A write that meets the end of a kept connection is never doubled: it was answered, or it did
    not arrive and its connection ended without an answer.
    """
    answered: list[str] = []
    lost: list[str] = []
    async with before_a_closing_one(opened) as (house, closing), client() as session:
        for number in range(200):
            path = f"/v1/orders/{number}"
            try:
                async with session.post(house.door.url + path) as answer:
                    assert answer.status == 200
                    answered.append(path)
            except aiohttp.ServerDisconnectedError:
                lost.append(path)
            closing.close_after(0.0005 * (number % 5))
            await asyncio.sleep(0.0005 * (number % 4))
    assert closing.taken == answered
    assert len(answered) + len(lost) == 200
    assert closing.connections > 20, "no connection was closed in between"


async def test_first_requests_have_their_own_connection(opened: Opening) -> None:
    """A new client's first request is never sent on a kept connection, whose end it could meet:
    it would be told 502, and would not know to ask again.
    """
    async with before_a_closing_one(opened) as (house, closing):
        assert set(await ask(house, "POST")) == {200}
        assert closing.connections == TIMES


class Closing:
    """A stand-in for an instance that closes connections while nothing is asked on them."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.connections = 0
        self._idle: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, kept until it is closed from either side."""
        self.connections += 1
        with contextlib.suppress(ConnectionResetError):  # the balancer gave it up
            while line := await reader.readline():
                await reader.readuntil(b"\r\n\r\n")
                if writer.is_closing():
                    break  # what came as it closed is not read
                self.taken.append(line.split(b" ")[1].decode())
                self._idle = writer
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    def close_after(self, seconds: float) -> None:
        """Closes the connection that was used last, unless it is used again before."""
        if self._idle is not None:
            count, idle = len(self.taken), self._idle
            asyncio.get_running_loop().call_later(seconds, self._close, idle, count)

    def _close(self, idle: asyncio.StreamWriter, count: int) -> None:
        if len(self.taken) == count:
            idle.close()


@asynccontextmanager
async def before_a_closing_one(opened: Opening) -> AsyncGenerator[tuple[House, Closing]]:
    """A house in which one instance, which ends idle connections, does everything."""
    closing = Closing()
    port, inside = free_port(), free_port()
    server = await asyncio.start_server(closing.serve, "127.0.0.1", port)
    healthy = await asyncio.start_server(Dropping().be_well, "127.0.0.1", inside)
    async with server, healthy:
        place = balancing.Instance("127.0.0.1", port, inside)
        yield await opened(instances=dict.fromkeys(SERVICES, (place,))), closing

"""The event stream: everything once and in order, whoever writes and whatever breaks."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from notifications.parts import Service, eventually, message_of
from notifications.samples import order_placed
from tradewind.notifications.actions.following import announce, check_streams, hear
from tradewind.notifications.routes import stream
from tradewind.platform.database import DatabaseDown
from tradewind.platform.ids import new_id

pytestmark = pytest.mark.asyncio

Make = Callable[..., Awaitable[Service]]
Serving = Callable[[Service], Awaitable[Service]]


class Listener:
    """A client of the stream: what it heard, and whether the stream is over."""

    def __init__(self, lines: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.comments = 0
        self.is_over = False
        self._lines = lines

    async def listen(self) -> None:
        """Reads until the stream ends."""
        async for line in self._lines:
            if line.startswith("id: "):
                self.ids.append(line[4:])
            elif line.startswith("data: "):
                self.events.append(json.loads(line[6:]))
            elif line.startswith(":"):
                self.comments += 1
        self.is_over = True


@contextlib.asynccontextmanager
async def listening(
    client: httpx.AsyncClient, last_seen: str | None = None, **query: str
) -> AsyncGenerator[Listener]:
    """A listener on a stream that has begun."""
    headers = {} if last_seen is None else {"Last-Event-ID": last_seen}
    path = "/v1/notifications/stream"
    async with client.stream("GET", path, headers=headers, params=query) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "no-store" in answer.headers["cache-control"]
        lines = answer.aiter_lines()
        assert await anext(lines) == "retry: 1000"
        listener = Listener(lines)
        task = asyncio.create_task(listener.listen())
        try:
            yield listener
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def inbox_ids(service: Service, user_id: UUID) -> list[str]:
    """The ids of a person's entries, oldest first."""
    rows = await service.rows(
        "SELECT id FROM entries WHERE user_id = $1 ORDER BY position", user_id
    )
    return [str(row["id"]) for row in rows]


async def test_what_is_new(service: Service, serving: Serving) -> None:
    """Without a last id only what is new is heard, as it stands in the list."""
    await serving(service)
    user_id = new_id()
    client = service.customer(user_id)
    await service.handle(order_placed(user_id=user_id))
    async with listening(client) as listener:
        await service.handle(order_placed(user_id=user_id), order_placed(user_id=new_id()))
        await eventually(lambda: listener.events)
        [newest, _] = (await client.get("/v1/notifications")).json()["items"]
        assert listener.events == [newest] and listener.ids == [newest["id"]]


@pytest.mark.parametrize("way", ["header", "query"])
async def test_going_on(service: Service, serving: Serving, way: str) -> None:
    """With a last id everything after it is heard first, however much, then what is new."""
    await serving(service)
    user_id = new_id()
    client = service.customer(user_id)
    await service.take([message_of(order_placed(user_id=user_id)) for _ in range(65)])
    ids = await inbox_ids(service, user_id)
    given = {"last_seen": ids[2]} if way == "header" else {"lastEventId": ids[2]}
    async with listening(client, **given) as listener:
        await eventually(lambda: len(listener.ids) >= 62)
        await service.handle(order_placed(user_id=user_id))
        await eventually(lambda: len(listener.ids) >= 63)
    assert listener.ids == (await inbox_ids(service, user_id))[3:]


async def test_no_gap_and_no_double(make: Make, serving: Serving) -> None:
    """A client that comes and goes while several processes write hears all once, in order."""
    service, other = await serving(await make()), await make()
    user_id = new_id()
    client = service.customer(user_id)
    done = asyncio.Event()

    async def write(where: Service) -> None:
        for _ in range(40):
            await where.take([message_of(order_placed(user_id=user_id)) for _ in range(3)])
        done.set()

    heard: list[str] = []
    async with listening(client) as listener:
        await service.handle(order_placed(user_id=user_id))
        await eventually(lambda: listener.ids)
        heard += listener.ids
    writing = asyncio.gather(write(service), write(other), write(service))
    while not done.is_set():
        async with listening(client, heard[-1]) as listener:
            await eventually(lambda: len(listener.ids) >= 5 or writing.done())
            heard += listener.ids
    await writing
    async with listening(client, heard[-1]) as listener:
        await eventually(lambda: len(heard) + len(listener.ids) >= 361)
        heard += listener.ids
    assert heard == await inbox_ids(service, user_id)


async def test_a_last_id_that_is_gone(service: Service, serving: Serving) -> None:
    """After an entry that was deleted meanwhile, whatever is younger is heard."""
    await serving(service)
    user_id = new_id()
    await service.take([message_of(order_placed(user_id=user_id)) for _ in range(3)])
    ids = await inbox_ids(service, user_id)
    await service.do("DELETE FROM entries WHERE id = $1", UUID(ids[0]))
    async with listening(service.customer(user_id), ids[0]) as listener:
        await eventually(lambda: len(listener.ids) >= 2)
    assert listener.ids == ids[1:]


@pytest.mark.parametrize("last_seen", ["", "7", "x" * 200])
async def test_a_last_id_of_others(service: Service, serving: Serving, last_seen: str) -> None:
    """A last id that was never ours begins with what is new."""
    await serving(service)
    user_id = new_id()
    await service.handle(order_placed(user_id=user_id))
    async with listening(service.customer(user_id), last_seen) as listener:
        await service.handle(order_placed(user_id=user_id))
        await eventually(lambda: listener.ids)
    assert listener.ids == (await inbox_ids(service, user_id))[1:]


async def test_somebody_elses_last_id(service: Service, serving: Serving) -> None:
    """The id of somebody else's entry shows nothing of theirs."""
    await serving(service)
    user_id, other = new_id(), new_id()
    await service.handle(order_placed(user_id=other), order_placed(user_id=other))
    async with listening(service.customer(user_id), (await inbox_ids(service, other))[0]) as heard:
        await service.handle(order_placed(user_id=user_id))
        await eventually(lambda: heard.ids)
    assert heard.ids == await inbox_ids(service, user_id)


async def test_another_process_writes(make: Make, serving: Serving) -> None:
    """What another process writes is heard at once, by way of the database."""
    service, other = await serving(await make(heartbeat_seconds=3600)), await make()
    for channel, callback in service.running.channels.items():
        await service.database.listen(channel, callback)
    await service.database.keep_listening()
    user_id = new_id()
    async with listening(service.customer(user_id)) as listener:
        events = [order_placed(user_id=new_id()) for _ in range(450)]
        await other.take([message_of(event) for event in events])
        await other.handle(order_placed(user_id=user_id))
        await announce(other.context)
        await eventually(lambda: listener.ids)


async def test_a_wake_that_was_missed(make: Make, serving: Serving) -> None:
    """A stream that nobody woke looks for itself with each heartbeat, and when told all is open."""
    service, other = await serving(await make(heartbeat_seconds=0.05)), await make()
    user_id = new_id()
    async with listening(service.customer(user_id)) as listener:
        await eventually(lambda: listener.comments)
        await other.handle(order_placed(user_id=user_id))
        await eventually(lambda: listener.ids)
    slow = await serving(await make(heartbeat_seconds=3600))
    async with listening(slow.customer(user_id)) as listener:
        await other.handle(order_placed(user_id=user_id))
        hear(slow.context, "")
        await eventually(lambda: listener.ids)


async def test_what_could_not_be_announced(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users that other processes could not be told of are told the next time."""
    service = await make()
    event = order_placed(user_id=new_id())
    await service.handle(event)

    def gone(*_arguments: Any) -> Any:
        raise DatabaseDown("gone")

    with monkeypatch.context() as patch:
        patch.setattr(service.database, "transaction", gone)
        with pytest.raises(DatabaseDown):
            await announce(service.context)
    assert service.context.streams.untold == {event.user_id}
    await announce(service.context)
    assert service.context.streams.untold == set()


async def test_a_revoked_session(service: Service, serving: Serving) -> None:
    """A stream ends when its session does, and another session of the same user goes on."""
    await serving(service)
    user_id = new_id()
    token = service.sessions.open(user_id)
    async with (
        listening(service.client(token)) as revoked,
        listening(service.customer(user_id)) as living,
    ):
        await check_streams(service.context)
        del service.sessions.live[token]
        await check_streams(service.context)
        await eventually(lambda: revoked.is_over)
        assert not living.is_over
        await service.handle(order_placed(user_id=user_id))
        await eventually(lambda: living.ids)
    assert revoked.ids == []


async def test_a_session_that_cannot_be_checked(service: Service, serving: Serving) -> None:
    """Where nobody can say whether the session lives, the stream ends."""
    await serving(service)
    async with listening(service.customer(new_id())) as listener:
        service.sessions.fails = True
        await check_streams(service.context)
        await eventually(lambda: listener.is_over)


async def test_the_process_drains(service: Service, serving: Serving) -> None:
    """A process that is about to end lets its streams go."""
    await serving(service)
    async with listening(service.customer(new_id())) as listener:
        service.health.draining = True
        await check_streams(service.context)
        await eventually(lambda: listener.is_over)
    service.health.draining = False


async def test_the_client_leaves(service: Service, serving: Serving) -> None:
    """A client that goes away gives its place back."""
    await serving(service)
    async with listening(service.customer(new_id())):
        assert len(service.context.streams) == 1
    await eventually(lambda: len(service.context.streams) == 0)


async def test_so_many_a_user(make: Make, serving: Serving) -> None:
    """One user has only so many streams; others have theirs."""
    service = await serving(await make(streams_per_user_most=2))
    user_id = new_id()
    client = service.customer(user_id)
    async with listening(client), listening(client):
        refused = await client.get("/v1/notifications/stream")
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
        assert "retry-after" in refused.headers
        async with listening(service.customer(new_id())):
            pass
    await eventually(lambda: len(service.context.streams) == 0)
    async with listening(client):
        pass


async def test_so_many_a_process(make: Make, serving: Serving) -> None:
    """A process has only so many streams, and says so."""
    service = await serving(await make(streams_most=1))
    async with listening(service.customer(new_id())):
        refused = await service.customer(new_id()).get("/v1/notifications/stream")
        assert (refused.status_code, refused.json()["code"]) == (503, "streams_full")


async def test_a_client_that_does_not_read(
    service: Service, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a client that reads nothing, no more is read from the database than the network takes,
    and after a while it loses its place.
    """
    await serving(service)
    monkeypatch.setattr(stream, "_SEND_SECONDS", 5.0)
    user_id = new_id()
    for _ in range(20):
        await service.take([message_of(order_placed(user_id=user_id)) for _ in range(1000)])
    first = (await inbox_ids(service, user_id))[0]
    asked: list[str] = []
    service.database._probe = asked.append
    token = service.sessions.open(user_id)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", int(service.base.rpartition(":")[2])))
    request = (
        f"GET /v1/notifications/stream HTTP/1.1\r\nHost: shop\r\nLast-Event-ID: {first}\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    )
    await loop.sock_sendall(connection, request.encode())
    await eventually(lambda: len(service.context.streams) == 1)
    # The client stays: the stream ends because it could not send what it had read.
    await eventually(lambda: len(service.context.streams) == 0)
    pages = sum("LATERAL" in one for one in asked if one.startswith("before"))
    assert 1 <= pages < 1000, "it was read to the end for a client that takes nothing"
    connection.close()

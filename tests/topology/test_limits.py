"""Slow clients, slow instances, streams, and the balancer itself reloaded or ended."""

import asyncio
import json
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from shop import free_port
from topology.conftest import Opening
from topology.house import client, until
from tradewind.split.haproxy import CONFIGURATION, reload_balancer

pytestmark = pytest.mark.asyncio


async def test_a_head_that_trickles(opened: Opening) -> None:
    """A client that does not finish its headers is cut off, and nobody hears of it."""
    house = await opened(head_seconds=0.5)
    answer = await house.door.raw(b"GET /v1/orders HTTP/1.1\r\nHost: sh")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert house.inside["orders"][0].taken == []


@pytest.mark.parametrize("framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
async def test_a_body_that_trickles(opened: Opening, framing: bytes) -> None:
    """A body that does not arrive in time is the application's own 408, and holds no instance."""
    house = await opened(body_seconds=0.5)
    head = b"POST /v1/orders HTTP/1.1\r\nHost: shop\r\n" + framing + b"\r\n\r\n"
    answer = await house.door.raw(head, b"1\r\n")
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert (told["code"], told["detail"]) == (
        "request_timeout",
        "A body must arrive within 0.5 seconds.",
    )
    assert house.inside["orders"][0].taken == []


async def test_a_client_that_is_quiet(opened: Opening) -> None:
    """A kept connection on which nothing more is asked is closed."""
    house = await opened(idle_seconds=0.5)
    answer = await house.door.raw(b"GET /v1/orders HTTP/1.1\r\nHost: shop\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_more_clients_than_allowed(opened: Opening) -> None:
    """A client beyond the limit is let in once another one has left."""
    house = await opened(connections_most=4)
    asked = b"GET /v1/orders HTTP/1.1\r\nHost: shop\r\n\r\n"
    async with AsyncExitStack() as leaving:
        for _ in range(4):
            reader, writer = await asyncio.open_connection(house.door.host, house.door.port)
            leaving.callback(writer.close)
            writer.write(asked)
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        late = asyncio.create_task(house.door.answer(asked))
        await asyncio.wait([late], timeout=0.5)
        assert not late.done()
        assert len(house.inside["orders"][0].taken) == 4
    head, _ = await late
    assert head.startswith(b"HTTP/1.1 200 ")


async def test_more_requests_than_an_instance_may_have(opened: Opening) -> None:
    """What an instance may not have yet waits a moment; then a 503 says that nothing was done."""
    house = await opened(instance_requests_most=2, queue_seconds=0.5)
    instance = house.inside["orders"][0]
    taken = instance.taken
    instance.going.clear()

    async def are_there() -> bool:
        return len(taken) == 2

    async with client() as session:
        url = f"{house.door.url}/v1/orders"
        requests = [asyncio.ensure_future(session.post(url)) for _ in range(2)]
        await until(are_there)
        async with session.post(url) as answer:
            assert (answer.status, answer.headers.get("retry-after")) == (503, "1")
        instance.going.set()
        assert [(await one).status for one in requests] == [200, 200]
    assert len(taken) == 2


async def test_an_instance_that_says_nothing(opened: Opening) -> None:
    """An instance that does not answer in time is a 504 problem."""
    house = await opened(answer_seconds=0.5)
    house.inside["orders"][0].going.clear()
    async with client() as session, session.post(f"{house.door.url}/v1/orders") as answer:
        told = await answer.json(content_type=None)
    house.inside["orders"][0].going.set()
    assert (answer.status, told["code"]) == (504, "gateway_timeout")
    assert answer.headers["content-type"] == "application/problem+json"
    assert told["requestId"] == answer.headers["x-request-id"]


async def test_streams_go_on(opened: Opening) -> None:
    """A stream of events may be quiet for longer than any answer, and comes piece by piece."""
    house = await opened(answer_seconds=0.5)
    instance = house.inside["notifications"][0]
    instance.going.clear()
    url = f"{house.door.url}/v1/notifications/stream?drip=3&pause=0.8"
    async with client() as session, session.get(url) as answer:
        assert await answer.content.readany() == b"data: 0\n\n"
        instance.going.set()
        assert await answer.read() == b"data: 1\n\ndata: 2\n\n"


async def test_reload(opened: Opening) -> None:
    """A changed configuration is taken over under load: no request fails, none under way ends."""
    house = await opened()
    old = house.server.pid
    failed: list[object] = []
    ending = asyncio.Event()

    async def ask_on() -> None:
        while not ending.is_set():
            answer = await house.door.raw(
                b"POST /v1/orders HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"
            )
            if not answer.startswith(b"HTTP/1.1 200 "):
                failed.append(answer)

    clients = [asyncio.create_task(ask_on()) for _ in range(4)]
    async with client() as session:
        long = asyncio.ensure_future(session.get(f"{house.door.url}/v1/orders?pause=2"))
        await asyncio.sleep(0.1)
        other = free_port()
        reload_balancer(
            house.server, msgspec.structs.replace(house.values, figures=f"127.0.0.1:{other}")
        )

        async def has_figures() -> bool:
            try:
                async with session.get(f"http://127.0.0.1:{other}/metrics") as answer:
                    return "haproxy_server_status" in await answer.text()
            except OSError:
                return False

        await until(has_figures)
        ending.set()
        await asyncio.gather(*clients)
        assert (await long).status == 200
    assert failed == []
    assert house.server.pid == old


async def test_ended(opened: Opening) -> None:
    """What is under way when it is ended is answered before it goes."""
    house = await opened()

    async def is_there() -> bool:
        return bool(house.inside["orders"][0].taken)

    async with client() as session:
        long = asyncio.ensure_future(session.post(f"{house.door.url}/v1/orders?pause=1"))
        await until(is_there)
        await house.server.stop()
        assert (await long).status == 200


async def test_the_log_keeps_secrets(opened: Opening) -> None:
    """A request that failed is logged by its id, without its path, its query or its headers."""
    house = await opened(answer_seconds=0.5)
    headers = {"X-Request-Id": "mine-1", "Authorization": "Bearer hushed", "Cookie": "a=hushed"}
    house.inside["orders"][0].going.clear()
    url = f"{house.door.url}/v1/orders/hushed?token=hushed"
    async with client() as session, session.post(url, headers=headers) as answer:
        assert answer.status == 504
    house.inside["orders"][0].going.set()

    async def is_logged() -> bool:
        return "request_id=mine-1" in house.server.program.log.read_text()

    await until(is_logged)
    assert "hushed" not in house.server.program.log.read_text()


async def test_its_files_are_its_owners(opened: Opening, tmp_path: Path) -> None:
    """Configuration and sockets are for its owner only."""
    house = await opened(control_socket=str(tmp_path / "haproxy" / "control"))
    folder = house.server.program.folder
    modes = {one.name: one.stat().st_mode & 0o777 for one in folder.iterdir()}
    assert modes[CONFIGURATION] == modes["control"] == modes["master"] == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


async def test_tls(opened: Opening, tmp_path: Path) -> None:
    """With a certificate clients come by TLS, by HTTP/2 if they like, and are told to stay."""
    certificate = await make_certificate(tmp_path)
    house = await opened(certificate=str(certificate))
    tls = ssl.create_default_context(cafile=str(certificate))
    answer = await house.door.raw(
        b"GET /v1/orders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", tls=tls
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"strict-transport-security: max-age=31536000" in head
    assert ["x-forwarded-proto", "https"] in json.loads(body)["headers"]
    refused = await house.door.raw(
        b"GET /internal HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", tls=tls
    )
    assert b"strict-transport-security: max-age=31536000" in refused
    url = f"{house.door.url}/v1/orders"
    program = ["curl", "--silent", "--http2", "--cacert", str(certificate), "--data", "abc"]
    told = await run(*program, "--write-out", "\n%{http_version}", url)
    assert told.splitlines()[-1] == "2"
    assert json.loads(told.splitlines()[0])["length"] == 3


async def test_no_tls_tickets(opened: Opening, tmp_path: Path) -> None:
    """No key of the balancer's opens what was recorded: sessions are not given away in tickets."""
    certificate = await make_certificate(tmp_path)
    house = await opened(certificate=str(certificate))
    tls = ssl.create_default_context(cafile=str(certificate))
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    _, writer = await asyncio.open_connection(house.door.host, house.door.port, ssl=tls)
    spoken: ssl.SSLObject = writer.get_extra_info("ssl_object")
    writer.close()
    assert spoken.version() == "TLSv1.2"
    assert spoken.session is not None
    assert not spoken.session.has_ticket


async def make_certificate(folder: Path) -> Path:
    """A key and a certificate of its own for 127.0.0.1, in one file."""
    key, certificate, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
    program = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    more = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    await run(*program.split(), "-keyout", str(key), "-out", str(certificate), *more)
    both.write_text(key.read_text() + certificate.read_text())
    return both


async def run(*program: str) -> str:
    """What a program prints; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        *program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err
    return out.decode()

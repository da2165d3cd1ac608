"""The parts of a house under test: its door, its balancer, the instances behind it."""

import asyncio
import contextlib
import ssl
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from servers import balancer_told
from shop import free_port
from topology import instance as instances
from topology.instance import Instance
from tradewind.platform.web.serving import ServingSettings, serve
from tradewind.split.programs import Program, ProgramServer
from tradewind.topology import balancing
from tradewind.topology.balancing import Balancing

PATIENCE_SECONDS = 15.0
TESTS = Path(__file__).resolve().parents[1]


class Door:
    """Where clients come in."""

    def __init__(self, values: Balancing) -> None:
        self.host, self.port = values.host, values.port
        scheme = "http" if values.certificate is None else "https"
        self.url = f"{scheme}://{values.host}:{values.port}"

    async def raw(self, *sent: bytes, tls: ssl.SSLContext | None = None) -> bytes:
        """Send these bytes, piece by piece; give all that comes until the other side closes."""
        reader, writer = await asyncio.open_connection(self.host, self.port, ssl=tls)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                for piece in sent:
                    writer.write(piece)
                    await writer.drain()
                with contextlib.suppress(ConnectionResetError):
                    return await reader.read()
                return b""
        finally:
            writer.close()

    async def answer(self, *sent: bytes) -> tuple[bytes, bytes]:
        """Send these bytes; give head and body of the first answer, as long as its length says."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                for piece in sent:
                    writer.write(piece)
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                return head, await reader.readexactly(size)
        finally:
            writer.close()


@dataclass(frozen=True)
class House:
    """A balancer that runs, and what is behind it."""

    door: Door
    server: ProgramServer
    values: Balancing
    inside: Mapping[str, Sequence[Instance]]
    """Instances in this process, by service."""
    outside: Mapping[str, Sequence[ProgramServer]]
    """Instances that are processes of their own, by service."""

    async def told(self, service: str, what: str = "status") -> list[str]:
        """What the balancer says of each instance of a service: whether it is up, or a figure."""
        assert self.values.control_socket is not None, "a house opened without its control socket"
        return await balancer_told(Path(self.values.control_socket), service, what)


@asynccontextmanager
async def serving(one: Instance) -> AsyncGenerator[balancing.Instance]:
    """An instance in this process, both sides listening until the block ends."""
    place = balancing.Instance("127.0.0.1", free_port(), free_port())
    stop = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []
    for app, port in ((one.front(), place.port), (one.answer_inside, place.internal_port)):
        ready = asyncio.Event()
        task = asyncio.create_task(
            serve(app, "127.0.0.1", port, settings=ServingSettings(), ready=ready.set, stop=stop)
        )
        tasks.append(task)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await ready.wait()
    try:
        yield place
    finally:
        stop.set()
        await asyncio.gather(*tasks)


def instance_program(
    name: str, place: balancing.Instance, folder: Path, linger_seconds: float
) -> Program:
    """An instance as a process, started as the store starts its own."""

    async def answers() -> bool:
        for port in (place.port, place.internal_port):
            try:
                _, writer = await asyncio.open_connection(place.host, port)
            except OSError:
                return False
            writer.close()
        return True

    return Program(
        name=name,
        arguments=[
            sys.executable,
            instances.__file__,
            name,
            str(place.port),
            str(place.internal_port),
            str(linger_seconds),
        ],
        folder=folder / name,
        answers=answers,
        environment={"PYTHONPATH": str(TESTS)},
        end_seconds=20.0,
    )


async def until(what: Callable[[], Awaitable[bool]], seconds: float = PATIENCE_SECONDS) -> float:
    """Waits until something is so; answers how long that took, in seconds."""
    started = asyncio.get_running_loop().time()
    async with asyncio.timeout(seconds):
        while not await what():
            await asyncio.sleep(0.02)
    return asyncio.get_running_loop().time() - started


@asynccontextmanager
async def client() -> AsyncGenerator[aiohttp.ClientSession]:
    """A client that keeps its connections and tells the truth about what failed."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as one:
        yield one

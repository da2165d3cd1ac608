"""Stand-ins for instances of a service that go wrong; one rule: they do as they are told.

A real instance cannot be made to break off an answer in the middle; these speak plain sockets.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Script = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""What becomes of a call, once it has been read whole."""


class Instance:
    """One that listens; `calls` and `knocks` came so far."""

    def __init__(self, script: Script, *, ready: bool) -> None:
        self.script = script
        self.ready = ready
        self.calls: list[bytes] = []
        self.heads: list[str] = []
        self.knocks = 0
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    (
                        int(line.partition(":")[2])
                        for line in head.lower().splitlines()
                        if line.startswith("content-length:")
                    ),
                    0,
                )
                body = await reader.readexactly(length)
                if head.startswith("GET /readyz"):
                    self.knocks += 1
                    await answering(b"", 200 if self.ready else 503)(writer)
                else:
                    self.calls.append(body)
                    self.heads.append(head)
                    await self.script(writer)
        writer.close()


Stand = Callable[..., Awaitable[Instance]]
"""Makes one, of a script and perhaps `ready`, and ends it with the test."""


@asynccontextmanager
async def standing(script: Script, *, ready: bool = True) -> AsyncGenerator[Instance]:
    """One that listens until it is left."""
    instance = Instance(script, ready=ready)
    open_talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_talks.add(task)
        try:
            await instance._talk(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            open_talks.discard(task)

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    instance.port = server.sockets[0].getsockname()[1]
    try:
        yield instance
    finally:
        server.close()
        for task in list(open_talks):
            task.cancel()
        await asyncio.gather(*open_talks, return_exceptions=True)


def answering(body: bytes, status: int = 200, *more: str) -> Script:
    """Answers so."""
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}", *more]
    text = "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()

    return answer


async def hanging(_writer: asyncio.StreamWriter) -> None:
    """Takes the call and never answers."""
    await asyncio.get_running_loop().create_future()


async def trickling(writer: asyncio.StreamWriter) -> None:
    """Begins an answer, and goes on a byte at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        writer.write(b"[")
        await writer.drain()
        await asyncio.sleep(0.01)


async def breaking_off(writer: asyncio.StreamWriter) -> None:
    """Closes the connection in the middle of its answer."""
    writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[{"val')
    await writer.drain()
    writer.close()


async def hanging_up(writer: asyncio.StreamWriter) -> None:
    """Takes the call and closes the connection."""
    writer.close()


async def babbling(writer: asyncio.StreamWriter) -> None:
    """Answers what is no HTTP."""
    writer.write(b"\x16\x03\x01garbage\r\n\r\n")
    await writer.drain()
    writer.close()

"""A real store in a process of its own, on a home of its own; and customers who write down all.

What a customer was told is kept beside what was asked, so that it can be asked again later.
"""

import asyncio
import os
import re
import signal
import sys
import time
from collections import Counter as Count
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx

from shop import ADDRESS, free_port
from tradewind.platform.embedded.endpoint import find_endpoint
from tradewind.platform.embedded.home import Home
from tradewind.platform.embedded.leftovers import find_processes

PATIENCE_SECONDS = 240.0
QUICK = {
    "TRADEWIND_ORDERS_LEASE_SECONDS": "2",
    "TRADEWIND_ORDERS_TEST_SETTLE_SECONDS": "1",
    "TRADEWIND_LOG_LEVEL": "error",
}
"""What is left half done is taken up soon."""
LATER = frozenset({"idempotency_key_in_progress"})
_ASKED_AT_ONCE = 20


class RunningStore:
    """`tradewind run` in a home; killed and started again as a test likes."""

    words: tuple[str, ...] = ("run",)
    """The command that it is."""

    def __init__(self, home: Path, changes: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.password = ""
        self.said: list[str] = []
        self._environment = {
            **{name: value for name, value in os.environ.items() if "TRADEWIND" not in name},
            **QUICK,
            **(changes or {}),
            "TRADEWIND_HOME": str(home),
            "TRADEWIND_PORT": str(self.port),
            "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src"),
        }
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when it is ready; notes the password of its first member of staff."""
        self._process = await self._command(*self.words, stdout=asyncio.subprocess.PIPE)
        ready = asyncio.Event()
        self._reading = asyncio.create_task(self._read(self._process, ready))
        waits = asyncio.create_task(ready.wait())
        ends = asyncio.create_task(self._process.wait())
        done, _ = await asyncio.wait(
            {waits, ends}, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        assert waits in done, "\n".join(self.said[-20:])
        ends.cancel()

    async def _read(self, process: asyncio.subprocess.Process, ready: asyncio.Event) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            text = line.decode().rstrip()
            self.said.append(text)
            if found := re.search(r"shown only this once: (\S+)", text):
                self.password = found[1]
            if text.startswith("Ready:"):
                ready.set()

    async def _command(self, *words: str, **more: Any) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tradewind",
            *words,
            cwd=self.home,
            env=self._environment,
            stderr=asyncio.subprocess.STDOUT,
            **more,
        )

    def kill(self, *, with_database: bool = False) -> None:
        """-9, at once; with the database's processes too, nothing is left to end in order."""
        assert self._process is not None
        if with_database:
            self.signal_database(signal.SIGKILL)
        self._process.kill()

    async def gone(self) -> None:
        """Waits for the killed process."""
        assert self._process is not None
        assert self._reading is not None
        await self._process.wait()
        await self._reading

    def signal_database(self, number: signal.Signals) -> None:
        """To every process of the embedded PostgreSQL; its workers come and go by themselves."""
        for pid in find_processes(Home.at(self.home)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    async def says(self, words: str) -> None:
        """Waits until it prints these words, from now on."""
        seen, deadline = len(self.said), asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while not any(words in line for line in self.said[seen:]):
            assert asyncio.get_running_loop().time() < deadline, self.said[-20:]
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Ends it in order."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self.gone()

    async def check(self) -> tuple[int, str]:
        """`tradewind check` from another terminal: exit code, and what it said."""
        return await self.command("check")

    async def command(self, *words: str) -> tuple[int, str]:
        """`tradewind …` from another terminal: exit code, and what it said."""
        process = await self._command(*words, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode()

    async def rows(self, query: str, *arguments: Any) -> list[Any]:
        """Asks its database directly."""
        endpoint = find_endpoint(self.home)
        connection = await asyncpg.connect(**endpoint.connect_arguments(database="tradewind"))
        try:
            return await connection.fetch(query, *arguments)
        finally:
            await connection.close()


class Wish:
    """A purchase that somebody wants: always sent with the same key and body.

    `unclear` are answers after which it is to be asked again.
    """

    def __init__(self, sku: str, token: str, unclear: frozenset[int] = frozenset()) -> None:
        self.unclear = unclear
        self.token = token
        self.key = uuid4().hex
        self.email = f"{uuid4().hex[:16]}@example.com"
        self.body: dict[str, Any] = {
            "lines": [{"sku": sku, "quantity": 1}],
            "email": self.email,
            "shippingAddress": ADDRESS,
            "payment": {"token": token},
        }
        self.answer: tuple[int, bytes] | None = None
        """What was acknowledged."""
        self.heard: Count[str] = Count()
        """Everything else: refusals for now, broken connections."""
        self.wrong: list[str] = []
        self.longest_seconds = 0.0

    async def send(self, client: httpx.AsyncClient) -> bool:
        """Once; whatever comes is written down. Answers whether it was an end."""
        started = time.monotonic()
        try:
            told = await client.post(
                "/v1/checkout", json=self.body, headers={"Idempotency-Key": self.key}
            )
        except httpx.TransportError as error:
            self.heard[type(error).__name__] += 1
            return False
        finally:
            self.longest_seconds = max(self.longest_seconds, time.monotonic() - started)
        if told.status_code in self.unclear:
            # The balancer's word for an instance that left in the middle: nobody knows what was.
            self.heard[str(told.status_code)] += 1
            return False
        if told.status_code == 503 or (told.status_code == 409 and told.json()["code"] in LATER):
            self.heard[str(told.status_code)] += 1
            if "retry-after" not in told.headers:
                self.wrong.append(f"no Retry-After: {told.text}")
            return False
        answer = (told.status_code, told.content)
        if told.status_code >= 500:
            self.wrong.append(told.text)
        if self.answer is not None and self.answer != answer:
            self.wrong.append(f"first {self.answer}, then {answer}")
        self.answer = answer
        return True

    async def insist(self, client: httpx.AsyncClient) -> None:
        """Until it is told an end; a breath between tries, as Retry-After asks for."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while not await self.send(client):
            assert asyncio.get_running_loop().time() < deadline, self.heard
            await asyncio.sleep(0.2)


class Crowd:
    """Customers who buy one after the other, each at his own pace, and remember everything."""

    def __init__(
        self, store: RunningStore, skus: list[str], unclear: frozenset[int] = frozenset()
    ) -> None:
        self.store = store
        self.skus = skus
        self.unclear = unclear
        self.wishes: list[Wish] = []
        self._tokens = ["tok_approved"] * 4 + ["tok_timeout", "tok_pending", "tok_declined"]
        self._ending = False

    @property
    def acknowledged(self) -> int:
        """How many were told an end."""
        return sum(wish.answer is not None for wish in self.wishes)

    async def buy(self, customers: int = 8, pause_seconds: float = 0.0) -> None:
        """Until `end` is called; each takes a breath between two purchases."""
        await asyncio.gather(*(self._buy(number, pause_seconds) for number in range(customers)))

    def end(self) -> None:
        """No more new wishes."""
        self._ending = True

    def begin(self) -> None:
        """New wishes again."""
        self._ending = False

    async def _buy(self, number: int, pause_seconds: float) -> None:
        async with httpx.AsyncClient(base_url=self.store.base, timeout=60) as client:
            while not self._ending:
                place = len(self.wishes) + number
                wish = Wish(
                    self.skus[place % len(self.skus)],
                    self._tokens[place % len(self._tokens)],
                    self.unclear,
                )
                self.wishes.append(wish)
                await wish.send(client)
                await asyncio.sleep(0.05 if wish.answer is None else pause_seconds)

    async def until(self, acknowledged: int) -> None:
        """Waits for so many acknowledgements."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while self.acknowledged < acknowledged:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)

    async def ask_again(self) -> None:
        """Every wish, acknowledged or not, once more with its key: each has one end."""
        async with httpx.AsyncClient(base_url=self.store.base, timeout=60) as client:
            await self._insist(client, [wish for wish in self.wishes if wish.answer is None])
            await self._insist(client, self.wishes)
        wrong = [fault for wish in self.wishes for fault in wish.wrong]
        assert not wrong, wrong[:5]

    async def _insist(self, client: httpx.AsyncClient, wishes: list[Wish]) -> None:
        """A few at a time, so that each one's patience is its own: after a long fault there are
        thousands, which a slow machine takes minutes for.
        """
        left = iter(wishes)

        async def one_after_the_other() -> None:
            for wish in left:
                await wish.insist(client)

        await asyncio.gather(*(one_after_the_other() for _ in range(_ASKED_AT_ONCE)))

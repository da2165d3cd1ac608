"""A split store in processes of its own, on a home of its own, and each of its parts to be hurt."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

from faults.running import PATIENCE_SECONDS, RunningStore
from servers import balancer_told
from shop import Front, eventually
from tradewind.platform.embedded.home import Home
from tradewind.platform.embedded.leftovers import find_processes
from tradewind.split.standing import split_folder, told_parts
from tradewind.topology.services import SERVICES

FIRST_STAFF = "staff@tradewind.example"
PRIMARY, REPLICA = "PostgreSQL primary", "PostgreSQL replica"
SERVERS = ("redis sessions", "redis cache", "rabbitmq", REPLICA, PRIMARY)
PARTS = (*(f"{service} 1" for service in SERVICES), *SERVERS)
"""One instance of each service, and every server."""


class RunningSplit(RunningStore):
    """`tradewind split` in a home, on whichever ports are free."""

    words = ("split", "--first-port", "0")

    def pids(self, part: str) -> set[int]:
        """The processes of a part as it runs now; PostgreSQL has many."""
        if part in (PRIMARY, REPLICA):
            place = Home.at if part == PRIMARY else Home.replica_at
            return find_processes(place(self.home))
        pid = told_parts(self.home)[part].pid
        return set() if pid is None else {pid}

    def send(self, part: str, number: signal.Signals) -> set[int]:
        """Sends it to all processes of a part; answers which."""
        found = self.pids(part)
        assert found, f"{part} does not run"
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return found

    def send_all(self, pids: set[int], number: signal.Signals) -> None:
        """To these processes, as far as they are still there."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    async def is_back(self, part: str, restarts: int) -> None:
        """Waits until a part was started anew more than so many times."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while self.restarts(part) <= restarts:
            assert asyncio.get_running_loop().time() < deadline, self.said[-20:]
            await asyncio.sleep(0.05)

    async def is_balanced(self) -> None:
        """Waits until the balancer sees every instance up: one that is back is not asked at once.

        Whoever takes the next one away before that leaves nobody to go to.
        """
        control = split_folder(self.home) / "haproxy" / "control"

        async def all_up() -> bool:
            states = [one for service in SERVICES for one in await balancer_told(control, service)]
            return set(states) == {"UP"}

        await eventually(all_up, PATIENCE_SECONDS)

    def restarts(self, part: str) -> int:
        """How often it was started again."""
        return told_parts(self.home)[part].restarts


class SplitWorld:
    """One split store for all tests that only use its API; started when the first one asks."""

    def __init__(self, home: Path) -> None:
        self.running = RunningSplit(home)
        self._front: Front | None = None

    async def front(self) -> Front:
        """The store as it is seen from outside."""
        if self._front is None:
            await self.running.start()
            self._front = Front(self.running.base, (FIRST_STAFF, self.running.password))
        return self._front

    async def end(self) -> None:
        """Ends it, if it was started."""
        if self._front is not None:
            await self._front.end()
        await self.running.stop()

"""Password hashes; one rule: hashing never runs on the event loop, and never more than fits.

argon2id with 19 MiB, two passes, one lane (OWASP ASVS 5, password storage cheat sheet): about 25 ms
of one core where this was written. As many threads as cores, at a lower priority than everything
else in the process, so that a rush of sign-ins slows nothing but itself; behind them a queue of
bounded length, beyond which the answer is 503 at once.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import argon2
import bcrypt
import msgspec
from argon2.exceptions import InvalidHashError, VerificationError

from tradewind.platform.errors import Unavailable
from tradewind.users.model.passwords import normalized

Result = TypeVar("Result")

_BCRYPT_BYTES_MOST = 72
"""bcrypt reads no more; the Express service took longer passwords and compared their beginnings."""
_NICENESS = 5
_HASHES_A_SECOND = 40
"""Of one thread, at the least; for telling when to come back."""


class Strength(msgspec.Struct, frozen=True):
    """The cost of a new hash."""

    memory_kib: int = 19_456
    passes: int = 2
    lanes: int = 1


class Hashing:
    """Makes and checks hashes in threads of its own."""

    def __init__(
        self, strength: Strength, *, threads: int | None = None, waiting_most: int = 400
    ) -> None:
        self._strength = strength
        self._threads = threads or max(1, os.cpu_count() or 1)
        self._waiting_most = waiting_most
        self._pool = ThreadPoolExecutor(
            self._threads, thread_name_prefix="hashing", initializer=_yield_to_others
        )
        self._hasher = argon2.PasswordHasher(
            time_cost=strength.passes,
            memory_cost=strength.memory_kib,
            parallelism=strength.lanes,
        )
        self._decoy = self._hasher.hash(os.urandom(16))
        self.waiting = 0
        """Hashes that are asked for and not done."""

    async def hash(self, password: str) -> str:
        """A new hash. Raises Unavailable where too many are waiting."""
        return await self._run(lambda: self._hasher.hash(normalized(password)))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password is that of the hash; None costs as much and is never right."""
        return await self._run(lambda: self._verify(stored, password))

    def is_weak(self, stored: str) -> bool:
        """Whether a hash should be made anew: bcrypt, or argon2 that costs less than ours."""
        if stored.startswith("$2"):
            return True
        found = argon2.extract_parameters(stored)
        ours = self._strength
        return (
            found.type is not argon2.Type.ID
            or found.memory_cost < ours.memory_kib
            or found.time_cost < ours.passes
        )

    def close(self) -> None:
        """Starts no further hash."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self.waiting >= self._waiting_most:
            seconds = 1 + self.waiting // (_HASHES_A_SECOND * self._threads)
            raise Unavailable(
                "too many people are signing in just now; try again shortly",
                retry_after_seconds=seconds,
            )
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self.waiting -= 1

    def _verify(self, stored: str | None, password: str) -> bool:
        if stored is not None and stored.startswith("$2"):
            return _verify_bcrypt(stored, password)
        try:
            right = self._hasher.verify(stored or self._decoy, normalized(password))
        except (VerificationError, InvalidHashError):
            return False
        return right and stored is not None


def _verify_bcrypt(stored: str, password: str) -> bool:
    given = password.encode("utf-8", "surrogatepass")[:_BCRYPT_BYTES_MOST]
    try:
        return bcrypt.checkpw(given, stored.encode())
    except ValueError:  # a hash that only looks like one
        return False


def _yield_to_others() -> None:
    """Lowers this thread's priority; on Linux a thread has one of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)

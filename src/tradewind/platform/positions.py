"""Where a server is in the WAL; one rule: an answer is never older than the question.

A question is one tiny statement on a connection of its own, coalesced: whoever asks while one is
on its way shares the next. A position is a byte count from the beginning (`lsn - '0/0'`).

A primary is asked how far it is *flushed*: with synchronous_commit a commit is acknowledged, and
visible to others, only when that has passed it, and a replica can only ever get what is flushed
(the insert position may run ahead of both for 200 ms).
"""

import asyncio
from collections.abc import Sequence
from typing import Any, LiteralString

import asyncpg
import msgspec

from tradewind.platform.coalesce import Coalescer
from tradewind.platform.connections import (
    CONTENDED,
    GONE,
    Address,
    DatabaseDown,
    statements_kept,
)

FLUSHED: LiteralString = "SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint"
REPLAYED: LiteralString = """
SELECT CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint END
"""
SETTLED: LiteralString = """
SELECT (pg_logical_emit_message(true, 'tradewind', '') - '0/0'::pg_lsn)::bigint
"""
"""Flushes all there is, for that is what a commit does.

Needed where somebody writes much and does not commit: whole pages are flushed for him, the last
of which ends in the middle of a record, and a replica cannot replay half a record.
"""
WAL_PAGE_BYTES = 8192
_IDENTITY = """
SELECT system_identifier::text, pg_postmaster_start_time()::text FROM pg_control_system()
"""
_WAITING_MOST = 100_000
_FAILED = (*GONE, *CONTENDED, asyncpg.PostgresError)


class Identity(msgspec.Struct, frozen=True):
    """Which server answers: whose data it has, and when it was started."""

    system: str
    started: str


async def ask_identity(connection: Any) -> Identity:
    """Which server this connection leads to."""
    system, started = await connection.fetchrow(_IDENTITY)
    return Identity(system, started)


class Position:
    """One server's position, asked again and again. `within_seconds` bounds each question.

    `known` is the newest answer. It holds for the server that gave it, as long as the connection on
    which it did lives; with that it is forgotten, for whoever answers next may be further behind.
    """

    def __init__(
        self,
        address: Address,
        question: LiteralString,
        *,
        within_seconds: float,
        pooled: bool = False,
    ) -> None:
        self.known = 0
        self.newest = 0
        """The newest answer of all, from whichever server: of a primary it stays true."""
        self.identity: Identity | None = None
        """Of the server that gave `known`."""
        self._address = address
        self._question = question
        self._within_seconds = within_seconds
        self._pooled = pooled
        self._connection: Any = None
        self._closed = False
        self._asking = Coalescer(
            f"position of {address.user}",
            self._answer_all,
            most=_WAITING_MOST,
            waiting_most=_WAITING_MOST,
        )

    @property
    def questions(self) -> int:
        """Statements asked so far."""
        return self._asking.batches

    async def ask(self) -> int:
        """Where the server is, at some moment after this call; raises Unavailable."""
        return await self._asking.submit(None)

    async def close(self) -> None:
        """Ends the connection; nobody is answered any more."""
        self._closed = True
        self._forget()

    async def _answer_all(self, waiting: list[None]) -> Sequence[int | Exception]:
        try:
            async with asyncio.timeout(self._within_seconds):
                position = await self._answer()
        except _FAILED as error:
            self._forget()
            raise DatabaseDown(f"no position is to be had: {error!r}") from error
        except BaseException:
            self._forget()
            raise
        if position is None:
            self._forget()
            raise DatabaseDown("the replica is none any more")
        # Never back: one connection is one life of one server.
        self.known = max(self.known, position)
        self.newest = max(self.newest, self.known)
        return [self.known] * len(waiting)

    async def _answer(self) -> int | None:
        if self._closed:
            raise DatabaseDown("closed")
        connection = self._connection
        if connection is None or connection.is_closed():
            self._forget()
            connection = self._connection = await asyncpg.connect(
                **self._address.arguments(),
                timeout=self._within_seconds,
                statement_cache_size=statements_kept(pooled=self._pooled),
            )
            self.identity = await ask_identity(connection)
        return await connection.fetchval(self._question)

    def _forget(self) -> None:
        self.known, self.identity = 0, None
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.terminate()

"""Sign-in attempts on their way through the database; one rule: many at once are one transaction.

`standing` asks before a password is tried, `settle` decides after; see `model.throttling`.
"""

import asyncio
import hmac
from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec

from tradewind.platform.coalesce import Coalescer
from tradewind.platform.database import Database
from tradewind.users.contract import TooManyAttempts
from tradewind.users.model.shapes import Account, Client, NewSession
from tradewind.users.model.throttling import (
    WINDOW,
    Counter,
    Decision,
    Limits,
    Verdict,
    decide,
    delay_seconds,
    is_full,
    retry_after_seconds,
)
from tradewind.users.store import accounts, attempts, sessions

_WAITING_MOST = 500
_WAITING_RETRY_SECONDS = 5
_TOO_MANY = "too many failed sign-ins; try again later"


class Question(msgspec.Struct, frozen=True):
    """Who is signing in: by the key of a name, or somebody known who shows the password again."""

    key: str
    client: Client
    user_id: UUID | None = None


class Standing(msgspec.Struct, frozen=True):
    """What is known before the password is tried."""

    account: Account | None
    account_subject: bytes
    client_subject: bytes
    familiar: bool
    account_counter: Counter
    client_counter: Counter


class Attempt(msgspec.Struct, frozen=True):
    """A password that was tried. `rehashed` is a stronger hash of it, `session` is to be opened."""

    standing: Standing
    right: bool
    rehashed: str | None = None
    session: NewSession | None = None

    @property
    def user_id(self) -> UUID | None:
        """Whose password was right."""
        account = self.standing.account
        return account.id if self.right and account is not None else None


class Attempts:
    """The counters of failed sign-ins, shared by all processes through the database."""

    def __init__(
        self, database: Database, limits: Limits, pepper: bytes, delay_most_seconds: float
    ) -> None:
        self._database = database
        self._limits = limits
        self._pepper = pepper
        self._delay_most_seconds = delay_most_seconds
        self._delayed = 0
        self._asking = Coalescer("sign-in lookup", self._look_up, at_once=2)
        self._settling = Coalescer("sign-in", self._settle)

    async def standing(self, question: Question) -> Standing:
        """What is known of who signs in. Raises TooManyAttempts where a counter is full."""
        found = await self._asking.submit(question)
        if is_full(
            found.account_counter, found.client_counter, self._limits, familiar=found.familiar
        ):
            raise self._refusal(
                found.account_counter, found.client_counter, familiar=found.familiar
            )
        return found

    async def wait(self, standing: Standing) -> None:
        """Holds an attempt back the longer, the more failed before it. Takes no connection.

        Raises TooManyAttempts where so many are being held back that more would weigh on others.
        """
        seconds = delay_seconds(
            standing.account_counter, standing.client_counter, self._delay_most_seconds
        )
        if not seconds:
            return
        if self._delayed >= _WAITING_MOST:
            raise TooManyAttempts(_TOO_MANY, retry_after_seconds=_WAITING_RETRY_SECONDS)
        self._delayed += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._delayed -= 1

    async def settle(self, attempt: Attempt) -> Decision:
        """Counts the attempt and, where it is let in, saves its session and stronger hash.

        Raises TooManyAttempts where a counter was full by then.
        """
        outcome = await self._settling.submit(attempt)
        if isinstance(outcome, TooManyAttempts):
            raise outcome
        return outcome

    def account_subject(self, user_id: UUID | None, key: str) -> bytes:
        """The name of an account's counter; an unknown name has one of its own."""
        what = b"name " + key.encode("utf-8", "surrogatepass") if user_id is None else user_id.bytes
        return self._subject(b"account " + what)

    def _subject(self, what: bytes) -> bytes:
        return hmac.digest(self._pepper, what, "sha256")

    def _refusal(self, account: Counter, client: Counter, *, familiar: bool) -> TooManyAttempts:
        now = self._database.clock.now()
        seconds = retry_after_seconds(account, client, self._limits, now, familiar=familiar)
        return TooManyAttempts(_TOO_MANY, retry_after_seconds=seconds)

    async def _look_up(self, questions: list[Question]) -> Sequence[Standing]:
        async with self._database.reading() as reading:
            found = await accounts.find_named(
                reading,
                [one.key for one in questions if one.user_id is None],
                [one.user_id for one in questions if one.user_id is not None],
            )
            known: dict[str | UUID, Account] = {account.id: account for account in found}
            for account in found:
                keys = (account.email_key, account.username_key)
                known.update({key: account for key in keys if key})
            who = [known.get(one.user_id or one.key) for one in questions]
            subjects = [
                (
                    self.account_subject(account.id if account else None, one.key),
                    self._subject(b"client " + one.client.network.encode()),
                )
                for one, account in zip(questions, who, strict=True)
            ]
            counters = await attempts.find_counters(
                reading, list({subject for pair in subjects for subject in pair})
            )
            familiar = await sessions.find_familiar(
                reading,
                [
                    (account.id, one.client.network)
                    for one, account in zip(questions, who, strict=True)
                    if account
                ],
            )
            now = reading.now
        empty = Counter(0, now + WINDOW)
        return [
            Standing(
                account=account,
                account_subject=subject,
                client_subject=client,
                familiar=account is not None and (account.id, one.client.network) in familiar,
                account_counter=counters.get(subject, empty).at(now),
                client_counter=counters.get(client, empty).at(now),
            )
            for one, account, (subject, client) in zip(questions, who, subjects, strict=True)
        ]

    async def _settle(self, members: list[Attempt]) -> Sequence[Decision | TooManyAttempts]:
        async with self._database.transaction() as tx:
            # Held until the commit: a password changed or an account disabled meanwhile wins, and
            # whoever changes it afterwards finds the new session and ends it.
            hashes = await accounts.lock_hashes(
                tx, list({one.user_id for one in members if one.user_id is not None})
            )
            verdicts = [_verdict(one, hashes) for one in members]
            counters = await attempts.lock_counters(
                tx,
                _subjects(one for one in verdicts if not one.right),
                _subjects(one for one in verdicts if one.right),
            )
            decisions, changed = decide(verdicts, counters, self._limits, tx.now)
            if changed:
                await attempts.update_counters(tx, changed)
            let_in = [
                one
                for one, decision in zip(members, decisions, strict=True)
                if decision is Decision.LET_IN
            ]
            opened = [one.session for one in let_in if one.session is not None]
            if opened:
                await sessions.insert_sessions(tx, opened)
            stronger = {
                one.user_id: one.rehashed
                for one in let_in
                if one.user_id is not None and one.rehashed is not None
            }
            if stronger:
                await accounts.update_hashes(tx, list(stronger.items()))
        empty = Counter(0, self._database.clock.now())
        now_at = {**counters, **changed}
        return [
            self._refusal(
                now_at.get(one.account, empty),
                now_at.get(one.client, empty),
                familiar=one.familiar,
            )
            if decision is Decision.REFUSED
            else decision
            for one, decision in zip(verdicts, decisions, strict=True)
        ]


def _subjects(verdicts: Iterable[Verdict]) -> list[bytes]:
    return list({subject for one in verdicts for subject in (one.account, one.client)})


def _verdict(attempt: Attempt, hashes: dict[UUID, str]) -> Verdict:
    standing = attempt.standing
    tried = standing.account.password_hash if standing.account else None
    right = attempt.user_id is not None and hashes.get(attempt.user_id) == tried
    return Verdict(
        account=standing.account_subject,
        client=standing.client_subject,
        familiar=standing.familiar,
        right=right,
    )

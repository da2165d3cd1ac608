"""Mails on their way out; one rule: claimed, committed, sent outside any transaction, noted.

Any number of processes do this at once; a claim is a lease that lapses if its holder dies. Between
the server's yes and our note of it lies the one window in which a dying process leaves a mail to
be sent again: SMTP has no way to ask whether it has one already. The note follows at once, and the
Message-ID stays the same, so that such a double can be told.

Nobody waits for mails: a few at a time, each within its time, and a server that fails is left alone
for growing pauses, in which one mail at a time finds out whether it is back.
"""

import asyncio
from collections import deque
from typing import Final
from uuid import UUID

import structlog

from tradewind.notifications.actions.context import NotificationsContext
from tradewind.notifications.model.addresses import address_fault
from tradewind.notifications.model.delivery import (
    Carrier,
    CarrierDown,
    Claimed,
    Connection,
    Deferred,
    Delivered,
    Outcome,
    Refused,
    breaker_seconds,
    pause_seconds,
)
from tradewind.notifications.model.facts import decode
from tradewind.notifications.model.mail import build_mail
from tradewind.notifications.model.settings import parse_sender
from tradewind.notifications.store import deliveries as store

_CLAIMED_EACH: Final = 20
"""Mails claimed for each connection."""
_KEPT_AT_ONCE: Final = 500
_LEASE_MARGIN_SECONDS: Final = 10.0
_LEASE_SENDS: Final = 2
"""A lease lasts for so many of the slowest sendings; the rest of the claim is given back."""
_LONG_DOWN: Final = 20
"""So many failures in a row are some five minutes: then what is too old is given up."""

_log = structlog.get_logger(__name__)


class Delivery:
    """The delivering part of one process."""

    def __init__(self, context: NotificationsContext) -> None:
        self._context = context
        self._sender = parse_sender(context.settings.mail_from)
        self.is_ending = False
        """The mails under way are the last."""
        self._failures = 0
        """Of the server, in a row."""
        self._quiet_until = 0.0
        self._sent: dict[UUID, Claimed] = {}
        """Sent, and not noted yet."""

    async def deliver_once(self) -> bool:
        """One step of the worker: sends what is due; answers whether there may be more."""
        carrier = self._context.carrier
        if carrier is None:
            return await self._keep()
        await self._note_sent()
        if self.is_ending or self._now() < self._quiet_until:
            return False
        settings = self._context.settings
        most = 1 if self._failures else _CLAIMED_EACH * settings.smtp_connections
        lease_seconds = settings.smtp_send_seconds * _LEASE_SENDS + _LEASE_MARGIN_SECONDS
        started = self._now()
        async with self._context.database.transaction() as tx:
            claimed = await store.lock_due(tx, most, lease_seconds)
        if not claimed:
            return False
        waiting = deque(claimed)
        # Whatever is begun before this moment is over before the lease is.
        last_start = started + settings.smtp_send_seconds
        connections = min(settings.smtp_connections, len(claimed))
        sending = (self._send_some(carrier, waiting, last_start) for _ in range(connections))
        try:
            # None is cancelled for the fault of another: it may be in the middle of a mail.
            outcomes = await asyncio.gather(*sending, return_exceptions=True)
        finally:
            if waiting:
                async with self._context.database.transaction() as tx:
                    await store.update_released(tx, list(waiting))
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        return len(claimed) == most or bool(waiting)

    async def _keep(self) -> bool:
        """Without a mail server: what staff queued again is delivered by being here."""
        async with self._context.database.transaction() as tx:
            return await store.update_kept(tx, _KEPT_AT_ONCE) == _KEPT_AT_ONCE

    async def _send_some(
        self, carrier: Carrier, waiting: deque[Claimed], last_start: float
    ) -> None:
        """Sends one mail after another over one connection, as long as the server is well."""
        try:
            connection = await carrier.connect()
        except CarrierDown as error:
            if waiting:
                await self._note(waiting.popleft(), Deferred(str(error), is_server=True))
            return
        try:
            while waiting and self._may_go_on(last_start):
                claimed = waiting.popleft()
                outcome = await self._send(connection, claimed)
                await self._note(claimed, outcome)
                if isinstance(outcome, Deferred) and outcome.is_server:
                    return
        finally:
            await connection.close()

    def _may_go_on(self, last_start: float) -> bool:
        now = self._now()
        return now < last_start and now >= self._quiet_until and not self.is_ending

    async def _send(self, connection: Connection, claimed: Claimed) -> Outcome:
        fault = address_fault(claimed.recipient)
        if fault is not None:
            return Refused(fault)
        try:
            letter = self._context.letters.write(claimed.kind, decode(claimed.data))
            mail = build_mail(claimed, letter, self._sender)
        except Exception:  # noqa: BLE001  one mail fails alone, whatever its facts hold
            _log.exception("mail cannot be written", message_id=str(claimed.id), kind=claimed.kind)
            return Refused("the mail could not be written; see the log")
        return await connection.send(mail)

    async def _note(self, claimed: Claimed, outcome: Outcome) -> None:
        """Saves what came of a try, and what it says about the server."""
        context = self._context
        if isinstance(outcome, Delivered):
            self._failures = 0
            self._sent[claimed.id] = claimed
            await self._note_sent()
        elif isinstance(outcome, Refused):
            self._failures = 0
            async with context.database.transaction() as tx:
                await store.update_refused(tx, claimed, outcome.reason)
        else:
            await self._note_deferred(claimed, outcome)

    async def _note_deferred(self, claimed: Claimed, outcome: Deferred) -> None:
        context = self._context
        if outcome.is_server:
            self._failures += 1
            pause = breaker_seconds(self._failures, context.chance())
            self._quiet_until = self._now() + pause
            level = _log.warning if self._failures == 1 else _log.info
            level("mail server failed", failures=self._failures, reason=outcome.reason)
        else:
            self._failures = 0
        hours = context.settings.give_up_hours
        async with context.database.transaction() as tx:
            age_seconds = (tx.now - claimed.queued_at).total_seconds()
            again = pause_seconds(age_seconds, context.chance(), is_server=outcome.is_server)
            await store.update_deferred(tx, claimed, again, hours, outcome.reason)
            if self._failures >= _LONG_DOWN:
                await store.update_overdue(tx, hours, outcome.reason)

    async def _note_sent(self) -> None:
        """Notes what was sent; what cannot be noted now is remembered and noted first thing."""
        if not self._sent:
            return
        sent = list(self._sent.values())
        async with self._context.database.transaction() as tx:
            await store.update_sent(tx, sent)
        for one in sent:
            self._sent.pop(one.id, None)

    def _now(self) -> float:
        """For durations only; what is due is decided by the database's clock."""
        return asyncio.get_running_loop().time()

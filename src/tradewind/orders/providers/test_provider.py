"""A payment provider for trying the store out; one rule: it keeps its own book, as a bank does.

Refused in production. The token says what happens: `tok_approved`, `tok_declined`,
`tok_insufficient_funds`, `tok_authorize_only`, `tok_pending` (decided after a while),
`tok_timeout` (the money is taken, the answer is lost), `tok_flaky` (the first call is an error).
Its book stands in tables of its own, written in transactions of its own, so that what it took can
be held against what the store believes (`tradewind check`). Webhooks are signed after Standard
Webhooks: HMAC-SHA256 over `id.timestamp.body`, in `webhook-signature: v1,<base64>`.
"""

import base64
import hmac
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from tradewind.orders.model.payment import (
    Charge,
    Charged,
    Notice,
    ProviderUnclear,
    Verdict,
)
from tradewind.platform.coalesce import Coalescer
from tradewind.platform.database import Database, Transaction, assert_no_transaction
from tradewind.platform.errors import Invalid, StoreError
from tradewind.platform.money import Money

AGE_MOST_SECONDS = 300
_FLAKY_SECONDS = 600
_ID_MOST = 255
_DIGITS_MOST = 12
_DECLINED = {
    "tok_declined": "the card was declined",
    "tok_insufficient_funds": "insufficient funds",
}
_VERDICTS: dict[str, Verdict] = {
    "tok_approved": "captured",
    "tok_flaky": "captured",
    "tok_timeout": "captured",
    "tok_authorize_only": "authorized",
    "tok_pending": "pending",
    **dict.fromkeys(_DECLINED, "declined"),
}


class BadSignature(Invalid):
    """A webhook that the provider did not send, or not now."""

    code = "bad_signature"
    title = "The signature or the age is wrong"


class _Body(msgspec.Struct, rename="camel"):
    attempt_id: UUID
    order_id: UUID
    verdict: Verdict
    amount: Money


class TestProvider:
    """Implements model.payment.PaymentProvider."""

    __test__ = False  # not a test case, whatever its name

    name = "test"

    def __init__(self, database: Database, webhook_secret: bytes, settle_seconds: float) -> None:
        self._database = database
        self._webhook_secret = webhook_secret
        self._settle_after = timedelta(seconds=settle_seconds)
        self._seen_flaky: dict[UUID, float] = {}
        self._charges: Coalescer[Charge, Charged] = Coalescer("test provider", self._charge_many)

    async def charge(self, wish: Charge) -> Charged:
        """Takes the money, once per attempt id, as the token says."""
        assert_no_transaction("a call to the payment provider")
        if wish.token not in _VERDICTS:
            return Charged("declined", "", "unknown payment token")
        if wish.token == "tok_flaky" and self._is_first(wish.attempt_id):  # noqa: S105  a test token
            raise ProviderUnclear("the provider answered 500")
        charged = await self._charges.submit(wish)
        if wish.token == "tok_timeout":  # noqa: S105  a test token
            raise ProviderUnclear("the provider did not answer in time")
        return charged

    def _is_first(self, attempt_id: UUID) -> bool:
        now = time.monotonic()
        for old in [one for one, at in self._seen_flaky.items() if now - at > _FLAKY_SECONDS]:
            del self._seen_flaky[old]
        return self._seen_flaky.setdefault(attempt_id, now) == now

    async def _charge_many(self, wishes: list[Charge]) -> Sequence[Charged | StoreError]:
        verdicts: list[Verdict] = [_VERDICTS[wish.token] for wish in wishes]
        async with self._database.statement() as tx:
            await insert_charges(tx, wishes, verdicts)
        return [
            Charged(verdict, f"test_{wish.attempt_id.hex}", _DECLINED.get(wish.token, ""))
            for wish, verdict in zip(wishes, verdicts, strict=True)
        ]

    async def find(self, attempt_id: UUID) -> Charged | None:
        """What became of an attempt; a pending one is decided after `settle_seconds`."""
        assert_no_transaction("a call to the payment provider")
        async with self._database.statement() as tx:
            row = await tx.fetch_row(
                """
                UPDATE test_provider_charges SET
                    verdict = CASE WHEN verdict = 'pending' AND created_at <= now() - $2::interval
                        THEN 'captured' ELSE verdict END,
                    captured_minor = CASE WHEN verdict = 'pending'
                        AND created_at <= now() - $2::interval
                        THEN amount_minor ELSE captured_minor END
                WHERE attempt_id = $1 RETURNING verdict, token
                """,
                attempt_id,
                self._settle_after,
            )
        if row is None:
            return None
        return Charged(row["verdict"], f"test_{attempt_id.hex}", _DECLINED.get(row["token"], ""))

    async def capture(self, attempt_id: UUID, amount_minor: int) -> None:
        """Takes what was authorized."""
        assert_no_transaction("a call to the payment provider")
        async with self._database.statement() as tx:
            await tx.execute(
                """
                UPDATE test_provider_charges SET verdict = 'captured', captured_minor = $2
                WHERE attempt_id = $1 AND verdict = 'authorized'
                """,
                attempt_id,
                amount_minor,
            )

    async def refund(self, refund_id: UUID, attempt_id: UUID, amount_minor: int) -> None:
        """Gives money back, once per refund id."""
        assert_no_transaction("a call to the payment provider")
        async with self._database.statement() as tx:
            await tx.execute(
                """
                INSERT INTO test_provider_refunds (refund_id, attempt_id, amount_minor)
                SELECT $1, attempt_id, $3 FROM test_provider_charges WHERE attempt_id = $2
                ON CONFLICT DO NOTHING
                """,
                refund_id,
                attempt_id,
                amount_minor,
            )

    def sign(self, notice_id: str, timestamp: int, body: bytes) -> str:
        """The signature header of a webhook."""
        signed = b".".join((notice_id.encode(), str(timestamp).encode(), body))
        mac = hmac.digest(self._webhook_secret, signed, "sha256")
        return "v1," + base64.b64encode(mac).decode()

    def read_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:
        """Checks who sent it and when; raises BadSignature."""
        notice_id = headers.get("webhook-id", "")
        stamp = headers.get("webhook-timestamp", "")
        if not notice_id or len(notice_id) > _ID_MOST or not (stamp.isascii() and stamp.isdigit()):
            raise BadSignature("webhook-id or webhook-timestamp is missing or malformed")
        # A second of grace: the sender's clock is not ours.
        if len(stamp) > _DIGITS_MOST or not -1 <= now.timestamp() - int(stamp) <= AGE_MOST_SECONDS:
            raise BadSignature("the webhook is too old, or from the future")
        expected = self.sign(notice_id, int(stamp), body)
        given = headers.get("webhook-signature", "").split()
        if not any(hmac.compare_digest(one.encode(), expected.encode()) for one in given):
            raise BadSignature("the signature does not match")
        try:
            told = msgspec.json.decode(body, type=_Body)
        except msgspec.DecodeError as error:
            raise BadSignature(f"not a notice: {error}") from error
        return Notice(
            notice_id,
            told.attempt_id,
            told.order_id,
            told.verdict,
            told.amount.amount,
            told.amount.currency,
        )


async def insert_charges(
    tx: Transaction, wishes: Sequence[Charge], verdicts: Sequence[Verdict]
) -> None:
    """Notes charges in the bank's book; one that is there already stays as it is."""
    await tx.execute(
        """
        INSERT INTO test_provider_charges
            (attempt_id, order_id, token, verdict, amount_minor, captured_minor, currency)
        SELECT attempt_id, order_id, token, verdict, amount,
            CASE verdict WHEN 'captured' THEN amount ELSE 0 END, currency
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[])
            AS given (attempt_id, order_id, token, verdict, amount, currency)
        ON CONFLICT DO NOTHING
        """,
        [wish.attempt_id for wish in wishes],
        [wish.order_id for wish in wishes],
        [wish.token for wish in wishes],
        list(verdicts),
        [wish.amount_minor for wish in wishes],
        [wish.currency for wish in wishes],
    )

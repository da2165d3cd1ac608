"""All mails at the end; one rule: exactly one for each thing that happened."""

from collections import Counter

import msgspec

from bench.real_year.client import Api
from bench.real_year.customers import Customers
from bench.real_year.figures import compare_counts
from bench.real_year.trading import Book


class MessageSeen(msgspec.Struct, rename="camel"):
    """A mail, as far as it matters here."""

    kind: str
    channel: str
    status: str
    recipient: str
    order_id: str | None = None


def compare_messages(messages: list[MessageSeen], book: Book, customers: Customers) -> list[str]:
    """Mails that are missing, double, failed, or about nothing that happened."""
    mails = [one for one in messages if one.channel == "email"]
    about = Counter((one.kind, one.order_id) for one in mails if one.order_id)
    invoices = book.order_ids
    wanted: Counter[tuple[str, str | None]] = Counter()
    wanted.update(("order_confirmed", order_id) for order_id in book.sales)
    wanted.update(("order_cancelled", invoices[invoice]) for invoice in book.cancelled)
    wanted.update(("order_refunded", invoices[one.sale.invoice]) for one in book.refunded)
    welcomed = Counter(one.recipient for one in mails if one.kind == "welcome")
    expected = Counter(f"customer-{one}@real-year.example" for one in customers.tokens)
    welcomed = Counter({one: n for one, n in welcomed.items() if "@real-year." in one})
    failed = [f"mail {one} failed" for one in mails if one.status == "failed"]
    return [
        *compare_counts("mail", about, wanted),
        *compare_counts("welcome", welcomed, expected),
        *failed[:20],
    ]


async def audit_messages(api: Api, book: Book, customers: Customers, staff_token: str) -> list[str]:
    """Walks every message of the store."""
    messages = await api.walk("/v1/messages", MessageSeen, token=staff_token)
    return compare_messages(messages, book, customers)

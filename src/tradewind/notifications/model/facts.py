"""What a message is about; one rule: facts are saved when it happened, words are found later.

Rendering on the way in would cost the hot path a hundred times more than saving the facts.
"""

import re
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

LINES_SHOWN: Final = 50
MASK: Final = "********"
_NAME_LONGEST: Final = 64
_NOT_IN_NAMES: Final = ("/", "\\", "@", "www.", "http", "<", ">")
_DOMAIN: Final = re.compile(r"\w\w\.\w\w")
"""What mail programs make a link of, `J.R.R.` not among them."""

# Control characters, line and paragraph separators and what turns the direction of text around:
# none of them has a place in a name or title, and each can make a text say what it does not.
_ODD: Final = dict.fromkeys(
    (*range(32), *range(127, 160), *range(8232, 8239), *range(8294, 8298)), " "
)


class Line(msgspec.Struct, frozen=True):
    """One line of an order, as it was sold. Amounts in minor units."""

    title: str
    quantity: int
    unit_price_minor: int
    total_minor: int


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the words of one message need; which of them are there depends on its kind."""

    name: str | None = None
    order_id: UUID | None = None
    number: str | None = None
    currency: str = ""
    total_minor: int = 0
    amount_minor: int = 0
    lines: tuple[Line, ...] = ()
    lines_more: int = 0
    reason: str | None = None
    carrier: str | None = None
    tracking: str | None = None
    expires_at: datetime | None = None
    order_token: str | None = None
    verification_token: str | None = None
    reset_token: str | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Facts)


def encode(facts: Facts) -> bytes:
    """As they are saved."""
    return _encoder.encode(facts)


def decode(data: bytes) -> Facts:
    """As they were saved."""
    return _decoder.decode(data)


def masked(facts: Facts) -> Facts:
    """The same without the secret parts of its links."""
    return msgspec.structs.replace(
        facts,
        order_token=facts.order_token and MASK,
        verification_token=facts.verification_token and MASK,
        reset_token=facts.reset_token and MASK,
    )


def plain(text: str) -> str:
    """The text on one line, without what could make it look like something else."""
    return text.translate(_ODD)


def greeting_name(name: str | None) -> str:
    """The name to greet by, or nothing.

    Anybody can register somebody else's address under a "name" that advertises a site, and have
    us deliver it; so what does not look like a name is not repeated.
    """
    cleaned = " ".join(plain(name or "").split())
    lowered = cleaned.lower()
    if not cleaned or len(cleaned) > _NAME_LONGEST or any(odd in lowered for odd in _NOT_IN_NAMES):
        return ""
    return "" if _DOMAIN.search(cleaned) else cleaned

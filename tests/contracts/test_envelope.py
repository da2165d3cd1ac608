"""What travels in one AMQP message; a change of it is a visible diff in envelope.json."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from tradewind.platform.broker.envelope import (
    CONTENT_TYPE,
    Unreadable,
    decode_batch,
    encode_batches,
    sort_out,
)
from tradewind.platform.events import Message

GOLDEN = Path(__file__).with_name("envelope.json")
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FULL = Message(
    UUID("01900000-0000-7000-8000-000000000001"),
    "orders.order_placed.v1",
    "order-1",
    b'{"orderId":"order-1","total":12345}',
    WHEN,
    "request-1",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)
LEAST = Message(UUID("01900000-0000-7000-8000-000000000002"), "a.b.v1", "", b"{}", WHEN)


def one(*messages: Message) -> bytes:
    """The one body that these make."""
    [body] = encode_batches("orders", messages)
    return body


def test_golden() -> None:
    """Events travel exactly as the golden JSON says, the event's own JSON as it is."""
    assert GOLDEN.read_bytes() == msgspec.json.format(one(FULL, LEAST), indent=2) + b"\n"


def test_golden_is_read() -> None:
    """What travelled before is understood today, with attributes that we do not know."""
    known = msgspec.json.decode(GOLDEN.read_bytes())
    known[0]["comexampleextension"] = 1
    [full, least] = decode_batch(CONTENT_TYPE, msgspec.json.encode(known))
    assert msgspec.json.decode(full.payload) == msgspec.json.decode(FULL.payload)
    assert msgspec.structs.replace(full, payload=FULL.payload) == FULL
    assert least == LEAST


def test_batches_are_bounded() -> None:
    """As many events in a body as may be, in order, and at least one."""
    size = len(one(LEAST))
    assert len(list(encode_batches("orders", [LEAST] * 10, size * 3))) == 4
    assert len(list(encode_batches("orders", [LEAST] * 3, 1))) == 3
    for body in encode_batches("orders", [LEAST] * 10, size * 3):
        assert len(body) <= size * 3
    assert list(encode_batches("orders", [])) == []
    bodies = encode_batches("orders", [FULL, LEAST, FULL, LEAST], len(one(FULL, LEAST)))
    assert [decode_batch(CONTENT_TYPE, body) for body in bodies] == [[FULL, LEAST]] * 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b"[{}]",
        b"[" * 100_000,
        one(FULL).replace(b"1.0", b"2.0"),
        one(FULL).replace(b"application/json", b"text/xml"),
        one(FULL).replace(b"order-1", b"order\\u00001"),
        one(FULL).replace(b"order-1", b"\\ud800"),
        one(FULL).replace(b"05Z", b"05"),
        one(FULL)[:-2],
        b'[{"a":' + b"[" * 100_000,
    ],
)
def test_whatever_else_is_refused(body: bytes) -> None:
    """It ends in one clear error, and nothing of it is lost."""
    with pytest.raises(Unreadable):
        decode_batch(CONTENT_TYPE, body)
    good, bad = sort_out(CONTENT_TYPE, body)
    assert good == []
    assert [piece in body for piece in bad] == [True]


def test_another_type_of_content_is_refused() -> None:
    """Whoever sends something else says so."""
    with pytest.raises(Unreadable, match="text/plain"):
        decode_batch("text/plain", one(FULL))
    assert sort_out(None, one(FULL)) == ([], [one(FULL)])

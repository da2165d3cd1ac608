"""What travels in one AMQP message; one rule: a batch of CloudEvents, in the order of the outbox.

CloudEvents 1.0, JSON batch format (https://github.com/cloudevents/spec, json-format.md, section 4).
The event's own JSON stands in `data` as it is. `requestid` is an extension of ours, `traceparent`
one of theirs (distributed-tracing).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from tradewind.platform.events import Message

CONTENT_TYPE = "application/cloudevents-batch+json"
LIMIT_BYTES = 512 * 1024
"""Of the events in one message; a larger event travels alone."""

_Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$")]
"""PostgreSQL takes no NUL, and what is not understood is to be saved there."""


class CloudEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event; attributes that we do not know are passed over."""

    specversion: Literal["1.0"]
    id: UUID
    source: _Text
    type: _Text
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    data: msgspec.Raw
    datacontenttype: Literal["application/json"]
    subject: _Text = ""
    """The event's key."""
    requestid: _Text = ""
    traceparent: _Text = ""


_encoder = msgspec.json.Encoder()
_events = msgspec.json.Decoder(list[CloudEvent])
_pieces = msgspec.json.Decoder(list[msgspec.Raw])
_event = msgspec.json.Decoder(CloudEvent)

_BROKEN = (msgspec.DecodeError, ValueError, RecursionError)


class Unreadable(Exception):
    """A body that is no batch of events of ours."""


def encode_batches(
    publisher: str, messages: Sequence[Message], limit_bytes: int = LIMIT_BYTES
) -> Iterator[bytes]:
    """Bodies of AMQP messages, each of at least one event and at most `limit_bytes`."""
    batch: list[bytes] = []
    size = 0
    for message in messages:
        one = _encoder.encode(_packed(publisher, message))
        if batch and size + len(one) > limit_bytes:
            yield b"[" + b",".join(batch) + b"]"
            batch, size = [], 0
        batch.append(one)
        size += len(one) + 1
    if batch:
        yield b"[" + b",".join(batch) + b"]"


def decode_batch(content_type: str | None, body: bytes) -> list[Message]:
    """The events of a body, in order; raises Unreadable where one of them is none."""
    if content_type != CONTENT_TYPE:
        raise Unreadable(f"not a batch of events but {content_type!r:.100}")
    try:
        return [_unpacked(one) for one in _events.decode(body)]
    except _BROKEN as error:
        raise Unreadable(str(error)) from error


def sort_out(content_type: str | None, body: bytes) -> tuple[list[Message], list[bytes]]:
    """The events of a body that was refused as a whole, and what in it cannot be read."""
    if content_type != CONTENT_TYPE:
        return [], [body]
    try:
        pieces = _pieces.decode(body)
    except _BROKEN:
        return [], [body]
    good: list[Message] = []
    bad: list[bytes] = []
    for piece in pieces:
        try:
            good.append(_unpacked(_event.decode(piece)))
        except _BROKEN:
            bad.append(bytes(piece))
    return good, bad


def _packed(publisher: str, message: Message) -> CloudEvent:
    return CloudEvent(
        specversion="1.0",
        id=message.event_id,
        source=f"/{publisher}",
        type=message.type,
        time=message.created_at,
        data=msgspec.Raw(message.payload),
        datacontenttype="application/json",
        subject=message.key,
        requestid=message.request_id,
        traceparent=message.traceparent,
    )


def _unpacked(one: CloudEvent) -> Message:
    return Message(
        event_id=one.id,
        type=one.type,
        key=one.subject,
        payload=bytes(one.data),
        created_at=one.time,
        request_id=one.requestid,
        traceparent=one.traceparent,
    )

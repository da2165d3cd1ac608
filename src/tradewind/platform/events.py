"""Events and their envelope; one rule: what is on the wire is declared, named and versioned.

An event is a frozen struct in its publisher's contract, past tense, tagged
`service.what_happened.v1`. A change of its shape on the wire is a new version.
"""

from datetime import datetime
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all events. `TYPE` is the name on the wire."""

    TYPE: ClassVar[str] = ""

    @property
    def key(self) -> str:
        """Events of one key are kept in order where a bus keeps order."""
        raise NotImplementedError


class Cause(msgspec.Struct, frozen=True):
    """The request that an event comes from; empty where none is known."""

    request_id: str = ""
    traceparent: str = ""
    """Its place in a distributed trace (W3C Trace Context)."""


class Message(msgspec.Struct, frozen=True):
    """An event as it travels: its payload is the event's JSON."""

    event_id: UUID
    type: str
    key: str
    payload: bytes
    created_at: datetime
    request_id: str = ""
    traceparent: str = ""


AnyEvent = TypeVar("AnyEvent", bound=Event)

_decoders: dict[type[Event], msgspec.json.Decoder[Any]] = {}


def encode(event: Event) -> bytes:
    """The event's JSON."""
    return msgspec.json.encode(event)


def decode(kind: type[AnyEvent], payload: bytes) -> AnyEvent:
    """The event in a message; raises msgspec.ValidationError where it is of another shape."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    return decoder.decode(payload)

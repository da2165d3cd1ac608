"""Calls between services as bytes; one rule: what a contract says survives the wire unchanged.

A contract's Protocol is the description: each method's arguments and answer are encoded and decoded
by their type hints. An error is a value like another: its code, detail and extra members; among
a list of outcomes each member may be one. Under test, local calls go through here too, so that one
process never does what four could not.
"""

import functools
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import msgspec

from tradewind.platform.errors import FieldError, Invalid, StoreError

Contract = TypeVar("Contract")


class WireError(msgspec.Struct, frozen=True):
    """A StoreError on its way; `kind` is the code of the platform's kind that it is one of."""

    code: str
    detail: str
    extra: dict[str, Any]
    retry_after_seconds: int | None = None
    errors: tuple[FieldError, ...] = ()
    kind: str = "error"


class Outcome(msgspec.Struct, frozen=True):
    """One answer: an error, or a value. It is read by a struct that knows the value's type."""

    value: Any = msgspec.UNSET
    error: WireError | msgspec.UnsetType = msgspec.UNSET


class Method:
    """How one method of a contract travels."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        hints = typing.get_type_hints(function)
        answer = hints.pop("return")
        self.name = name
        self._arguments: Any = tuple[tuple(hints.values())]
        self.many = typing.get_origin(answer) is list
        inner = typing.get_args(answer)[0] if self.many else answer
        self._answer = _without_errors(inner)
        told: Any = msgspec.defstruct(
            f"{name}_outcome",
            [
                ("value", self._answer | msgspec.UnsetType, msgspec.UNSET),
                ("error", WireError | msgspec.UnsetType, msgspec.UNSET),
            ],
            frozen=True,
        )
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[told] | told)
        self._arguments_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(self._arguments)

    def encode_arguments(self, arguments: Sequence[Any]) -> bytes:
        """The positional arguments as JSON."""
        return msgspec.json.encode(arguments)

    def decode_arguments(self, body: bytes | msgspec.Raw) -> tuple[Any, ...]:
        """What `encode_arguments` wrote, as the types that the contract names."""
        return self._arguments_decoder.decode(body)

    def encode_answer(self, answer: Any) -> bytes:
        """The answer: a list of outcomes, or one."""
        if self.many:
            return msgspec.json.encode([_outcome(one) for one in answer])
        return msgspec.json.encode(_outcome(answer))

    def encode_error(self, error: StoreError) -> bytes:
        """The outcome of a call that failed as a whole."""
        return msgspec.json.encode(_outcome(error))

    def decode_outcome(self, body: bytes | msgspec.Raw) -> Any:
        """What one of the two above wrote; the error of a call that failed is a value.

        Raises msgspec.DecodeError where it is not what the contract says.
        """
        told = self._decoder.decode(body)
        if isinstance(told, list):
            if not self.many:
                raise msgspec.ValidationError(f"{self.name} answers with one outcome, not a list")
            return [_value(one) for one in cast("list[Any]", told)]
        outcome = _value(told)
        if self.many and not isinstance(outcome, StoreError):
            raise msgspec.ValidationError(f"{self.name} answers with a list of outcomes")
        return outcome

    def decode_answer(self, body: bytes | msgspec.Raw) -> Any:
        """The same; raises the error where the whole call failed."""
        outcome = self.decode_outcome(body)
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome


def methods_of(contract: type[Any]) -> dict[str, Method]:
    """Every public method of a Protocol."""
    return {
        name: Method(name, function)
        for name, function in inspect.getmembers(contract, inspect.isfunction)
        if not name.startswith("_")
    }


def _without_errors(kind: Any) -> Any:
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind
    kept = [one for one in typing.get_args(kind) if not _is_error(one)]
    return functools.reduce(lambda left, right: left | right, kept)


def _is_error(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, StoreError)


def _outcome(value: Any) -> Outcome:
    if not isinstance(value, StoreError):
        return Outcome(value)
    return Outcome(
        error=WireError(
            code=value.code,
            detail=value.detail,
            extra=dict(value.extra),
            retry_after_seconds=value.retry_after_seconds,
            errors=value.errors if isinstance(value, Invalid) else (),
            kind=_kind_above(type(value)).code,
        )
    )


def _value(outcome: Any) -> Any:
    if outcome.error is not msgspec.UNSET:
        return _error(outcome.error)
    if outcome.value is msgspec.UNSET:
        raise msgspec.ValidationError("an outcome is a value or an error, and this is neither")
    return outcome.value


def _error(told: WireError) -> StoreError:
    kind = _kind_of(told.code, told.kind)
    if issubclass(kind, Invalid):
        return kind(told.detail, errors=told.errors, extra=told.extra)
    return kind(told.detail, extra=told.extra, retry_after_seconds=told.retry_after_seconds)


@functools.lru_cache(maxsize=256)
def _kind_of(code: str, above: str) -> type[StoreError]:
    """The error of this code; one that only newer code has is still one of its kind."""
    known = _kinds()
    if code in known:
        return known[code]
    kind = known.get(above, StoreError)
    return type("UnknownError", (kind,), {"code": code, "__doc__": "One that newer code has."})


@functools.cache
def _kind_above(kind: type[StoreError]) -> type[StoreError]:
    return next(one for one in kind.__mro__ if one.__module__ == StoreError.__module__)


def _kinds() -> dict[str, type[StoreError]]:
    found: dict[str, type[StoreError]] = {}
    open_kinds: list[type[StoreError]] = [StoreError]
    while open_kinds:
        kind = open_kinds.pop()
        found.setdefault(kind.code, kind)
        open_kinds += kind.__subclasses__()
    return found


def through_codec(contract: type[Contract], implementation: Contract) -> Contract:
    """The implementation, each call of which travels as bytes there and back."""
    namespace: dict[str, Any] = {}
    for name, method in methods_of(contract).items():
        namespace[name] = _travelling(method, getattr(implementation, name))
    return cast("Contract", types.SimpleNamespace(**namespace))


def _travelling(method: Method, call: Callable[..., Any]) -> Callable[..., Any]:
    async def travel(*arguments: Any) -> Any:
        there = method.decode_arguments(method.encode_arguments(arguments))
        try:
            back = method.encode_answer(await call(*there))
        except StoreError as error:
            back = method.encode_error(error)
        return method.decode_answer(back)

    return travel

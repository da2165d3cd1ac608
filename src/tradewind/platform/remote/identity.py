"""How services prove who they are; one rule: a token says who asks, whom, and for a minute only.

Each service signs with an Ed25519 key of its own (RFC 8037, EdDSA); all know the public halves.
A folder holds `<service>.pem` (PKCS 8, private, for that service alone) and `public.json`, a JSON
Web Key Set (RFC 7517) whose key ids begin with the service's name. Both are read again when they
change, so that keys are rotated under running processes: first the new public key is added beside
the old one, then the private key is replaced; tokens of both are good meanwhile.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jwt
import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tradewind.platform.errors import Denied, Unauthenticated

PUBLIC_NAME = "public.json"
ALGORITHM = "EdDSA"
TOKEN_SECONDS = 60
_RENEW_SECONDS = 30
_CLOCK_LEEWAY_SECONDS = 10
_LOOK_SECONDS = 1.0
_VERIFIED_MOST = 1_000
_LONGEST_TOKEN = 2_048

_log = structlog.get_logger(__name__)


class KeysUnusable(Exception):
    """The folder of keys cannot be used; one clear line."""


class NotAllowed(Denied):
    """The service is known, and may not call this contract."""

    code = "service_not_allowed"
    title = "This service may not call here"


class UnknownService(Unauthenticated):
    """No token, or one that proves nothing."""

    code = "unknown_service"
    title = "Services prove who they are"


class PublicKey(msgspec.Struct, frozen=True):
    """One key of the set: RFC 8037's members for Ed25519."""

    kid: str
    x: str
    kty: str = "OKP"
    crv: str = "Ed25519"
    use: str = "sig"
    alg: str = ALGORITHM

    @property
    def service(self) -> str:
        """Whose it is."""
        return self.kid.partition(".")[0]


class PublicKeys(msgspec.Struct, frozen=True):
    """A JSON Web Key Set."""

    keys: tuple[PublicKey, ...]


class _Watched:
    """A file that is read again once it has changed, looked at no more than once a second."""

    def __init__(self, path: Path, monotonic: Callable[[], float]) -> None:
        self._path = path
        self._monotonic = monotonic
        self._looked_at = float("-inf")
        self._mark: tuple[int, int, int] | None = None

    def changed(self, *, now: bool = False) -> bytes | None:
        """Its content if it is new to us; `now` looks at once."""
        at = self._monotonic()
        if not now and at - self._looked_at < _LOOK_SECONDS:
            return None
        self._looked_at = at
        try:
            status = self._path.stat()
            mark = (status.st_ino, status.st_mtime_ns, status.st_size)
            if mark == self._mark:
                return None
            content = self._path.read_bytes()
        except OSError as error:
            if self._mark is None:
                raise KeysUnusable(f"{self._path}: {error.strerror}") from error
            _log.warning("key file unreadable", path=str(self._path), error=repr(error))
            return None
        self._mark = mark
        return content


class Signer:
    """Makes the tokens of one service; `clock` gives seconds since the epoch, of database time."""

    def __init__(
        self,
        service: str,
        folder: Path,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.service = service
        self._clock = clock
        self._file = _Watched(folder / f"{service}.pem", monotonic)
        self._key, self._kid = self._read(self._file.changed(now=True) or b"")
        self._made: dict[str, tuple[str, float]] = {}

    def token(self, audience: str) -> str:
        """A token for calls to one service, made anew when half of its time is over."""
        if content := self._file.changed():
            self._key, self._kid = self._read(content)
            self._made.clear()
        now = self._clock()
        known = self._made.get(audience)
        # A clock that was set back would make a token look new for ever.
        if known is not None and 0 <= now - known[1] < _RENEW_SECONDS:
            return known[0]
        claims = {
            "iss": self.service,
            "aud": audience,
            "iat": int(now),
            "exp": int(now) + TOKEN_SECONDS,
        }
        made = jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self._kid})
        self._made[audience] = (made, now)
        return made

    def _read(self, content: bytes) -> tuple[Ed25519PrivateKey, str]:
        try:
            key = load_pem_private_key(content, None)
        except ValueError as error:
            raise KeysUnusable(f"the key of {self.service} is no private key: {error}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeysUnusable(f"the key of {self.service} is not an Ed25519 key")
        return key, key_id(self.service, key.public_key())


class Verifier:
    """Knows who may call one service's contract."""

    def __init__(
        self,
        audience: str,
        folder: Path,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._audience = audience
        self._clock = clock
        self._file = _Watched(folder / PUBLIC_NAME, monotonic)
        self._keys = self._read(self._file.changed(now=True) or b"")
        self._verified: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def caller(self, token: str) -> str:
        """The service that a token proves; raises UnknownService where it proves nothing."""
        self._look_again()
        now = self._clock()
        known = self._verified.get(token)
        if known is not None and now < known[1]:
            return known[0]
        service, until = self._verify(token, now)
        self._verified[token] = (service, until)
        if len(self._verified) > _VERIFIED_MOST:
            self._verified.popitem(last=False)
        return service

    def _look_again(self, *, now: bool = False) -> None:
        if content := self._file.changed(now=now):
            self._keys = self._read(content)
            self._verified.clear()  # a key that was taken away is believed no longer

    def _verify(self, token: str, now: float) -> tuple[str, float]:
        try:
            kid = jwt.get_unverified_header(token[:_LONGEST_TOKEN]).get("kid", "")
            if kid not in self._keys:
                self._look_again(now=True)
            key = self._keys.get(str(kid))
            if key is None:
                raise UnknownService("the token is signed with a key that nobody here has")
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                # Times are judged by the database's clock, for those of machines differ.
                options={"verify_exp": False, "verify_iat": False, "require": ["iss", "exp"]},
            )
        except jwt.PyJWTError as error:
            raise UnknownService(f"the token is not good: {error}") from error
        issuer, until, since = claims["iss"], float(claims["exp"]), float(claims.get("iat", 0))
        if not str(kid).startswith(f"{issuer}."):
            raise UnknownService("the token names another service than its key")
        if until + _CLOCK_LEEWAY_SECONDS < now or since - _CLOCK_LEEWAY_SECONDS > now:
            raise UnknownService("the token is not of this time")
        return str(issuer), until + _CLOCK_LEEWAY_SECONDS

    def _read(self, content: bytes) -> dict[str, Ed25519PublicKey]:
        try:
            told = msgspec.json.decode(content, type=PublicKeys)
        except msgspec.DecodeError as error:
            raise KeysUnusable(f"{PUBLIC_NAME} is no set of keys: {error}") from error
        return {one.kid: _public(one) for one in told.keys}


def _public(told: PublicKey) -> Ed25519PublicKey:
    try:
        key = jwt.PyJWK(msgspec.to_builtins(told), algorithm=ALGORITHM).key
    except (jwt.PyJWTError, ValueError) as error:
        raise KeysUnusable(f"{PUBLIC_NAME}: the key {told.kid} is no Ed25519 key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeysUnusable(f"{PUBLIC_NAME}: the key {told.kid} is no public Ed25519 key")
    return key


def key_id(service: str, key: Ed25519PublicKey) -> str:
    """The id of a key: its service, and the first bytes of the key itself."""
    return f"{service}.{key.public_bytes_raw()[:6].hex()}"


def private_path(folder: Path, service: str) -> Path:
    """Where a service's private key lies."""
    return folder / f"{service}.pem"


def write_private(path: Path, content: bytes) -> None:
    """Puts a file in place whole, for its owner alone."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)

"""How services prove who they are; one rule: a token says who asks, whom, and for a minute only.

Each service signs with an Ed25519 key of its own (RFC 8037, EdDSA); all know the public halves.
A folder holds `<service>.pem` (PKCS 8, private, for that service alone) and `public.json`, a JSON
Web Key Set (RFC 7517) whose key ids begin with the service's name. Both are read again when they
change, so that keys are rotated under running processes: first the new public key is added beside
the old one, then the private key is replaced; tokens of both are good meanwhile.
"""

import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import jwt
import msgspec
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
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


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    iat: float
    exp: float


class _Watched:
    """A file that is read again once it has changed, looked at no more than once a second.

    What cannot be read or is damaged is said once, and what was known before stays in use.
    """

    def __init__(
        self, path: Path, monotonic: Callable[[], float], take: Callable[[bytes], None]
    ) -> None:
        self._path = path
        self._monotonic = monotonic
        self._take = take
        self._looked_at = monotonic()
        self._mark: object = None
        status = self._status()
        take(self._content())
        self._mark = status

    def look(self, *, now: bool = False) -> None:
        """Takes its content if it is new to us; `now` looks at once."""
        at = self._monotonic()
        if not now and at - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = at
        try:
            mark: object = self._status()
        except KeysUnusable as error:
            mark = str(error)
        if mark == self._mark:
            return
        self._mark = mark
        try:
            self._take(self._content())
        except KeysUnusable as error:
            _log.error("keys unusable, the ones before stay in use", error=str(error))

    def _status(self) -> tuple[int, int, int]:
        try:
            status = self._path.stat()
        except OSError as error:
            raise self._unreadable(error) from error
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _content(self) -> bytes:
        try:
            return self._path.read_bytes()
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> KeysUnusable:
        return KeysUnusable(
            f"{self._path}: {error.strerror}; `tradewind keys make {self._path.parent}` makes keys"
        )


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
        self._made: dict[str, tuple[str, float]] = {}
        self._file = _Watched(private_path(folder, service), monotonic, self._read)

    def token(self, audience: str) -> str:
        """A token for calls to one service, made anew when half of its time is over."""
        self._file.look()
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

    def _read(self, content: bytes) -> None:
        self._key = read_private(self.service, content)
        self._kid = key_id(self.service, self._key.public_key())
        self._made.clear()


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
        self._verified: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._file = _Watched(folder / PUBLIC_NAME, monotonic, self._read)

    def caller(self, token: str) -> str:
        """The service that a token proves; raises UnknownService where it proves nothing."""
        self._file.look()
        now = self._clock()
        known = self._verified.get(token)
        if known is not None and now < known[1]:
            return known[0]
        service, until = self._verify(token, now)
        self._verified[token] = (service, until)
        if len(self._verified) > _VERIFIED_MOST:
            self._verified.popitem(last=False)
        return service

    def now(self) -> float:
        """Seconds since the epoch, of database time."""
        return self._clock()

    def _verify(self, token: str, now: float) -> tuple[str, float]:
        if not token or len(token) > _LONGEST_TOKEN:
            raise UnknownService("a service proves who it is by a token")
        try:
            kid = str(jwt.get_unverified_header(token).get("kid", ""))
            if kid not in self._keys:
                self._file.look(now=True)
            key = self._keys.get(kid)
            if key is None:
                raise UnknownService("the token is signed with a key that is not known here")
            told = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                # Times are judged by the database's clock, for those of machines differ.
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            claims = msgspec.convert(told, _Claims)
        except jwt.InvalidAudienceError:
            raise UnknownService("the token is for another service") from None
        except (jwt.PyJWTError, msgspec.ValidationError, ValueError):
            raise UnknownService("the token is not good") from None
        if kid.partition(".")[0] != claims.iss:
            raise UnknownService("the token names another service than its key")
        since, until = claims.iat, min(claims.exp, claims.iat + TOKEN_SECONDS)
        if not since - _CLOCK_LEEWAY_SECONDS <= now <= until + _CLOCK_LEEWAY_SECONDS:
            raise UnknownService("the token is not of this time")
        return claims.iss, until + _CLOCK_LEEWAY_SECONDS

    def _read(self, content: bytes) -> None:
        self._keys = {one.kid: _public(one) for one in read_public(content)}
        self._verified.clear()  # a key that was taken away is believed no longer


def read_public(content: bytes) -> tuple[PublicKey, ...]:
    """The keys of a set; raises KeysUnusable."""
    try:
        return msgspec.json.decode(content, type=PublicKeys).keys
    except (msgspec.DecodeError, RecursionError) as error:
        raise _damaged(f"is no set of keys ({error})") from None


def _damaged(how: str) -> KeysUnusable:
    return KeysUnusable(
        f"{PUBLIC_NAME} {how}: remove it, and `tradewind keys make` writes it anew from the "
        "private keys beside it"
    )


def read_private(service: str, content: bytes) -> Ed25519PrivateKey:
    """A private key; raises KeysUnusable."""
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeysUnusable(
            f"{service}.pem is no Ed25519 private key: remove it, and `tradewind keys make` "
            "makes a new one"
        )
    return key


def _public(told: PublicKey) -> Ed25519PublicKey:
    try:
        key = jwt.PyJWK(msgspec.to_builtins(told), algorithm=ALGORITHM).key
    except (jwt.PyJWTError, ValueError):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise _damaged(f"has a key {told.kid} that is no public Ed25519 key")
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

"""Making and rotating the keys of services; one rule: at no moment is a good token refused.

`make_keys` gives every service a key that has none. Rotating is two steps, `add_new` and `use_new`,
with a pause between them in which every process sees the new public key; `forget_old`, another
pause later, takes the one before away. Each step may be done again where it was cut off. Who
rotates holds `changing` all the while, so that nobody else takes a step in between.
"""

import fcntl
import os
from base64 import urlsafe_b64encode
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tradewind.platform.remote import identity
from tradewind.platform.remote.identity import (
    PUBLIC_NAME,
    KeysUnusable,
    PublicKey,
    PublicKeys,
    key_id,
    private_path,
    write_private,
)


@contextmanager
def changing(folder: Path) -> Generator[None]:
    """Holds the folder for one change of its keys.

    Raises KeysUnusable where another command holds it, or where there is no folder.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise KeysUnusable(f"{folder} is not there: `tradewind keys make {folder}`") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            told = f"another command is changing the keys in {folder}: try again when it has ended"
            raise KeysUnusable(told) from None
        yield
    finally:
        os.close(handle)


def make_keys(folder: Path, services: Iterable[str]) -> list[str]:
    """Makes the keys that are missing; answers whose. A private key in place is kept.

    Raises KeysUnusable where one is damaged, or another command is changing them.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with changing(folder):
        return _make(folder, services)


def _make(folder: Path, services: Iterable[str]) -> list[str]:
    made: list[str] = []
    public = {one.kid: one for one in read_public(folder)}
    for service in services:
        path = private_path(folder, service)
        if not path.exists():
            write_private(path, _pem(Ed25519PrivateKey.generate()))
            made.append(service)
        current = _public_of(service, path)
        public.setdefault(current.kid, current)
    _write_public(folder, public.values())
    return made


def add_new(folder: Path, services: Iterable[str]) -> None:
    """Adds a new public key for each service, whose private half waits beside the one in use."""
    public = list(read_public(folder))
    for service in services:
        path = private_path(folder, service)
        _public_of(service, path)  # before anything is written
        waiting = _waiting(path)
        write_private(waiting, _pem(Ed25519PrivateKey.generate()))
        public.append(_public_of(service, waiting))
    _write_public(folder, public)


def use_new(folder: Path, services: Iterable[str]) -> None:
    """Puts the waiting private keys to use.

    The public half of the one before stays until the next rotation, for tokens that are under way.
    """
    kept: list[PublicKey] = []
    rotated = {service: private_path(folder, service) for service in services}
    others = [one for one in read_public(folder) if one.service not in rotated]
    for service, path in rotated.items():
        kept.append(_public_of(service, path))
        if _waiting(path).exists():
            _waiting(path).replace(path)
            kept.append(_public_of(service, path))
    _write_public(folder, [*others, *kept])


def forget_old(folder: Path, services: Iterable[str]) -> None:
    """Takes away every public key of these services but that of the key in use."""
    rotated = set(services)
    others = [one for one in read_public(folder) if one.service not in rotated]
    used = [_public_of(one, private_path(folder, one)) for one in sorted(rotated)]
    _write_public(folder, [*others, *used])


def read_public(folder: Path) -> tuple[PublicKey, ...]:
    """The public keys of a folder; none where there is no file yet."""
    path = folder / PUBLIC_NAME
    return identity.read_public(path.read_bytes()) if path.exists() else ()


def _write_public(folder: Path, keys: Iterable[PublicKey]) -> None:
    text = msgspec.json.format(msgspec.json.encode(PublicKeys(tuple(keys))), indent=1)
    write_private(folder / PUBLIC_NAME, text + b"\n")


def _waiting(path: Path) -> Path:
    return path.with_suffix(".new.pem")


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public_of(service: str, path: Path) -> PublicKey:
    try:
        key = identity.read_private(service, path.read_bytes()).public_key()
    except FileNotFoundError:
        raise KeysUnusable(f"{path} is not there: `tradewind keys make {path.parent}`") from None
    text = urlsafe_b64encode(key.public_bytes_raw()).rstrip(b"=").decode()
    return PublicKey(kid=key_id(service, key), x=text)

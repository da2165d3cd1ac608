"""Making and rotating the keys of services; one rule: at no moment is a good token refused.

`make_keys` gives every service a key that has none. `rotate` works in two steps, with a pause
between them in which every process has seen the new public key: `add_new` and `use_new`.
"""

from base64 import urlsafe_b64encode
from collections.abc import Iterable
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tradewind.platform.remote.identity import (
    PUBLIC_NAME,
    KeysUnusable,
    PublicKey,
    PublicKeys,
    key_id,
    private_path,
    write_private,
)


def make_keys(folder: Path, services: Iterable[str]) -> list[str]:
    """Makes the keys that are missing; answers whose. A private key in place is kept."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
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
        if not path.exists():
            raise KeysUnusable(f"{path} is not there: make the keys first")
        waiting = _waiting(path)
        write_private(waiting, _pem(Ed25519PrivateKey.generate()))
        public.append(_public_of(service, waiting))
    _write_public(folder, public)


def use_new(folder: Path, services: Iterable[str], *, forget_old: bool = False) -> None:
    """Puts the waiting private keys to use.

    The public half of the one before stays until the next rotation, for tokens that are under
    way; `forget_old` takes it away at once: for a key that somebody else has.
    """
    kept: list[PublicKey] = []
    public = read_public(folder)
    rotated = {service: private_path(folder, service) for service in services}
    for service, path in rotated.items():
        before = _public_of(service, path)
        _waiting(path).replace(path)
        kept += [_public_of(service, path)] if forget_old else [before, _public_of(service, path)]
    others = [one for one in public if one.service not in rotated]
    _write_public(folder, [*others, *kept])


def read_public(folder: Path) -> tuple[PublicKey, ...]:
    """The public keys of a folder; none where there is no file yet."""
    path = folder / PUBLIC_NAME
    if not path.exists():
        return ()
    try:
        return msgspec.json.decode(path.read_bytes(), type=PublicKeys).keys
    except msgspec.DecodeError as error:
        raise KeysUnusable(f"{path} is no set of keys: {error}") from error


def _write_public(folder: Path, keys: Iterable[PublicKey]) -> None:
    text = msgspec.json.format(msgspec.json.encode(PublicKeys(tuple(keys))), indent=1)
    write_private(folder / PUBLIC_NAME, text + b"\n")


def _waiting(path: Path) -> Path:
    return path.with_suffix(".new.pem")


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public_of(service: str, path: Path) -> PublicKey:
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise KeysUnusable(f"{path} is not an Ed25519 key")
    raw = key.public_key().public_bytes_raw()
    text = urlsafe_b64encode(raw).rstrip(b"=").decode()
    return PublicKey(kid=key_id(service, key.public_key()), x=text)

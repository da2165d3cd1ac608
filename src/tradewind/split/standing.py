"""That a split store runs in a home, and how to reach it; one rule: one at a time, by a lock.

The lock goes with the process, however it ends, so a file that is left behind misleads nobody.
"""

import fcntl
import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from tradewind.platform.config import ConfigError
from tradewind.platform.processes import close_kept, keep_to_owner

_LOCK, _SETTINGS, _PARTS = "lock", "settings.json", "parts.json"


class Part(msgspec.Struct, frozen=True):
    """A server or an instance as it runs now."""

    where: str
    pid: int | None
    restarts: int = 0


def split_folder(home: Path) -> Path:
    """Where a split store keeps what is not PostgreSQL's."""
    return home / "split"


@contextmanager
def only_one(home: Path) -> Generator[None]:
    """Holds the lock; raises ConfigError where another process holds it."""
    folder = split_folder(home)
    folder.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    keep_to_owner(handle)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError([f"a split store runs in {home} already: end it first"]) from None
        (folder / _SETTINGS).unlink(missing_ok=True)
        yield
    finally:
        close_kept(handle)


def tell_settings(home: Path, variables: Mapping[str, str]) -> None:
    """Leaves word of how to reach the parts; for the store's owner only."""
    path = split_folder(home) / _SETTINGS
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(dict(variables), file)


def tell_parts(home: Path, parts: Mapping[str, Part]) -> None:
    """Leaves word of what runs; whole at any moment."""
    path = split_folder(home) / _PARTS
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(msgspec.json.encode(parts))
    unfinished.replace(path)


def told_parts(home: Path) -> dict[str, Part]:
    """What runs in a home, by name, as its split store told last."""
    path = split_folder(home) / _PARTS
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Part])


def told_settings(home: Path) -> dict[str, str]:
    """The variables by which the parts of a running split store are reached; empty without one."""
    folder = split_folder(home)
    with suppress(FileNotFoundError):
        handle = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return dict(json.loads((folder / _SETTINGS).read_text()))
        finally:
            os.close(handle)
    return {}

"""The one error of this room. The rule: one clear line, naming what to do or what to set."""

import errno
import os
import pwd
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot be had; `str()` is one line, fit to be shown as it is."""

    def __init__(self, message: str) -> None:
        """Keep `message` to one line, whatever it quotes."""
        super().__init__(" ".join(message.splitlines()))


class DidNotComeUp(EmbeddedError):
    """The server ended, or hung, before it answered."""


def explain_os_error(error: OSError, home: Path) -> EmbeddedError:
    """Say what an operating system's error while working in `home` means for the reader."""
    if error.errno in _FULL:
        return disk_full(home, error.strerror or "disk full")
    place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(home)
    if error.errno in _FORBIDDEN:
        return EmbeddedError(
            f"cannot use {place}: {error.strerror}{_owner_note(place)}; "
            "set TRADEWIND_HOME to a folder that you may write to"
        )
    return EmbeddedError(f"cannot use {place}: {error.strerror or error}")


def disk_full(home: Path, evidence: str) -> EmbeddedError:
    """Say that the disk of `home` is full; `evidence` is the line that told so."""
    return EmbeddedError(
        f"the disk of {home} is full: make room there, "
        f"or set TRADEWIND_HOME to a folder on another disk ({evidence})"
    )


def user_name(uid: int) -> str:
    """Return the name of a user, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _owner_note(place: str) -> str:
    for path in (Path(place), *Path(place).parents):
        try:
            uid = path.lstat().st_uid
        except OSError:
            continue
        return "" if uid == os.geteuid() else f" ({path} belongs to {user_name(uid)})"
    return ""

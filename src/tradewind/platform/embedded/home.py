"""Where everything lies on disk, and how a file gets there. The rule: whole files, private files.

HOME/postgres/          0700, or 0711 where another user runs the server
    owner.lock          held by the owner for as long as it lives; names its pid
    password            the superuser's, 0600
    data/               PostgreSQL's own
    socket/             0700, holds the socket alone
    log/                what the programs said, bounded
    fresh/              a data folder in the making; only ever renamed or removed whole
    programs-VERSION/   a copy, only where the original is out of reach

HOME/replica/           the same again, where a replica lives beside it
    passfile            with which it reaches the other server, 0600
    log/backup.log      what the last base backup said
"""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

LOG_LIMIT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one server below a home directory; `root` is `HOME/postgres`, absolute."""

    base: Path
    root: Path

    @classmethod
    def at(cls, home: Path) -> "Home":
        """Name the paths of `home` without touching anything."""
        base = home.resolve()
        return cls(base, base / "postgres")

    @classmethod
    def replica_at(cls, home: Path) -> "Home":
        """Name the paths of the replica in `home`, whose `root` is `HOME/replica`."""
        base = home.resolve()
        return cls(base, base / "replica")

    @property
    def owner_lock(self) -> Path:
        """The file whose lock the owner holds."""
        return self.root / "owner.lock"

    @property
    def password(self) -> Path:
        """The superuser's password, the same for a server and its replica."""
        return self.base / "postgres" / "password"

    @property
    def passfile(self) -> Path:
        """The password of a replica's role, as libpq reads it."""
        return self.root / "passfile"

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return self.root / "data"

    @property
    def socket(self) -> Path:
        """The folder of the socket."""
        return self.root / "socket"

    @property
    def fresh(self) -> Path:
        """A data folder in the making; it counts for nothing until it is renamed."""
        return self.root / "fresh"

    @property
    def server_log(self) -> Path:
        """What the server says."""
        return self.root / "log" / "server.log"

    @property
    def initdb_log(self) -> Path:
        """What the last initdb said."""
        return self.root / "log" / "initdb.log"

    @property
    def backup_log(self) -> Path:
        """What the last base backup said."""
        return self.root / "log" / "backup.log"

    def make_root(self) -> None:
        """Make the server's folder; by root in an ordinary user's home, it becomes that user's."""
        self.base.mkdir(parents=True, exist_ok=True)
        try:
            self.root.mkdir(mode=0o700)
        except FileExistsError:
            return
        if os.geteuid() == 0:
            owner = self.base.stat()
            os.chown(self.root, owner.st_uid, owner.st_gid)

    def make_folders(self) -> None:
        """Make the folders for the socket and the logs, entered by their owner only."""
        for folder in (self.socket, self.server_log.parent):
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
                self.hand_to_keeper(folder)
            folder.chmod(0o700)

    def hand_to_keeper(self, target: Path | int) -> None:
        """Give what root made to the owner of the server's folder, who may start it next time."""
        if os.geteuid() == 0:
            keeper = self.root.stat()
            os.chown(target, keeper.st_uid, keeper.st_gid)

    def open_private(self, path: Path, flags: int) -> int:
        """Open a file of ours, made 0600 where it is missing and never through a link."""
        descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self.hand_to_keeper(descriptor)
        return descriptor

    def write_whole(self, path: Path, text: str, owner: tuple[int, int] | None = None) -> None:
        """Write a 0600 file so that after a crash it is there whole or as it was before.

        `owner` is the user and group that get it, where that is not the keeper of the home.
        """
        unfinished = path.with_name(path.name + ".unfinished")
        unfinished.unlink(missing_ok=True)
        # O_EXCL with the final mode: at no time can another user open it, whatever the umask.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(unfinished, flags, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                if owner is None:
                    self.hand_to_keeper(file.fileno())
                else:
                    os.fchown(file.fileno(), *owner)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names that were just made, renamed or removed in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def give_tree(top: Path, uid: int, gid: int) -> None:
    """Give a folder and all below it to a user; interrupted, the next call starts again."""
    if top.lstat().st_uid == uid:
        return
    for folder, names, files in os.walk(top, topdown=False):
        for name in (*names, *files):
            # The server may remove a temporary file of its own meanwhile.
            with contextlib.suppress(FileNotFoundError):
                os.chown(Path(folder, name), uid, gid, follow_symlinks=False)
    # The top comes last: it tells the next call that all below is done.
    os.chown(top, uid, gid, follow_symlinks=False)


def bound_log(log: Path) -> None:
    """Keep a log below its limit: what is too long becomes `NAME.1`, replacing the one before.

    The writers have opened it for appending, so it can be emptied under them.
    """
    try:
        if log.stat().st_size <= LOG_LIMIT_BYTES:
            return
        with contextlib.suppress(OSError):
            shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)
    except FileNotFoundError:
        return


def last_words(log: Path, since_bytes: int = 0) -> str:
    """Return the line of a log that says why a program ended: its last complaint, or its last."""
    try:
        with log.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(min(since_bytes, size), size - 64 * 1024))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    complaints = [
        line for line in lines if any(word in line for word in ("FATAL:", "PANIC:", "error:"))
    ]
    return (complaints or lines or [""])[-1]

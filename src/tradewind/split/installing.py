"""Servers that this machine lacks; one rule: installed where that is plainly wanted, else named.

On Debian and its kin, as root, they come from the distribution's packages, and none is started
there as a service. Elsewhere the reader is told what is missing and how to get it.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

_INSTALL_SECONDS = 600.0
_POLICY = Path("/usr/sbin/policy-rc.d")
_REFUSE_STARTS = "#!/bin/sh\nexit 101\n"


class ServersMissing(Exception):
    """Programs that are needed are not here; one line that says how to get them."""


class Needed(msgspec.Struct, frozen=True):
    """One server program, the names that it is found under, and the packages that bring it."""

    programs: tuple[str, ...]
    debian: str
    brew: str


NEEDED: Mapping[str, Needed] = {
    "redis": Needed(("redis-server",), "redis-server", "redis"),
    # Debian's command of that name changes the user first, and leaves our signals to a shell.
    "broker": Needed(
        ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server"), "rabbitmq-server", "rabbitmq"
    ),
    "epmd": Needed(("epmd",), "rabbitmq-server", "erlang"),
    "balancer": Needed(("haproxy",), "haproxy", "haproxy"),
}
# Where distributions put servers; the search path of ordinary users often lacks it.
_BESIDE_THE_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/opt/homebrew/sbin")


def find_program(name: str) -> str:
    """The path of a server's program; raises ServersMissing."""
    found = _found(NEEDED[name])
    if found is None:
        raise ServersMissing(_advice([NEEDED[name]]))
    return found


async def ensure_installed(needed: Iterable[Needed], say: Callable[[str], None]) -> None:
    """Returns when all of these are here; raises ServersMissing where they cannot be had."""
    missing = [one for one in needed if _found(one) is None]
    if not missing:
        return
    packages = sorted({one.debian for one in missing})
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"Installing {', '.join(packages)} from the distribution …")
        await _install(packages)
        missing = [one for one in missing if _found(one) is None]
    if missing:
        raise ServersMissing(_advice(missing))


def _found(needed: Needed) -> str | None:
    path = os.pathsep.join((os.defpath, *_BESIDE_THE_PATH))
    for program in needed.programs:
        if found := shutil.which(program) or shutil.which(program, path=path):
            return found
    return None


def _advice(missing: Sequence[Needed]) -> str:
    return (
        f"missing: {', '.join(one.programs[-1] for one in missing)}. On Debian or Ubuntu: "
        f"sudo apt-get install {' '.join(sorted({one.debian for one in missing}))}; elsewhere, "
        f"say: brew install {' '.join(sorted({one.brew for one in missing}))}; or name servers of "
        "yours (TRADEWIND_BROKER_URL, TRADEWIND_SESSIONS_URL, TRADEWIND_CACHE_URL)"
    )


async def _install(packages: list[str]) -> None:
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages]
    with _without_starts():
        if await _run("apt-get", "update", "--quiet"):
            raise ServersMissing("apt-get update failed; is there a network?")
        if await _run(*command):
            raise ServersMissing(f"{' '.join(command)} failed; run it by hand to see why")


@contextmanager
def _without_starts() -> Generator[None]:
    """Packages would start servers of their own, open to the machine: meanwhile none may."""
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text(_REFUSE_STARTS)
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            _POLICY.unlink()


async def _run(*command: str) -> int:
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"DEBIAN_FRONTEND": "noninteractive", "PATH": os.defpath + ":/usr/sbin:/sbin"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(_INSTALL_SECONDS):
        return await process.wait()

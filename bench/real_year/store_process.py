"""A store of our own; one rule: started in a fresh folder, ended whatever happens."""

import asyncio
import os
import shutil
import signal
import socket
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

START_SECONDS = 120.0
END_SECONDS = 60.0


class StoreFailed(Exception):
    """The store, or one of its commands, did not do what it should; the text says which."""


class StoreProcess:
    """`tradewind run` on a free port, its folder, and its other commands."""

    def __init__(self, program: Path, log: Path) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="tradewind-real-year-"))
        self.port = _free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self._program = program
        self._log = log
        kept = {name: one for name, one in os.environ.items() if not name.startswith("TRADEWIND_")}
        ours = {"TRADEWIND_HOME": str(self.home), "TRADEWIND_PORT": str(self.port)}
        self._environment = kept | ours
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts it and waits until it may be used."""
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                self._program, "run", stdout=log, stderr=log, env=self._environment, cwd=self.home
            )
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while not await asyncio.to_thread(_answers, f"{self.base}/readyz"):
            if self._process.returncode is not None:
                message = f"the store ended with {self._process.returncode}; see {self._log}"
                raise StoreFailed(message)
            if asyncio.get_running_loop().time() > deadline:
                raise StoreFailed(f"the store was not ready in {START_SECONDS} s; see {self._log}")
            await asyncio.sleep(0.1)

    async def watch(self) -> None:
        """Raises StoreFailed when the store ends by itself."""
        assert self._process is not None
        code = await self._process.wait()
        raise StoreFailed(f"the store ended by itself with {code}; see {self._log}")

    async def command(self, *arguments: str, given: str = "") -> str:
        """Runs `tradewind …` against the running store; what it printed. Raises StoreFailed."""
        process = await asyncio.create_subprocess_exec(
            self._program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
            cwd=self.home,
        )
        told, _ = await process.communicate(given.encode())
        text = told.decode(errors="replace").strip()
        if process.returncode:
            message = f"tradewind {' '.join(arguments)} ended with {process.returncode}:\n{text}"
            raise StoreFailed(message)
        return text

    async def end(self) -> None:
        """Ends it as an operator would; raises StoreFailed where it does not end well."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(process.wait(), END_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
            message = f"the store did not end within {END_SECONDS} s of SIGTERM"
            raise StoreFailed(message) from None
        if code:
            raise StoreFailed(f"the store ended with {code} after SIGTERM; see {self._log}")

    def remove(self) -> None:
        """Removes its folder."""
        shutil.rmtree(self.home)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  our own address
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False

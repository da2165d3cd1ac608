"""A store to be measured: started by its own command, filled through its own import."""

import csv
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tradewind.split.ports import Ports

SKUS = 1000
TRADEWIND = str(Path(sys.executable).with_name("tradewind"))
_PATIENCE_SECONDS = 180


def free_port() -> int:
    """A loopback port that nobody listens on just now."""
    return Ports(0).take()


class Started:
    """A process that said that it is ready; `end` ends it."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                arguments, env=os.environ | environment, stdout=out, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not re.search(r"^Ready", self.output(), re.MULTILINE):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.end()
                sys.exit(f"{' '.join(arguments)} did not start:\n{self.output()}")
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def output(self) -> str:
        """What it printed so far."""
        return self._log.read_text(errors="replace")

    def end(self) -> None:
        """Ends it in order."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(_PATIENCE_SECONDS)


class Shop:
    """The store with SKUS products, and an account to sign in with.

    `start` is the command that starts it, in whichever topology.
    """

    def __init__(self, start: Sequence[str] = (TRADEWIND, "run")) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tradewind-bench-"))
        self.port = free_port()
        self.email, self.password = "bench@example.com", secrets.token_urlsafe(18)
        self._environment = {
            "TRADEWIND_HOME": str(self._folder / "home"),
            "TRADEWIND_PORT": str(self.port),
            "TRADEWIND_LOG_LEVEL": "warning",
        }
        self._started = Started([*start], self._environment, self._folder / "store.log")
        try:
            self._fill()
        except BaseException:
            self.end()
            raise

    @property
    def pid(self) -> int:
        """The store's process, or the one that started all of its processes."""
        return self._started.pid

    def _fill(self) -> None:
        catalogue = self._folder / "catalogue.csv"
        with catalogue.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["sku", "title", "description", "price", "currency", "on_hand"])
            for number in range(1, SKUS + 1):
                text = "A plain thing, made with care, that ships within two days."
                writer.writerow(
                    [f"BENCH-{number}", f"Thing {number}", text, "19.99", "EUR", 100_000_000]
                )
        self.command("import", str(catalogue))
        self.command("staff", "add", self.email, given=self.password)

    def command(self, *arguments: str, given: str = "") -> str:
        """Runs `tradewind …` against the store; ends the benchmark where it fails."""
        done = subprocess.run(
            [TRADEWIND, *arguments],
            env=os.environ | self._environment,
            input=given,
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"tradewind {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def end(self) -> None:
        """Ends the store and removes what it kept."""
        self._started.end()
        shutil.rmtree(self._folder, ignore_errors=True)

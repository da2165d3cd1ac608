"""Load by `wrk`; one rule: an answer that is not 2xx makes the measure worthless, and is told."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


class Measure(NamedTuple):
    """What one run gave: requests a second, latencies in milliseconds, requests that failed."""

    per_second: float
    median_ms: float
    p99_ms: float
    failed: int
    requests: int


def check_wrk() -> None:
    """Says what to install where `wrk` is missing."""
    if shutil.which("wrk") is None:
        sys.exit("measuring needs wrk: apt-get install wrk, or brew install wrk")


def run(
    port: int,
    path: str = "/",
    *,
    seconds: float,
    clients: int = 64,
    script: str | None = None,
    arguments: tuple[str, ...] = (),
) -> Measure:
    """Loads one address for so long."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "--latency", "--timeout", "30s"]
    if script is not None:
        command += ["-s", str(FOLDER / script)]
    command.append(f"http://127.0.0.1:{port}{path}")
    if arguments:
        command += ["--", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return read(done.stdout)


def read(output: str) -> Measure:
    """The figures in what `wrk --latency` prints."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    requests = re.search(r"(\d+) requests in ", output)
    if rate is None or requests is None:
        sys.exit(f"wrk printed no rate:\n{output}")
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    sockets = re.search(r"Socket errors: .*", output)
    failed = int(bad[1]) if bad else 0
    failed += sum(map(int, re.findall(r"\d+", sockets[0]))) if sockets else 0
    median, p99 = _milliseconds(output, "50%"), _milliseconds(output, "99%")
    return Measure(float(rate[1]), median, p99, failed, int(requests[1]))


def _milliseconds(output: str, share: str) -> float:
    found = re.search(rf"{share}\s+([\d.]+)(us|ms|s|m)", output)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0

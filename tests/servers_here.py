"""`python -m tests.servers_here`: what tests and benches start; installed, or named if missing."""

import asyncio
import sys

from tradewind.split.installing import NEEDED, Needed, ServersMissing, ensure_installed

ALL = (
    *NEEDED.values(),
    Needed(("pgbouncer",), "pgbouncer", "pgbouncer"),
    Needed(("curl",), "curl", "curl"),
    Needed(("wrk",), "wrk", "wrk"),
)
"""What a split store needs, a pooler, a client that speaks HTTP/2, and the topologies' load."""


def main() -> None:
    """All of them, before the first test."""
    try:
        asyncio.run(ensure_installed(ALL, lambda line: print(line, flush=True)))
    except ServersMissing as missing:
        sys.exit(str(missing))


if __name__ == "__main__":
    main()

"""`python -m tests.servers_here`: the servers that tests start; installed, or named if missing."""

import asyncio
import sys

from tradewind.split.installing import NEEDED, ServersMissing, ensure_installed


def main() -> None:
    """All of them, before the first test."""
    try:
        asyncio.run(ensure_installed(NEEDED, lambda line: print(line, flush=True)))
    except ServersMissing as missing:
        sys.exit(str(missing))


if __name__ == "__main__":
    main()

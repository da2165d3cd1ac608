"""`tradewind healthy`: whether this process may have traffic; one rule: it starts in no time.

It asks the internal listener that TRADEWIND_INTERNAL_HOST and _PORT name. Nothing of the store is
imported, for a container asks every few seconds: there, `python -m tradewind.commands.healthy`.
"""

import os
import socket
import sys
from contextlib import suppress

_ANSWER_SECONDS = 2.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  only compared
_ASKED = b"GET /readyz HTTP/1.1\r\nHost: internal\r\nConnection: close\r\n\r\n"
_READY = b" 200 "


def is_healthy() -> bool:
    """Whether it says that it is ready; False where nobody answers."""
    host = os.environ.get("TRADEWIND_INTERNAL_HOST", "")
    port = os.environ.get("TRADEWIND_INTERNAL_PORT", "")
    if not port.isdigit():
        return False
    address = (_ANYWHERE.get(host, host), int(port))
    with suppress(OSError, OverflowError), socket.create_connection(address, _ANSWER_SECONDS) as to:
        to.sendall(_ASKED)
        return _READY in to.recv(64)
    return False


if __name__ == "__main__":
    sys.exit(not is_healthy())

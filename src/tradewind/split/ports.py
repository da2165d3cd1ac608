"""Which port is whose; one rule: the same order every time, so that they can be known by heart."""

import socket

from tradewind.platform.web.serving import check_free

LOOPBACK = "127.0.0.1"


class Ports:
    """Ports of loopback, one after the other from `first` on; with 0, whichever are free."""

    def __init__(self, first: int) -> None:
        self._next = first

    def take(self) -> int:
        """The next one; raises ListenFailed where somebody else has it."""
        if not self._next:
            return free_port()
        port, self._next = self._next, self._next + 1
        check_free(LOOPBACK, port)
        return port


def free_port() -> int:
    """One that nobody listens on just now, and that the kernel gives to nobody soon again."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])

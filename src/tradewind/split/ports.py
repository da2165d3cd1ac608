"""Which port is whose; one rule: the same order every time, so that they can be known by heart."""

import random
from collections.abc import Iterable

from tradewind.platform.web.serving import ListenFailed, check_free

LOOPBACK = "127.0.0.1"
# Below those that kernels give to outgoing connections: one of these may take a port between the
# moment when it was found free and the moment when its server listens.
_FREE_AMONG = range(15_000, 32_000)
_TRIES = 200


class Ports:
    """Ports of loopback, one after the other from `first` on; with 0, whichever are free.

    `promised` are somebody's already, though nobody listens there yet.
    """

    def __init__(self, first: int, *, promised: Iterable[int] = ()) -> None:
        self._next = first
        self._taken = set(promised)

    def take(self) -> int:
        """The next one; raises ListenFailed where somebody else has it."""
        if not self._next:
            return self._free()
        port, self._next = self._next, self._next + 1
        if port in self._taken:
            raise ListenFailed(f"port {port} is wanted twice: choose another --first-port")
        check_free(LOOPBACK, port)
        return port

    def _free(self) -> int:
        for port in random.sample(_FREE_AMONG, _TRIES):
            if port in self._taken:
                continue
            try:
                check_free(LOOPBACK, port)
            except ListenFailed:
                continue
            self._taken.add(port)
            return port
        raise ListenFailed(f"no port is free between {_FREE_AMONG.start} and {_FREE_AMONG.stop}")

"""Values in a Redis that may be wrong; one rule: what does not prove itself is not there.

Each value carries a MAC (HMAC-SHA256, RFC 2104, cut to 128 bits) over its kind, the version of its
schema, its key and its content, keyed from the store's secret. So garbage, a value of another
schema, another key's value and one that somebody else wrote are all the same: a miss.
"""

import hmac

from tradewind.platform.ids import derive

_MAC_BYTES = 16


class Seal:
    """Seals one kind of values. `version` (0 to 255) is that of their schema."""

    def __init__(self, secret: bytes, kind: str, version: int) -> None:
        self._secret = derive(secret, f"redis {kind}")
        self._version = bytes([version])

    def seal(self, key: bytes, content: bytes) -> bytes:
        """What to store under this key."""
        return self._mac(key, content) + content

    def unseal(self, key: bytes, value: object) -> bytes | None:
        """The content of what was found under this key; None where it proves nothing."""
        if not isinstance(value, bytes):
            return None
        content = value[_MAC_BYTES:]
        if not hmac.compare_digest(value[:_MAC_BYTES], self._mac(key, content)):
            return None
        return content

    def _mac(self, key: bytes, content: bytes) -> bytes:
        told = b"%b%08x%b%b" % (self._version, len(key), key, content)
        return hmac.digest(self._secret, told, "sha256")[:_MAC_BYTES]

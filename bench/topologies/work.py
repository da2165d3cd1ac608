"""What is asked of every world; one rule: the same bytes everywhere, but for keys and tokens."""

from collections.abc import Mapping
from random import Random
from typing import Any

import msgspec

from bench.shop import SKUS

_HOST = "127.0.0.1"
PURCHASE_BODY: Mapping[str, Any] = {
    "email": "ann@example.com",
    "shippingAddress": {
        "name": "Ann Lee",
        "line1": "1 Main St",
        "city": "Berlin",
        "postalCode": "10115",
        "country": "DE",
    },
    "payment": {"token": "tok_approved"},
}
"""A guest's, or a customer's, but for its lines; the same as in purchase.lua."""


class Work(msgspec.Struct, frozen=True):
    """One kind of request; `paths` are those of which one is taken by chance."""

    name: str
    paths: tuple[str, ...]
    buys: bool = False
    token: str | None = None

    def requests(self, count: int, seed: int) -> list[bytes]:
        """So many of them, ready to be sent; a seed is for one run alone, as keys are."""
        random = Random(seed)
        if self.buys:
            return [_purchase(f"{seed}-{number}", random) for number in range(count)]
        each = [_read(path, self.token) for path in self.paths]
        return random.choices(each, k=count)

    @property
    def expected(self) -> int:
        """The status of an answer as it should be."""
        return 201 if self.buys else 200


def _purchase(key: str, random: Random) -> bytes:
    sku = f"BENCH-{random.randint(1, SKUS)}"
    own = {"lines": [{"sku": sku, "quantity": 1}], "email": f"ann-{key}@example.com"}
    body = msgspec.json.encode({**PURCHASE_BODY, **own})
    head = (
        f"POST /v1/checkout HTTP/1.1\r\nHost: {_HOST}\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: open-{key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _read(path: str, token: str | None) -> bytes:
    who = "" if token is None else f"Authorization: Bearer {token}\r\n"
    return f"GET {path} HTTP/1.1\r\nHost: {_HOST}\r\n{who}\r\n".encode()

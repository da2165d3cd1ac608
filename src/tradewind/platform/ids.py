"""Identifiers and secrets; one rule: ids are made here, in Python, before anything is saved.

UUIDv7 (RFC 9562) sorts by time of making, so that indexes grow at their right edge.
"""

import hashlib
import hmac
import secrets
from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A new UUIDv7."""
    return uuid7()


def new_token(size_bytes: int = 32) -> str:
    """A random URL-safe secret (256 bits if not told otherwise)."""
    return secrets.token_urlsafe(size_bytes)


def digest(token: str) -> bytes:
    """What is stored of a random secret: its SHA-256. Only for secrets of 128 bits or more."""
    return hashlib.sha256(token.encode()).digest()


def derive(secret: bytes, purpose: str) -> bytes:
    """A 32-byte key of its own for each purpose, from the store's one secret (HMAC-SHA256)."""
    return hmac.digest(secret, purpose.encode(), "sha256")

"""What an account is signed in by; one rule: two spellings of one name have one key.

A user name never holds an `@`, so that it can never be mistaken for another's e-mail address.
"""

import ipaddress
import re
import unicodedata
from typing import Final

import msgspec

from tradewind.users.model.faults import Fault

EMAIL_LONGEST: Final = 254
LOCAL_LONGEST: Final = 64
USERNAME_SHORTEST: Final = 3
USERNAME_LONGEST: Final = 64
IMPORTED_LONGEST: Final = 255
"""The Express service took user names of any kind up to this length."""

# RFC 5321 dot-strings of RFC 5322 atoms; quoted local parts and address literals are left out,
# since nobody shops with them and every mail header is safer without. ASCII only: a domain in
# other letters has an ASCII form, and two standards disagree on which (`ß`).
_LOCAL: Final = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN: Final = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]"
)


class Email(msgspec.Struct, frozen=True):
    """An address as it is written to, and the key that tells it from others."""

    address: str
    key: str


class Username(msgspec.Struct, frozen=True):
    """A user name as it was chosen, and the key that tells it from others."""

    text: str
    key: str


def read_email(text: str) -> Email:
    """The address, trimmed, its domain in lower case; raises Fault."""
    local, at, domain = text.strip(" ").rpartition("@")
    domain = domain.lower()
    if (
        not at
        or len(local) + len(domain) + 1 > EMAIL_LONGEST
        or len(local) > LOCAL_LONGEST
        or not _LOCAL.fullmatch(local.lower())
        or not local.isascii()
        or not _DOMAIN.fullmatch(domain)
    ):
        raise Fault("must be an e-mail address like ann@example.com, in ASCII letters")
    return Email(f"{local}@{domain}", f"{local}@{domain}".lower())


def read_username(text: str) -> Username:
    """A user name that is chosen now: 3 to 64 characters; raises Fault."""
    return _username(text, USERNAME_SHORTEST, USERNAME_LONGEST)


def read_imported_username(text: str) -> Username:
    """A user name that the Express service let somebody have; raises Fault."""
    return _username(text, 1, IMPORTED_LONGEST)


def login_key(text: str) -> str:
    """The key of what somebody typed as user name or e-mail address."""
    trimmed = text.strip(" ")
    return trimmed.lower() if "@" in trimmed else _folded(trimmed)


def names_email(text: str) -> bool:
    """Whether a text given as user name is meant as an e-mail address."""
    return "@" in unicodedata.normalize("NFKC", text)


def network_of(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 that one IPv6 customer is given."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed), 64), strict=False))
    return str(parsed)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _username(text: str, shortest: int, longest: int) -> Username:
    trimmed = text.strip(" ")
    key = _folded(trimmed)
    if not shortest <= len(trimmed) <= longest or not 1 <= len(key) <= IMPORTED_LONGEST:
        raise Fault(f"must have {shortest} to {longest} characters")
    if "@" in key:
        raise Fault("must not contain @ (an e-mail address goes into its own field)")
    # printable: no control, format, private or unassigned characters, no space but the plain one
    if not trimmed.isprintable() or not key.isprintable() or key != key.strip():
        raise Fault("must not contain invisible characters")
    return Username(trimmed, key)

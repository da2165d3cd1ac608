"""E-mail addresses as we send to them; one rule: what is not plainly one address is refused.

Quoted local parts, comments, groups and literals are legal (RFC 5322) and of no use to a shop;
refusing them leaves nothing that could add a recipient or a header.
"""

import re
from typing import Final

LONGEST: Final = 254
_LOCAL_LONGEST: Final = 64
_ADDRESS: Final = re.compile(
    r"(?P<local>[^\s\x00-\x1f\x7f-\x9f@<>()\[\],;:\\\"]+)@(?P<domain>[^\s@]+)"
)
_DOMAIN: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)


def address_fault(address: str) -> str | None:
    """Why this is no address that a mail can go to, or None."""
    match = _ADDRESS.fullmatch(address)
    if match is None or len(address) > LONGEST:
        return "not an e-mail address"
    local = match["local"]
    if len(local) > _LOCAL_LONGEST or local[0] == "." or local[-1] == "." or ".." in local:
        return "not an e-mail address"
    try:
        ascii_domain = match["domain"].encode("idna").decode()
    except UnicodeError:
        return "not an e-mail address"
    return None if _DOMAIN.fullmatch(ascii_domain.lower()) else "not an e-mail address"


def on_the_wire(address: str) -> str:
    """The address with its domain in ASCII (IDNA), which every server understands."""
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.encode('idna').decode()}"

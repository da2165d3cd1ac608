"""Which passwords are good enough; one rule: length and rarity count, composition does not.

After NIST SP 800-63B (5.1.1.2) and OWASP ASVS 5 (6.2): 8 to 128 characters of any kind, nothing
that stands in lists of the commonest passwords or is made by the habits that such lists show.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable
from itertools import pairwise
from typing import Final

SHORTEST: Final = 8
LONGEST: Final = 128

_SEPARATORS: Final = re.compile(r"[\W_]+")
_ENDS: Final = re.compile(r"^\d{0,4}(.*?)\d{0,4}$", re.DOTALL)
_BLOCKS: Final = re.compile(r"(.{1,5}?)\1+.{0,2}", re.DOTALL)
_LEET: Final = str.maketrans("013457@$!", "oieastasi")
_ROWS: Final = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop",
    "yxcvbnm",
    "azertyuiop",
    "qsdfghjklm",
)
_NEIGHBOURS: Final = frozenset(
    pair
    for row in _ROWS
    for first, second in pairwise(row)
    for pair in ((first, second), (second, first))
)
_RUN_SHORTEST: Final = 3
_RUNS_MOST: Final = 4
_PATTERN_LONGEST: Final = 24
"""Nobody guesses longer ones by their pattern."""
_NAME_SHORTEST: Final = 4


def password_fault(password: str, names: Iterable[str], common: Collection[str]) -> str | None:
    """Why nobody should have this password, or None. `names` are the account's own."""
    if not SHORTEST <= len(password) <= LONGEST:
        return f"must have {SHORTEST} to {LONGEST} characters"
    folded = unicodedata.normalize("NFKC", password).casefold()
    if _is_common(folded, common) or _is_pattern(folded):
        return "is one of the passwords that are guessed first; choose another"
    for name in names:
        known = name.partition("@")[0].casefold()
        rest = folded.replace(known, "")
        if len(known) >= _NAME_SHORTEST and known in folded and len(rest) < SHORTEST:
            return "is little more than the account's own name; choose another"
    return None


def normalized(password: str) -> bytes:
    """What is hashed: the same for every way of typing the same characters (NFKC)."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _is_common(folded: str, common: Collection[str]) -> bool:
    """In the list, also with other separators, digits around it, or letters written as digits."""
    for text in (folded, folded.translate(_LEET)):
        squeezed = _SEPARATORS.sub("", text)
        if text in common or squeezed in common:
            return True
    ends = _ENDS.match(_SEPARATORS.sub("", folded))
    core = ends.group(1) if ends else ""
    return core in common or core.translate(_LEET) in common


def _is_pattern(folded: str) -> bool:
    """One block over and over, or a few rows of the keyboard or alphabet; where it is short."""
    if len(folded) > _PATTERN_LONGEST:
        return False
    if _BLOCKS.fullmatch(folded):
        return True
    runs = 1 + sum(
        first != second and (first, second) not in _NEIGHBOURS for first, second in pairwise(folded)
    )
    return runs <= min(_RUNS_MOST, len(folded) // _RUN_SHORTEST)

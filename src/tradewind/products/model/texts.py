"""What is done to the catalogue's texts; one rule: what is searched and what is sought fold alike.

Folding happens here and not in the database, whose idea of letters depends on its locale.
"""

import re
import unicodedata
from uuid import UUID

import nh3

SLUG_LENGTH_MOST = 100
_MADE_LENGTH_MOST = 90
_KEY_LENGTH_MOST = 40
_NOT_SLUG = re.compile(r"[^a-z0-9]+")
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_NOT_DECOMPOSED = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "þ": "th", "\u0131": "i"}
)
_SUFFIX_LETTERS = "abcdefghjkmnpqrstvwxyz23456789"

_cleaner = nh3.Cleaner(
    tags=set("a b blockquote br code em h2 h3 h4 i li ol p strong sub sup ul".split()),
    attributes={"a": {"href", "title"}},
    url_schemes={"http", "https", "mailto"},
    link_rel="noopener noreferrer nofollow",
)


def folded(text: str) -> str:
    """Without case, accents and typographic variants: `Crème Brûlée` becomes `creme brulee`."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text).casefold()
    kept = "".join(char for char in plain if not unicodedata.combining(char))
    return kept.translate(_NOT_DECOMPOSED)


def trimmed(text: str) -> str:
    """One line: runs of white space become one space, none at the ends."""
    return " ".join(text.split())


def has_control_characters(text: str) -> bool:
    """Whether there is anything in it that no one can see, white space apart."""
    return not text.isprintable() and any(
        unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn") and not char.isspace()
        for char in text
    )


def title_key(title: str) -> str:
    """What titles are sorted by; short, since cursors carry it."""
    return "".join(char for char in folded(title) if char.isprintable())[:_KEY_LENGTH_MOST]


def as_uuid(text: str) -> UUID | None:
    """The id that a text is in the usual spelling; never what is a slug."""
    return UUID(text) if _UUID.fullmatch(text) else None


def is_slug(text: str) -> bool:
    """Whether a text can stand for a product or category in an address."""
    return (
        len(text) <= SLUG_LENGTH_MOST
        and _SLUG.fullmatch(text) is not None
        and as_uuid(text) is None
    )


def slugified(text: str, id_: UUID) -> str:
    """A slug made from a text; from the id where the text has nothing to make it from."""
    slug = _NOT_SLUG.sub("-", folded(text)).strip("-")[:_MADE_LENGTH_MOST].rstrip("-")
    if not slug or as_uuid(slug):
        return f"item-{suffix(id_)}"
    return slug


def suffix(id_: UUID) -> str:
    """Seven letters from the random end of an id, to tell two slugs apart."""
    number, letters = id_.int & (2**40 - 1), ""
    for _ in range(7):
        number, rest = divmod(number, len(_SUFFIX_LETTERS))
        letters += _SUFFIX_LETTERS[rest]
    return letters


def sanitised(html: str) -> str:
    """The description with only harmless tags left; doing it twice changes nothing."""
    return _cleaner.clean(html).strip()

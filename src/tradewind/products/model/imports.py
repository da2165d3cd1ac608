"""A line of an import file becomes a wish; one rule: it is taken whole or refused with a reason.

Pure. Columns: `sku`, `product` (groups variants), `title`, `variant` (the variant's own title),
`description`, `price` (decimal: `39.99`) or `price_minor`, `compare_at_price` or
`compare_at_price_minor`, `currency`, `category` (`Home > Kitchen`, several by `|`), `on_hand` (what
was counted), `status`, `image` (addresses), `attributes.NAME`, `options.NAME`. What is absent or
empty stays as it is. Others are ignored.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

import msgspec
from msgspec import UNSET, UnsetType

from tradewind.platform.errors import Invalid
from tradewind.platform.money import AMOUNT_MOST, EXPONENTS, Money
from tradewind.products.model.catalogue import (
    ON_HAND_MOST,
    Image,
    ProductDraft,
    Status,
    VariantDraft,
    is_sku,
)
from tradewind.products.model.categories import split_path

COLUMNS = (
    "sku", "product", "title", "variant", "description", "price", "price_minor",
    "compare_at_price", "compare_at_price_minor", "currency", "category", "on_hand", "status",
    "image",
)  # fmt: skip
IMAGES_MOST = 20
_STATUSES: dict[str, Status] = {one: one for one in get_args(Status)}
_PREFIXES = ("attributes.", "options.")
_DECIMAL = re.compile(r"(\d{1,13})(?:[.,](\d{1,12}))?", re.ASCII)
_WORD_BEGINS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_INTEGER = re.compile(r"\d{1,13}", re.ASCII)
_URL = re.compile(r"(?:https?://[^\s\"'<>/]+(?:/[^\s\"'<>]*)?|/v1/pictures/[\w.-]+)", re.ASCII)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Cells = Mapping[str, Any]
"""By our column: a text (CSV), or any JSON value."""


class Unreadable(Invalid):
    """The file as a whole cannot be imported; nothing was changed."""

    code = "unreadable_import"
    title = "The file cannot be imported"


class Refused(msgspec.Struct, frozen=True):
    """A line that was not taken, and why."""

    line: int
    sku: str
    why: str


class Line(msgspec.Struct, frozen=True):
    """A line as it was understood. `paths` are those of its categories, from the root."""

    number: int
    sku: str
    key: str | None
    draft: ProductDraft
    variant: VariantDraft
    paths: tuple[tuple[str, ...], ...] | UnsetType
    on_hand: int | UnsetType


class _FaultyCell(Exception):
    """Why a cell is refused."""


def our_column(name: str) -> str | None:
    """Our column of this name, however it is written (`onHand`); None where there is none."""
    plain = name.strip()
    for prefix in _PREFIXES:
        if plain.lower().startswith(prefix) and len(plain) > len(prefix):
            return prefix + plain[len(prefix) :]
    known = _WORD_BEGINS.sub("_", plain).lower().replace(" ", "_")
    return known if known in COLUMNS else None


def checked_mapping(mapping: Mapping[str, str]) -> dict[str, str]:
    """Ours to theirs, as given by `--map`; raises Unreadable."""
    checked: dict[str, str] = {}
    for ours, theirs in mapping.items():
        column = our_column(ours)
        if column is None:
            near = difflib.get_close_matches(ours, COLUMNS, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(COLUMNS)}"
            raise Unreadable(f"--map: there is no column {ours!r}{hint}")
        checked[column] = theirs.strip()
    return checked


def columns_of(header: Sequence[str], mapping: Mapping[str, str]) -> list[str | None]:
    """For each column of the file ours, or None; raises Unreadable."""
    by_theirs = {theirs.lower(): ours for ours, theirs in mapping.items()}
    missing = [one for one in mapping.values() if one.lower() not in _lowered(header)]
    if missing:
        found = ", ".join(repr(one.strip()) for one in header[:30])
        raise Unreadable(f"--map: the file has no column {missing[0]!r}, but {found}")
    columns: list[str | None] = []
    for name in header:
        ours = by_theirs.get(name.strip().lower())
        # What is mapped from elsewhere is not taken from a column that happens to be named so.
        by_name = our_column(name)
        columns.append(ours or (None if by_name in mapping else by_name))
    twice = {one for one in columns if one is not None and columns.count(one) > 1}
    if twice:
        raise Unreadable(f"the column {min(twice)!r} occurs twice")
    if "sku" not in columns:
        found = ", ".join(repr(one.strip()) for one in header[:30])
        raise Unreadable(f"there is no column 'sku' (use --map sku=NAME); the file has {found}")
    return columns


def _lowered(header: Sequence[str]) -> set[str]:
    return {name.strip().lower() for name in header}


def read_line(number: int, cells: Cells, currency: str) -> Line | Refused:
    """What a line wishes for, or why it is refused. `currency` is that of prices without one."""
    sku = ""
    try:
        sku = _text(cells, "sku") or ""
        _refuse_nul(cells)
        if not is_sku(sku):
            needs = "it needs 1 to 64 letters, digits and ` ._:+-`"
            raise _FaultyCell(f"sku: {needs if sku else 'it is empty'}")
        price_in = _text(cells, "currency") or currency
        status = _text(cells, "status")
        if status and status not in _STATUSES:
            raise _FaultyCell(f"status: {status!r} is none of draft, active, archived")
        return Line(
            number=number,
            sku=sku,
            key=_key(cells),
            draft=ProductDraft(
                title=_text(cells, "title") or UNSET,
                description=_text(cells, "description") or UNSET,
                status=_STATUSES[status] if status else UNSET,
                attributes=_named(cells, "attributes.") or UNSET,
                images=_images(cells),
            ),
            variant=VariantDraft(
                sku=sku,
                title=_text(cells, "variant") or UNSET,
                options=_named(cells, "options.") or UNSET,
                price=_money(cells, "price", price_in),
                compare_at=_money(cells, "compare_at_price", price_in),
            ),
            paths=_paths(cells),
            on_hand=_on_hand(cells),
        )
    except _FaultyCell as fault:
        return Refused(number, sku, str(fault))


def why(error: Invalid) -> str:
    """The faults of a line that the catalogue's rules forbid, in one line."""
    told = [f"{one.field.split('.')[-1]}: {one.message}" for one in error.errors]
    return "; ".join(dict.fromkeys(told)) or error.detail


def as_cell(text: str) -> str:
    """A text for a cell of ours: none starts a formula in a spreadsheet (OWASP CSV injection)."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _text(cells: Cells, column: str) -> str | None:
    value = cells.get(column)
    if value is None or isinstance(value, str):
        return value.strip() if value else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise _FaultyCell(f"{column}: it is not a text")


def _refuse_nul(cells: Cells) -> None:
    for column, value in cells.items():
        if isinstance(value, str) and "\0" in value:
            raise _FaultyCell(f"{column}: NUL characters are not allowed")


def _key(cells: Cells) -> str | None:
    key = _text(cells, "product")
    if key and len(key) > 200:  # noqa: PLR2004  fits an index entry however it is written
        raise _FaultyCell("product: at most 200 characters")
    return key


def _money(cells: Cells, column: str, currency: str) -> Money | UnsetType:
    minor = _text(cells, f"{column}_minor")
    text = minor or _text(cells, column)
    if not text:
        return UNSET
    if text.startswith("-"):
        raise _FaultyCell(f"{column}: it may not be negative")
    exponent = 0 if minor else EXPONENTS.get(currency, 2)
    matched = _DECIMAL.fullmatch(text)
    if matched is None or (minor and not _INTEGER.fullmatch(text)):
        raise _FaultyCell(f"{column}: {text[:40]!r} is not a price")
    whole, fraction = matched[1], (matched[2] or "").rstrip("0")
    if len(fraction) > exponent:
        raise _FaultyCell(f"{column}: {text!r} has more decimals than {currency} has")
    amount = int(whole + fraction.ljust(exponent, "0"))
    if amount > AMOUNT_MOST:
        raise _FaultyCell(f"{column}: it is too large")
    try:
        return Money(amount, currency)
    except ValueError as error:
        raise _FaultyCell(f"currency: {error}") from error


def _on_hand(cells: Cells) -> int | UnsetType:
    text = _text(cells, "on_hand")
    if not text:
        return UNSET
    if not _INTEGER.fullmatch(text) or int(text) > ON_HAND_MOST:
        raise _FaultyCell(f"on_hand: {text[:40]!r} is not a number from 0 to {ON_HAND_MOST:,}")
    return int(text)


def _several(cells: Cells, column: str, separator: str) -> list[str]:
    value = cells.get(column)
    if isinstance(value, list):
        parts = cast("list[Any]", value)
        if not all(isinstance(one, str) for one in parts):
            raise _FaultyCell(f"{column}: it is not a list of texts")
        return [one.strip() for one in parts if one.strip()]
    text = _text(cells, column) or ""
    return [part.strip() for part in text.split(separator) if part.strip()]


def _paths(cells: Cells) -> tuple[tuple[str, ...], ...] | UnsetType:
    texts = _several(cells, "category", "|")
    if not texts:
        return UNSET
    if len(texts) > 20:  # noqa: PLR2004  as many as a product may have
        raise _FaultyCell("category: at most 20")
    try:
        return tuple(dict.fromkeys(split_path(text) for text in texts))
    except Invalid as error:
        raise _FaultyCell(f"category: {error.errors[0].message}") from error


def _images(cells: Cells) -> tuple[Image, ...] | UnsetType:
    urls = _several(cells, "image", " ")
    if not urls:
        return UNSET
    for url in urls:
        if len(url) > 2000 or not _URL.fullmatch(url):  # noqa: PLR2004  what browsers take
            raise _FaultyCell(f"image: {url[:60]!r} is not an http address")
    if len(urls) > IMAGES_MOST:
        raise _FaultyCell(f"image: at most {IMAGES_MOST}")
    return tuple(Image(url, _text(cells, "title") or "") for url in dict.fromkeys(urls))


def _named(cells: Cells, prefix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for column in cells:
        if column.startswith(prefix):
            value = _text(cells, column)
            if value:
                found[column[len(prefix) :].strip()] = value
    return found

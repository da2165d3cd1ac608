"""Reading import files; one rule: memory is bounded, whatever the file holds.

CSV (`,`, `;` or tab; UTF-8 with or without a mark) or JSON Lines. A file is read twice: first to
see that it can be read to its end and which SKUs come twice (the last line counts), then to import.
"""

import csv
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from tradewind.products.model.imports import (
    Cells,
    Line,
    Refused,
    Unreadable,
    checked_mapping,
    columns_of,
    our_column,
    read_line,
)

LINE_BYTES_MOST = 1024 * 1024
_DELIMITERS = (",", ";", "\t")
_BUCKETS = 64
_MARK = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")

_object = msgspec.json.Decoder(dict[str, Any])


class ImportFile:
    """A file and how to read it. Raises Unreadable where it cannot be imported at all."""

    def __init__(self, path: Path, mapping: Mapping[str, str], currency: str) -> None:
        self.path = path
        self.lines = 0
        """How many there are, once `scan` has run."""
        self._mapping = checked_mapping(mapping)
        self._currency = currency
        self._last: dict[int, int] = {}
        if not path.is_file():
            raise Unreadable(f"{path}: there is no such file")
        try:
            with path.open("rb") as handle:
                start = handle.read(4096)
        except OSError as error:
            raise Unreadable(f"{path}: {error.strerror}") from error
        if start.startswith(_UTF16):
            raise Unreadable(f"{path}: it is UTF-16; save it as UTF-8")
        text = start.removeprefix(_MARK).lstrip()
        if text.startswith(b"["):
            raise Unreadable(f"{path}: it is one JSON list; write one object per line instead")
        self._is_json = text.startswith(b"{")

    def scan(self) -> Iterator[int]:
        """Reads all of it once; yields the number of each line, for progress."""
        seen = _Seen()
        for number, cells in self._cells():
            self.lines += 1
            if not isinstance(cells, Refused):
                seen.note(str(cells.get("sku") or "").strip(), number)
            yield number
        self._last = seen.last_lines()

    def read(self) -> Iterator[Line | Refused | None]:
        """Each line as it was understood; None for one that a later line overrides."""
        for number, cells in self._cells():
            if isinstance(cells, Refused):
                yield cells
                continue
            sku = str(cells.get("sku") or "").strip()
            if self._last.get(hash(sku), number) != number and sku:
                yield None
            else:
                yield read_line(number, cells, self._currency)

    def _cells(self) -> Iterator[tuple[int, Cells | Refused]]:
        try:
            with self.path.open("rb") as handle:
                texts = _texts(self.path, handle)
                yield from self._json_lines(texts) if self._is_json else self._csv_lines(texts)
        except OSError as error:
            raise Unreadable(f"{self.path}: {error.strerror}") from error

    def _json_lines(self, texts: Iterator[str]) -> Iterator[tuple[int, Cells | Refused]]:
        ours = {theirs.lower(): ours for ours, theirs in self._mapping.items()}
        for number, text in enumerate(texts, 1):
            if not text.strip():
                continue
            try:
                given = _object.decode(text)
            except (msgspec.MsgspecError, RecursionError):
                yield number, Refused(number, "", "it is not a JSON object")
                continue
            yield number, _flattened(given, ours)

    def _csv_lines(self, texts: Iterator[str]) -> Iterator[tuple[int, Cells | Refused]]:
        header_text = next((text for text in texts if text.strip()), "")
        if not header_text:
            raise Unreadable(f"{self.path}: it is empty")
        delimiter = _delimiter(header_text)
        header = next(csv.reader([header_text], delimiter=delimiter))
        columns = columns_of(header, self._mapping)
        reader = csv.reader(texts, delimiter=delimiter, strict=True)
        while True:
            number = reader.line_num + 2  # after the header, counted from 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield number, Refused(number, "", f"it is not CSV: {error}")
                continue
            if len(row) > len(columns):
                message = f"it has {len(row)} cells, the header has {len(columns)}"
                yield number, Refused(number, "", message)
            elif any(row):
                yield (
                    number,
                    {ours: cell for ours, cell in zip(columns, row, strict=False) if ours and cell},
                )


def _texts(path: Path, handle: BinaryIO) -> Iterator[str]:
    """Lines of text, none of them larger than a limit."""
    number = 0
    while raw := handle.readline(LINE_BYTES_MOST + 1):
        number += 1
        if len(raw) > LINE_BYTES_MOST:
            message = f"{path}: line {number} is longer than {LINE_BYTES_MOST:,} bytes"
            raise Unreadable(message)
        if number == 1:
            raw = raw.removeprefix(_MARK)
        try:
            yield raw.decode()
        except UnicodeDecodeError as error:
            message = f"{path}: line {number} is not UTF-8; save the file as UTF-8"
            raise Unreadable(message) from error


def _delimiter(header: str) -> str:
    """What separates the cells: what is most often in the header, outside quotes."""
    bare = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=bare.count)


def _flattened(given: dict[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """By our column names; attributes, options and prices may be objects."""
    cells: dict[str, Any] = {}
    for name, value in given.items():
        column = mapping.get(name.strip().lower()) or our_column(name)
        plain = name.strip().lower()
        if plain in ("attributes", "options") and isinstance(value, dict):
            inner = cast("dict[str, Any]", value)
            cells |= {f"{plain}.{key}": one for key, one in inner.items()}
        elif column in ("price", "compare_at_price") and isinstance(value, dict):
            money = cast("dict[str, Any]", value)
            cells[f"{column}_minor"] = money.get("amount")
            cells.setdefault("currency", money.get("currency"))
        elif column is not None:
            cells[column] = value
    return cells


class _Seen:
    """Which SKUs came on which line, in 16 bytes a line; only those that came twice are kept."""

    def __init__(self) -> None:
        self._hashes = [array("q") for _ in range(_BUCKETS)]
        self._numbers = [array("q") for _ in range(_BUCKETS)]

    def note(self, sku: str, number: int) -> None:
        """A SKU came on this line."""
        hashed = hash(sku)
        bucket = hashed % _BUCKETS
        self._hashes[bucket].append(hashed)
        self._numbers[bucket].append(number)

    def last_lines(self) -> dict[int, int]:
        """The last line of each SKU that came more than once, by the SKU's hash."""
        last: dict[int, int] = {}
        for hashes, numbers in zip(self._hashes, self._numbers, strict=True):
            first: set[int] = set()
            twice: set[int] = set()
            for hashed in hashes:
                (twice if hashed in first else first).add(hashed)
            last |= {
                hashed: number
                for hashed, number in zip(hashes, numbers, strict=True)
                if hashed in twice
            }
        return last

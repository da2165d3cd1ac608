"""Importing a catalogue: what is understood, what is refused, and why."""

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from products.importing import CSV, Importer
from shop import Shop
from tradewind.products.actions.imports import (
    ImportOptions,
    Progress,
    import_file,
)
from tradewind.products.model.imports import Unreadable

pytestmark = pytest.mark.asyncio


async def test_all_columns(store: Shop, tmp_path: Path) -> None:
    """Every column arrives where it belongs."""
    importer = Importer(store, tmp_path)
    report = await importer.text(CSV)
    assert (report.lines, report.created, report.products, report.movements) == (2, 2, 2, 1)
    kettle, mug = await importer.product("a"), await importer.product("b")
    assert kettle["title"] == "Kettle, large"
    assert kettle["description"] == "<b>Hot</b>"
    assert kettle["price"] == {"amount": 3999, "currency": "EUR"}
    assert kettle["compareAtPrice"] == {"amount": 4500, "currency": "EUR"}
    assert kettle["attributes"] == {"Material": "Steel"}
    assert (kettle["status"], kettle["available"]) == ("active", 7)
    assert [one["name"] for one in kettle["categories"]] == ["Tea"]
    assert (mug["status"], mug["price"]) == ("draft", {"amount": 5, "currency": "JPY"})
    assert {one["name"] for one in mug["categories"]} == {"Tea", f"Gifts {importer.mark}-"}
    assert await importer.moves("a") == [(7, "received")]


async def test_json_lines(store: Shop, tmp_path: Path) -> None:
    """JSON Lines say the same as CSV, with numbers, lists and objects where they are natural."""
    importer = Importer(store, tmp_path)
    report = await importer.lines(
        [
            {
                "sku": "@a",
                "product": "@p",
                "title": "Shirt",
                "price": {"amount": 1999, "currency": "GBP"},
                "options": {"Size": "S"},
                "category": ["Clothes @", "New @"],
                "image": ["https://example.com/a.jpg", "/v1/pictures/bag-1.svg"],
                "attributes": {"Care": "Cold"},
                "on_hand": 3,
            },
            {
                "sku": "@b",
                "product": "@p",
                "price": 24.5,
                "currency": "GBP",
                "options": {"Size": "L"},
                "image": "https://example.com/b.jpg",
            },
            {
                "sku": "@c",
                "title": "Cap",
                "price_minor": 900,
                "compareAtPrice": {"amount": 1200, "currency": "EUR"},
                "onHand": 4,
                "unknown": [{}],
            },
        ]
    )
    assert (report.refused, report.products, report.created) == (0, 2, 3), report.refusals
    shirt = await importer.product("b")
    assert [one["sku"] for one in shirt["variants"]] == [importer.sku("a"), importer.sku("b")]
    assert [one["price"]["amount"] for one in shirt["variants"]] == [1999, 2450]
    assert shirt["options"] == [{"name": "Size", "values": ["S", "L"]}]
    assert [one["url"].rsplit("/", 1)[1] for one in shirt["images"]] == [
        "a.jpg",
        "bag-1.svg",
        "b.jpg",
    ]
    assert len(shirt["categories"]) == 2
    cap = await importer.product("c")
    assert cap["price"] == {"amount": 900, "currency": "EUR"}
    assert cap["compareAtPrice"] == {"amount": 1200, "currency": "EUR"}
    assert await importer.moves("c") == [(4, "received")], "the API's own names are understood"


@pytest.mark.parametrize(
    "text",
    [
        "sku;title;price\n@a;Zwölf;12,50\n",
        "sku\ttitle\tprice\n@a\tZwölf\t12.5\n",
        "\ufeffSKU , Title,Price\r\n@a,Zwölf,12.50\r\n",
        '"sku","title","price"\n\n"@a","Zwölf","12.500"\n\n',
        "Artikel,Name,Preis\n@a,Zwölf,12.5",
    ],
)
async def test_dialects(store: Shop, tmp_path: Path, text: str) -> None:
    """Delimiters, marks, line ends, decimal commas and foreign names of columns are understood."""
    importer = Importer(store, tmp_path)
    foreign = {"sku": "artikel", "title": "Name", "price": "PREIS"}
    report = await importer.text(text, mapping=foreign if "Artikel" in text else {})
    assert (report.created, report.refused) == (1, 0), report.refusals
    product = await importer.product("a")
    assert (product["title"], product["price"]["amount"]) == ("Zwölf", 1250)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("@x,,1,EUR,,,", "title: This field is required."),
        ("@x,X,,EUR,,,", "price: This field is required."),
        (",X,1,EUR,,,", "sku: it is empty"),
        ("-x,X,1,EUR,,,", "sku: it needs"),
        ("@x,X,-1,EUR,,,", "price: it may not be negative"),
        ("@x,X,1.999,EUR,,,", "price: '1.999' has more decimals than EUR has"),
        ("@x,X,1.5,JPY,,,", "price: '1.5' has more decimals than JPY has"),
        ("@x,X,1e3,EUR,,,", "price: '1e3' is not a price"),
        ('@x,X,"1,234",EUR,,,', "price: '1,234' has more decimals"),
        ("@x,X,NaN,EUR,,,", "price: 'NaN' is not a price"),
        ("@x,X,99999999999.99,EUR,,,", "price: it is too large"),
        ("@x,X,1,XXX,,,", "currency: "),
        ("@x,X,1,EUR,1.5,,", "on_hand: '1.5' is not a number"),
        ("@x,X,1,EUR,-1,,", "on_hand: '-1' is not a number"),
        ("@x,X,1,EUR,9999999999,,", "on_hand: "),
        ("@x,X,1,EUR,,gone,", "status: 'gone' is none of"),
        ("@x,X,1,EUR,,,A > > B", "category: "),
        ("@x,X,1,EUR,,," + " > ".join("abcdefg"), "category: The tree may be 6 levels deep."),
        ("@x,X,1,EUR,,,,more", "it has 8 cells, the header has 7"),
        ('@x,"X"y,1,EUR,,,', "it is not CSV"),
        ("@x,X\0,1,EUR,,,", "title: NUL"),
        ("@x," + "x" * 301 + ",1,EUR,,,", "title: At most 300"),
    ],
)
async def test_refused_lines(store: Shop, tmp_path: Path, line: str, why: str) -> None:
    """A faulty line is refused with its number and the reason; the others are taken."""
    importer = Importer(store, tmp_path)
    header = "sku,title,price,currency,on_hand,status,category\n"
    report = await importer.text(f"{header}@1,One,1,EUR,,,\n{line}\n@2,Two,2,EUR,,,\n")
    assert (report.created, report.refused) == (2, 1), report
    assert report.refusals[0].line == 3
    assert report.refusals[0].why.startswith(why), report.refusals[0].why


async def test_refused_json(store: Shop, tmp_path: Path) -> None:
    """Lines that are no objects, or hold something odd, are refused one by one."""
    importer = Importer(store, tmp_path)
    good = '{"sku": "@1", "title": "One", "price": "1"}'
    bad = [
        "{",
        '{"sku": ["@x"], "title": "X", "price": 1}',
        '{"sku": "@x", "title": "X", "price": true}',
        '{"sku": "@x", "title": "X", "price": 1, "category": [1]}',
        '{"sku": "@x", "title": "X\\u0000", "price": 1}',
        '{"sku": "@x", "title": "\\ud800", "price": 1}',
        '{"sku": "@x", "title": "X", "price": 1, "attributes": {"a": {"b": 1}}}',
        '{"sku": "@y", "title": "X", "price": 1, "image": "javascript:alert(1)"}',
        '["@x"]',
        "null",
        "{" * 10_000,
    ]
    report = await importer.text("\n".join([good, *bad]))
    assert (report.created, report.refused + report.duplicates) == (1, len(bad)), report


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b"title,price\nA,1\n", "there is no column 'sku'"),
        (b"sku,title,title\n", "the column 'title' occurs twice"),
        (b"sku,title,price\n@good,Good,1\n@a,\xff\n", "line 3 is not UTF-8"),
        ("sku,title\n".encode("utf-16"), "UTF-16"),
        (b'[{"sku": "@a"}]', "one JSON list"),
        (b"sku,title,price\n@good,Good,1\n@a," + b"x" * 2_000_000, "line 3 is longer than"),
    ],
)
async def test_unreadable_files(store: Shop, tmp_path: Path, data: bytes, why: str) -> None:
    """A file that cannot be read as a whole is refused in one line, before anything is changed."""
    importer = Importer(store, tmp_path)
    with pytest.raises(Unreadable) as refused:
        await importer.text(data)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)
    async with importer.context.database.reading() as reading:
        made = await reading.fetch_value(
            "SELECT count(*) FROM variants WHERE sku = $1", importer.sku("good")
        )
    assert made == 0


@pytest.mark.parametrize(
    ("mapping", "why"),
    [
        ({"titel": "Name"}, "did you mean title?"),
        ({"title": "Nome"}, "the file has no column 'Nome'"),
    ],
)
async def test_bad_mapping(store: Shop, tmp_path: Path, mapping: dict[str, str], why: str) -> None:
    """A mapping of or to a column that is not there is refused in one line."""
    importer = Importer(store, tmp_path)
    with pytest.raises(Unreadable, match=why):
        await importer.text("sku,Name\n@a,A\n", mapping=mapping)


async def test_missing_file(store: Shop, tmp_path: Path) -> None:
    """A file that is not there is told in one line."""
    importer = Importer(store, tmp_path)
    for path in (tmp_path / "nothing.csv", tmp_path):
        with pytest.raises(Unreadable, match="there is no such file"):
            await import_file(importer.context, path)


async def test_refusals_are_written(store: Shop, tmp_path: Path) -> None:
    """Every refused line is in the file, none of its cells a formula, and told as it goes."""
    importer = Importer(store, tmp_path)
    refused_path = tmp_path / "refused.csv"
    refused_path.write_text("of another import")
    path = tmp_path / "some.csv"
    lines = [f"{importer.sku(str(place))},T,x" for place in range(2500)]
    path.write_text("\n".join(["sku,title,price", "=cmd|' /C calc'!A0,T,1", *lines]))
    told: list[Progress] = []
    options = ImportOptions(refused_path=refused_path)
    report = await import_file(importer.context, path, options, told.append)
    assert (report.refused, len(report.refusals)) == (2501, 1000)
    rows = list(csv.reader(refused_path.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 2502
    assert rows[1][:2] == ["2", "'=cmd|' /C calc'!A0"]
    assert [one.line for progress in told for one in progress.refused] == list(range(2, 2503))
    assert (told[-1].done, told[-1].total) == (2501, 2501)
    await import_file(importer.context, _good(importer, tmp_path), options)
    assert not refused_path.exists()


def _good(importer: Importer, folder: Path) -> Path:
    path = folder / "good.csv"
    path.write_text(f"sku,title,price\n{importer.sku('good')},Good,1\n")
    return path


cells = st.text(max_size=12) | st.sampled_from(
    ["1", "1.00", "EUR", "active", "A > B", '"', "=1", "a" * 400, "\u2028", "\ud7ff", ",", ";"]
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    rows=st.lists(st.lists(cells, min_size=7, max_size=7), max_size=8),
    tail=st.binary(max_size=10),
)
async def test_no_file_breaks_it(
    store: Shop, rows: list[list[str]], tail: bytes, tmp_path: Path
) -> None:
    """Whatever a file holds, each line is taken or refused, and none is lost."""
    importer = Importer(store, tmp_path)
    path = tmp_path / "any.csv"
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("sku", "title", "price", "currency", "category", "product", "on_hand"))
        writer.writerows(rows)
    data = path.read_bytes() + tail
    path.write_bytes(data)
    try:
        report = await import_file(importer.context, path)
    except Unreadable:
        return
    assert report.lines == (
        report.created + report.updated + report.unchanged + report.duplicates + report.refused
    )

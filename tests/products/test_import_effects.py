"""What imports change: only what they say, once, whoever does the same meanwhile."""

import asyncio
import json
from collections.abc import Sequence
from contextvars import Context
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from products.importing import CSV, Importer, broken_invariants, saved
from shop import NewStore, Shop
from tradewind.platform.database import Reading, Transaction
from tradewind.products.actions.imports import ImportReport, import_file
from tradewind.products.store import imports

pytestmark = pytest.mark.asyncio


async def test_again_changes_nothing(
    new_store: NewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same file once more writes nothing at all, tells nobody, and says that it did not."""
    importer = Importer(await new_store(), tmp_path)
    lines = [
        {
            "sku": f"@{place}",
            "product": f"@group{place // 3}",
            "title": f"Thing {place // 3}",
            "description": "<p>a & b <br></p>",
            "price": f"{place}.5",
            "category": f"A > B{place % 2}",
            "on_hand": place,
            "image": f"https://example.com/{place}",
            "options": {"Size": str(place)},
            "attributes": {f"Name {place % 3}": "  some   text "},
        }
        for place in range(20)
    ]
    # A line that comes twice: only the last counts.
    lines.insert(2, {**lines[5], "title": "Earlier", "on_hand": 99})
    first = await importer.lines(lines)
    assert (first.created, first.duplicates, first.refused) == (20, 1, 0)
    before = await saved(importer.context)
    told: list[Any] = []

    async def add(_tx: Transaction, events: Any) -> None:
        told.append(events)

    # Of this store alone: other stores of this process are at work meanwhile.
    monkeypatch.setattr(importer.context.outbox, "add", add)
    for _ in range(2):
        again = await importer.lines(lines)
        assert (again.unchanged, again.created, again.updated) == (20, 0, 0)
    assert await saved(importer.context) == before
    assert told == []
    await importer.lines([{**lines[0], "title": "Another"}])
    assert len(told) == 1


async def test_only_what_is_said_changes(store: Shop, tmp_path: Path) -> None:
    """A later file changes what it says and nothing else; empty cells say nothing."""
    importer = Importer(store, tmp_path)
    await importer.text(CSV)
    before = await importer.product("a")
    report = await importer.text("sku,price,title,on_hand\n@a,41.00,,\n")
    assert (report.updated, report.movements) == (1, 0)
    after = await importer.product("a")
    assert after["price"]["amount"] == 4100
    same = ("id", "slug", "title", "description", "categories", "attributes", "available")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    await importer.text("sku,attributes.Weight\n@a,1 kg\n")
    attributes = (await importer.product("a"))["attributes"]
    assert attributes == {"Material": "Steel", "Weight": "1 kg"}


async def test_counts(store: Shop, tmp_path: Path) -> None:
    """What is on hand is counted: the difference is a movement, whatever was sold meanwhile."""
    importer = Importer(store, tmp_path)
    await importer.text("sku,title,price,on_hand\n@a,A,1,10\n")
    staff = await importer.store.staff()
    await staff.post(
        f"/v1/inventory/{importer.sku('a')}/adjustments", json={"delta": -4, "reason": "damaged"}
    )
    report = await importer.text("sku,on_hand\n@a,8\n")
    assert (report.updated, report.movements) == (1, 1)
    assert await importer.moves("a") == [(10, "received"), (-4, "damaged"), (2, "counted")]
    assert (await importer.text("sku,on_hand\n@a,0\n")).movements == 1
    assert (await importer.product("a"))["available"] == 0


async def test_never_below_reserved(store: Shop, tmp_path: Path) -> None:
    """A count below what is reserved is refused, with the whole line."""
    importer = Importer(store, tmp_path)
    await importer.text("sku,title,price,on_hand\n@a,A,1,10\n@b,B,1,10\n")
    async with importer.context.database.transaction() as tx:
        await tx.execute("UPDATE stock SET reserved = 6 WHERE sku = $1", importer.sku("a"))
    report = await importer.text("sku,title,on_hand\n@a,Changed,5\n@b,Changed,5\n")
    assert (report.updated, report.refused) == (1, 1)
    [refused] = report.refusals
    assert (refused.line, refused.sku) == (2, importer.sku("a"))
    assert refused.why == "on_hand: 6 of it are reserved"
    assert (await importer.product("a"))["title"] == "A"


async def test_groups(store: Shop, tmp_path: Path) -> None:
    """Lines of one product make variants, in one file and over several, and never steal a SKU."""
    importer = Importer(store, tmp_path)
    first = "sku,product,title,price,options.Size\n@a,@p,Shirt,1,S\n@b,@p,Shirt,2,M\n"
    assert (await importer.text(first)).products == 1
    more = "sku,product,price,options.Size\n@c,@p,3,L\n"
    assert (await importer.text(more)).products == 0
    shirt = await importer.product("a")
    assert [one["options"]["Size"] for one in shirt["variants"]] == ["S", "M", "L"]
    theft = "sku,product,title,price\n@a,@other,Coat,1\n@d,@other,Coat,1\n"
    report = await importer.text(theft)
    assert [one.why for one in report.refusals] == ["product: the SKU belongs to another product"]
    assert report.products == 1
    mixed = "sku,product,price,currency\n@e,@p,3,USD\n"
    assert (await importer.text(mixed)).refusals[0].why.startswith("price: All variants")


async def test_adopts_what_staff_made(store: Shop, tmp_path: Path) -> None:
    """An import finds a product that staff made, by its SKU, and can add variants to it."""
    importer = Importer(store, tmp_path)
    product = await importer.store.product(sku=importer.sku("a"), on_hand=2)
    text = "sku,product,price,on_hand\n@a,@p,1,5\n@b,@p,2,1\n"
    report = await importer.text(text)
    assert (report.products, report.created, report.updated) == (0, 1, 1)
    view = await importer.product("b")
    assert view["id"] == product["id"]
    assert await importer.moves("a") == [(2, "received"), (3, "counted")]
    assert (await importer.text(text)).unchanged == 2


async def test_too_many_categories(new_store: NewStore, tmp_path: Path) -> None:
    """Lines of categories for which there is no room are refused, the others taken."""
    store = await new_store({"TRADEWIND_PRODUCTS_CATEGORIES_MOST": "2"})
    importer = Importer(store, tmp_path)
    text = "sku,title,price,category\n@a,A,1,X > Y\n@b,B,1,Z\n@c,C,1,X\n"
    report = await importer.text(text)
    assert (report.created, report.refused) == (2, 1)
    assert report.refusals[0].why == "category: there are too many categories already"


async def test_batches(store: Shop, tmp_path: Path) -> None:
    """However the lines fall into batches, the outcome is the same."""
    lines = [
        {"sku": f"@{place}", "product": f"@{place // 4}", "title": f"T{place // 4}", "price": place}
        for place in range(22)
    ]
    outcomes: list[Any] = []
    for most in (1, 3, 1000):
        importer = Importer(store, tmp_path)
        limits = msgspec.structs.replace(importer.context.settings, import_batch_lines=most)
        importer.context = replace(importer.context, settings=limits)
        report = await importer.lines(lines)
        assert (report.lines, report.created, report.products) == (22, 22, 6)
        async with importer.context.database.reading() as reading:
            rows = await reading.fetch(
                """
                SELECT split_part(sku, '-', 2), products.title, variants.price_minor, position,
                    products.price_minor
                FROM variants JOIN products ON products.id = product_id
                WHERE sku LIKE $1 ORDER BY 1
                """,
                f"{importer.mark}-%",
            )
        assert len(rows) == 22
        outcomes.append(rows)
    assert outcomes[0] == outcomes[1] == outcomes[2]


async def test_imports_at_once(new_store: NewStore, tmp_path: Path) -> None:
    """The same file imported several times at the same moment makes everything once."""
    store = await new_store({"TRADEWIND_PRODUCTS_IMPORT_BATCH_LINES": "40"})
    context = store.context("products")
    path = tmp_path / "some.jsonl"
    path.write_text(
        "\n".join(
            json.dumps(
                {
                    "sku": f"S{place}",
                    "product": f"P{place // 2}",
                    "title": f"Title {place % 5}",
                    "price": 1,
                    "on_hand": place,
                    "category": f"A > B{place % 3}",
                }
            )
            for place in range(200)
        )
    )
    reports = await asyncio.gather(*(import_file(context, path) for _ in range(4)))
    assert sum(one.created for one in reports) == 200
    assert sum(one.products for one in reports) == 100
    assert not any(one.refused for one in reports)
    async with context.database.reading() as reading:
        on_hand = await reading.fetch_value("SELECT sum(on_hand)::int FROM stock")
        assert on_hand == sum(range(200))
    assert await broken_invariants(store) == []


async def test_overtaken_between_two_questions(
    store: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another import makes between two of our questions is not made or counted again."""
    importer, text = Importer(store, tmp_path), "sku,product,title,price,on_hand\n@a,@p,A,1,7\n"
    ask = imports.list_by_key
    reports: list[ImportReport] = []

    async def ask_late(reading: Reading, keys: Sequence[str]) -> dict[str, UUID]:
        monkeypatch.setattr(imports, "list_by_key", ask)
        # In a task of its own: a transaction of its own inside ours is refused.
        task = asyncio.create_task(importer.text(text), context=Context())
        reports.append(await task)
        return await ask(reading, keys)

    monkeypatch.setattr(imports, "list_by_key", ask_late)
    reports.append(await importer.text(text))
    assert [one.created for one in reports] == [1, 0]
    assert await importer.moves("a") == [(7, "received")]


async def test_import_is_seen(store: Shop, tmp_path: Path) -> None:
    """What an import changes is shown to everybody at once."""
    importer = Importer(store, tmp_path)
    await importer.text("sku,title,price\n@a,Before,1\n")
    product = await importer.product("a")
    anyone = importer.store.client()
    path = f"/v1/products/{product['id']}"
    assert (await anyone.get(path)).json()["title"] == "Before"
    await importer.text("sku,title\n@a,After\n")
    assert (await anyone.get(path)).json()["title"] == "After"

"""Importing a catalogue; one rule: the same file once more changes nothing.

Lines are taken in batches, each one transaction, so that an import that is cut off has done a part
of the file whole and is simply started again. What a line counts (`on_hand`) becomes a movement of
the difference.
"""

import asyncio
import csv
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from uuid import UUID

import msgspec
from msgspec import UNSET

from tradewind.platform.database import Contended, Transaction
from tradewind.platform.ids import new_id
from tradewind.products.actions.categories import free_slug
from tradewind.products.actions.context import ProductsContext
from tradewind.products.actions.import_files import ImportFile
from tradewind.products.model import import_plans
from tradewind.products.model.catalogue import CATEGORIES_TAG, Product, Variant
from tradewind.products.model.categories import Category, found_path
from tradewind.products.model.import_plans import CategoryPath, Known, Plan
from tradewind.products.model.imports import Line, Refused, as_cell
from tradewind.products.model.texts import suffix
from tradewind.products.store import catalogue, categories, imports, stock

REFUSALS_KEPT_MOST = 1_000
_AT_ONCE = 2
"""Batches under way: one is planned here while the database saves the other."""
_LINES_A_TAKEN_ONE = 20
"""A batch may be so many times longer where most lines are overridden or refused."""
_TRIES = 5


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`mapping`: our columns to theirs. `only_new`: SKUs that are known stay as they are.

    `currency`: of prices without one (default: the setting). `refused_path`: a CSV of what was
    refused, written only if something was.
    """

    mapping: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    currency: str | None = None
    only_new: bool = False
    refused_path: Path | None = None


class Progress(msgspec.Struct, frozen=True):
    """After each batch; `refused` holds what it added. `done` is 0 while the file is read."""

    done: int
    total: int
    refused: tuple[Refused, ...] = ()


class ImportReport(msgspec.Struct):
    """What came of it, counted in lines; `refusals` are the first of those `refused`."""

    lines: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0
    """Lines whose SKU comes again further down."""
    refused: int = 0
    products: int = 0
    """Products that were made."""
    movements: int = 0
    """Counts that changed what is on hand."""
    refusals: list[Refused] = msgspec.field(default_factory=list[Refused])


def _ignore(_: Progress) -> None:
    return


async def import_file(
    context: ProductsContext,
    path: Path,
    options: ImportOptions | None = None,
    on_progress: Callable[[Progress], None] = _ignore,
) -> ImportReport:
    """Imports a file; raises Unreadable, with nothing changed, where it cannot be read."""
    options = options or ImportOptions()
    file = ImportFile(path, options.mapping, options.currency or context.settings.currency)
    report = ImportReport()
    refusals = _Refusals(options.refused_path)
    await asyncio.to_thread(_scan, file, on_progress)
    batches = _batches(file.read(), context.settings.import_batch_lines)
    running: deque[_Running] = deque()

    async def settle() -> None:
        """Waits for the oldest batch, so that all is told in the order of the file."""
        plan = await running[0].task
        batch = running.popleft().batch
        refused = [one for one in batch if isinstance(one, Refused)] + plan.refused
        refused.sort(key=lambda one: one.line)
        refusals.write(refused)
        _count(report, batch, plan, refused)
        on_progress(Progress(report.lines, file.lines, tuple(refused)))

    try:
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            lines = [one for one in batch if isinstance(one, Line)]
            keys = {line.key for line in lines if line.key}
            # Lines of one product are never under way twice: the later ones shall win.
            while len(running) == _AT_ONCE or any(keys & other.keys for other in running):
                await settle()
            importing = _import_lines(context, lines, only_new=options.only_new)
            running.append(_Running(batch, keys, asyncio.create_task(importing)))
        while running:
            await settle()
    finally:
        await asyncio.gather(*(one.task for one in running), return_exceptions=True)
        refusals.close()
    return report


@dataclass(frozen=True, slots=True)
class _Running:
    """A batch that is being imported."""

    batch: list[Line | Refused | None]
    keys: set[str]
    task: asyncio.Task[Plan]


def _scan(file: ImportFile, on_progress: Callable[[Progress], None]) -> None:
    for number in file.scan():
        if number % 10_000 == 0:
            on_progress(Progress(0, number))


def _count(
    report: ImportReport,
    batch: Sequence[Line | Refused | None],
    plan: Plan,
    refused: Sequence[Refused],
) -> None:
    report.lines += len(batch)
    report.duplicates += batch.count(None)
    created, updated, unchanged = plan.counts()
    report.created += created
    report.updated += updated
    report.unchanged += unchanged
    report.products += len(plan.new())
    report.movements += len(plan.movements)
    report.refused += len(refused)
    report.refusals += refused[: REFUSALS_KEPT_MOST - len(report.refusals)]


def _batches(
    lines: Iterable[Line | Refused | None], most: int
) -> Iterator[list[Line | Refused | None]]:
    """Batches of about so many to take; lines of one product stay together if they follow."""
    batch: list[Line | Refused | None] = []
    taken, key = 0, None
    for line in lines:
        after = line.key if isinstance(line, Line) else None
        full = taken >= most or len(batch) >= most * _LINES_A_TAKEN_ONE
        if full and (key is None or after != key):
            yield batch
            batch, taken = [], 0
        batch.append(line)
        taken += isinstance(line, Line)
        key = after
    if batch:
        yield batch


async def _import_lines(context: ProductsContext, lines: Sequence[Line], *, only_new: bool) -> Plan:
    """One batch; tried again where somebody else made the same things at the same time."""
    for _ in range(_TRIES - 1):
        try:
            return await _import_once(context, lines, only_new=only_new)
        except Contended:
            continue
    return await _import_once(context, lines, only_new=only_new)


async def _import_once(context: ProductsContext, lines: Sequence[Line], *, only_new: bool) -> Plan:
    if not lines:
        return Plan(Known({}, {}, {}, {}, {}), only_new=only_new)
    async with context.database.transaction() as tx:
        paths = {path for line in lines for path in line.paths or ()}
        by_path, grown = await _place_categories(context, tx, paths) if paths else ({}, False)
        by_sku = await imports.list_by_sku(tx, [line.sku for line in lines])
        by_key = await imports.list_by_key(tx, [line.key for line in lines if line.key])
        products = await catalogue.lock_products(tx, list({*by_sku.values(), *by_key.values()}))
        # Variants that somebody else made between the first question and the lock.
        by_sku |= {one.sku: id_ for id_, product in products.items() for one in product.variants}
        counted = {
            line.sku: line.on_hand
            for line in lines
            if line.on_hand is not UNSET and line.sku in by_sku and not only_new
        }
        levels = await stock.lock_levels(tx, await imports.list_miscounted(tx, counted))
        known = Known(products, by_sku, by_key, by_path, levels)
        plan = import_plans.plan(lines, known, only_new=only_new)
        await _save_products(tx, plan.new(), plan.changed())
        await stock.update_levels(tx, movements=plan.movements)
        told = sorted(plan.told())
        if told or grown:
            tags = (CATEGORIES_TAG,) if grown else ()
            await context.tell_products_changed(tx, told, tags=tags)
    return plan


async def _place_categories(
    context: ProductsContext, tx: Transaction, paths: AbstractSet[CategoryPath]
) -> tuple[dict[CategoryPath, UUID], bool]:
    """The category at each path, and whether some had to be made; missing ones are too many."""
    by_path = _found(await categories.list_categories(tx), paths)
    if len(by_path) == len(paths):
        await categories.lock_tree_shared(tx)
    else:
        await categories.lock_tree(tx)
    # Read again: the tree may have changed before it was locked.
    tree = await categories.list_categories(tx)
    made: list[Category] = []
    by_place = {(one.parent_id, one.name): one.id for one in tree.values()}
    slugs = {one.slug for one in tree.values()}
    room = context.settings.categories_most - len(tree)
    for path in sorted(paths - _found(tree, paths).keys()):
        parent_id: UUID | None = None
        for name in path:
            place = parent_id, name
            if place not in by_place:
                if len(made) >= room:
                    break
                id_ = new_id()
                made.append(Category(id_, parent_id, free_slug(name, id_, slugs), name, 0))
                slugs.add(made[-1].slug)
                by_place[place] = id_
            parent_id = by_place[place]
    if made:
        await categories.insert_categories(tx, made)
        tree |= {one.id: one for one in made}
    return _found(tree, paths), bool(made)


def _found(
    tree: Mapping[UUID, Category], paths: AbstractSet[CategoryPath]
) -> dict[CategoryPath, UUID]:
    by_place = {(one.parent_id, one.name): one.id for one in tree.values()}
    found = {path: found_path(by_place, path) for path in paths}
    return {path: id_ for path, id_ in found.items() if id_ is not None}


async def _save_products(
    tx: Transaction, new: Sequence[Product], changed: Sequence[tuple[Product, Product]]
) -> None:
    """Saves what a plan makes and changes of the catalogue."""
    if new:
        new = await _insert(tx, new)
    after = [one for _, one in changed]
    if after:
        await catalogue.update_products(tx, after)
    if new or after:
        await _save_variants(tx, new, changed)
    placed = [one for before, one in changed if one.categories != before.categories]
    if placed:
        await categories.delete_placements(tx, [one.id for one in placed])
    pairs = [(one.id, category_id) for one in [*new, *placed] for category_id in one.categories]
    if pairs:
        await categories.insert_placements(tx, pairs)
    if after:
        await categories.update_copies(tx, [one.id for one in after])
    pictured = [one for before, one in changed if one.images != before.images]
    images = {one.id: one.images for one in [*(one for one in new if one.images), *pictured]}
    if images:
        await catalogue.update_images(tx, images)
    if new or after:
        await catalogue.insert_words(tx, [*new, *after])


async def _insert(tx: Transaction, products: Sequence[Product]) -> list[Product]:
    """Saves new products, under a longer slug where the one made of the title is taken."""
    seen: set[str] = set()
    named: list[Product] = []
    for one in products:
        named.append(_renamed(one) if one.slug in seen else one)
        seen.add(named[-1].slug)
    made = await catalogue.insert_products(tx, named)
    again = [_renamed(one) for one in named if one.id not in made]
    if again:
        made |= await catalogue.insert_products(tx, again)
    if len(made) < len(named):
        raise Contended("another import made the same products just now")
    return named


def _renamed(product: Product) -> Product:
    return msgspec.structs.replace(product, slug=f"{product.slug}-{suffix(product.id)}")


async def _save_variants(
    tx: Transaction, new: Sequence[Product], changed: Sequence[tuple[Product, Product]]
) -> None:
    added = [(one.id, variant) for one in new for variant in one.variants]
    edited: list[Variant] = []
    for before, after in changed:
        known = {one.sku: one for one in before.variants}
        added += [(after.id, one) for one in after.variants if one.sku not in known]
        edited += [one for one in after.variants if one.sku in known and known[one.sku] != one]
    if edited:
        await catalogue.update_variants(tx, edited)
    made = await catalogue.insert_variants(tx, added) if added else set[str]()
    if len(made) < len(added):
        raise Contended("somebody else made the same SKUs just now")
    if made:
        await stock.insert_levels(tx, sorted(made))


class _Refusals:
    """The file of what was refused, made when there is something to write."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._handle: TextIO | None = None
        if path is not None:
            path.unlink(missing_ok=True)  # an older one would tell of another import

    def write(self, refused: Sequence[Refused]) -> None:
        """Adds these lines."""
        if self._path is None or not refused:
            return
        if self._handle is None:
            self._handle = self._path.open("w", encoding="utf-8", newline="")
            csv.writer(self._handle).writerow(("line", "sku", "why"))
        rows = ((one.line, as_cell(one.sku), as_cell(one.why)) for one in refused)
        csv.writer(self._handle).writerows(rows)

    def close(self) -> None:
        """Ends it."""
        if self._handle is not None:
            self._handle.close()

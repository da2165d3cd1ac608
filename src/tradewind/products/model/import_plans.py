"""What a batch of import lines changes; one rule: lines that change nothing cause no write.

Pure. Lines are applied one after the other to the products as they are, so that a faulty line
refuses itself and no other.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec
from msgspec import UNSET

from tradewind.platform.errors import Invalid
from tradewind.platform.ids import new_id
from tradewind.products.model.catalogue import (
    CATEGORIES_MOST,
    Product,
    Variant,
    edited,
    new_product,
)
from tradewind.products.model.imports import IMAGES_MOST, Line, Refused, why
from tradewind.products.model.stock import Level, Movement

CategoryPath = tuple[str, ...]
"""Names from the root."""


class Known(msgspec.Struct, frozen=True):
    """What there is already, of what the lines name. `levels` only where a count may change one."""

    products: Mapping[UUID, Product]
    by_sku: Mapping[str, UUID]
    by_key: Mapping[str, UUID]
    categories: Mapping[CategoryPath, UUID]
    levels: Mapping[str, Level]


class Plan:
    """Takes lines, one by one, and says at the end what is to be saved."""

    def __init__(self, known: Known, *, only_new: bool) -> None:
        self.refused: list[Refused] = []
        self.movements: list[Movement] = []
        self._known = known
        self._only_new = only_new
        self._products = dict(known.products)
        self._by_sku = dict(known.by_sku)
        self._by_key = dict(known.by_key)
        self._listed: set[UUID] = set()
        """Products whose pictures and categories a line of this batch has given already."""
        self._taken: list[tuple[str, UUID]] = []
        """SKU and product of each line that was not refused."""

    def take(self, line: Line) -> None:
        """Applies a line, or refuses it."""
        fault = self._fault(line)
        if fault:
            self.refused.append(Refused(line.number, line.sku, fault))
            return
        product_id = self._target(line)
        if product_id and self._only_new and line.sku in self._known.by_sku:
            self._taken.append((line.sku, product_id))
            return
        before = self._products.get(product_id) if product_id else None
        try:
            after = _edited(before, line) if before else _made(line)
        except Invalid as error:
            self.refused.append(Refused(line.number, line.sku, why(error)))
            return
        after = self._with_lists(before, after, line)
        self._products[after.id] = after
        self._by_sku[line.sku] = after.id
        if line.key:
            self._by_key[line.key] = after.id
        self._taken.append((line.sku, after.id))
        self._move(line)

    def counts(self) -> tuple[int, int, int]:
        """How many lines made a variant, changed something, changed nothing."""
        moved = {movement.sku for movement in self.movements}
        created = updated = 0
        for sku, product_id in self._taken:
            if sku not in self._known.by_sku:
                created += 1
            elif sku in moved or self._differs(sku, product_id):
                updated += 1
        return created, updated, len(self._taken) - created - updated

    def _differs(self, sku: str, product_id: UUID) -> bool:
        before, after = self._known.products[product_id], self._products[product_id]
        if before == after:
            return False
        one = msgspec.structs.replace(after, variants=before.variants)
        return before != one or _variant(before, sku) != _variant(after, sku)

    def new(self) -> list[Product]:
        """Products to be made."""
        return [one for id_, one in self._products.items() if id_ not in self._known.products]

    def changed(self) -> list[tuple[Product, Product]]:
        """Products to be saved, as they were and as they are to be."""
        return [
            (before, after)
            for id_, before in self._known.products.items()
            if (after := self._products[id_]) != before
        ]

    def told(self) -> set[UUID]:
        """Products of which something changes, be it only what is on hand."""
        moved = {self._by_sku[movement.sku] for movement in self.movements}
        return moved | {one.id for one in self.new()} | {one.id for _, one in self.changed()}

    def _target(self, line: Line) -> UUID | None:
        found = self._by_sku.get(line.sku)
        return found or (self._by_key.get(line.key) if line.key else None)

    def _fault(self, line: Line) -> str | None:
        """What forbids the line, beyond the rules of a product."""
        level = self._known.levels.get(line.sku)
        if level and line.on_hand is not UNSET and line.on_hand < level.reserved:
            return f"on_hand: {level.reserved} of it are reserved"
        for path in line.paths or ():
            if path not in self._known.categories:
                return "category: there are too many categories already"
        own = self._by_sku.get(line.sku)
        if own and line.key:
            named = self._by_key.get(line.key)
            if self._products[own].import_key not in (None, line.key) or named not in (None, own):
                return "product: the SKU belongs to another product"
        return None

    def _with_lists(self, before: Product | None, after: Product, line: Line) -> Product:
        """Pictures and categories: the first line of a product replaces them, the next ones add."""
        first = after.id not in self._listed
        self._listed.add(after.id)
        images, categories = after.images, after.categories
        if line.draft.images is not UNSET:
            kept = () if first or before is None else before.images
            images = tuple(dict.fromkeys((*kept, *line.draft.images)))[:IMAGES_MOST]
        if line.paths is not UNSET:
            ids = {self._known.categories[path] for path in line.paths}
            categories = tuple(sorted(ids if first else ids | set(categories)))[:CATEGORIES_MOST]
        return msgspec.structs.replace(
            after, images=images, categories=categories, import_key=after.import_key or line.key
        )

    def _move(self, line: Line) -> None:
        if line.on_hand is UNSET:
            return
        known = line.sku in self._known.by_sku
        level = self._known.levels.get(line.sku)
        if known and level is None:
            return  # it was counted before, with the same outcome
        delta = line.on_hand - (level.on_hand if level else 0)
        if delta:
            self.movements.append(Movement(line.sku, delta, "counted" if known else "received"))


def _variant(product: Product, sku: str) -> Variant | None:
    return next((one for one in product.variants if one.sku == sku), None)


def _made(line: Line) -> Product:
    draft = msgspec.structs.replace(
        line.draft,
        status=line.draft.status or "active",
        variants=(line.variant,),
        import_key=line.key,
    )
    return new_product(draft, new_id())


def _edited(before: Product, line: Line) -> Product:
    attributes = line.draft.attributes
    draft = msgspec.structs.replace(
        line.draft,
        attributes={**before.attributes, **attributes} if attributes else UNSET,
        images=UNSET,
        variants=(line.variant,),
    )
    return edited(before, draft, reorder=False)


def plan(lines: Sequence[Line], known: Known, *, only_new: bool = False) -> Plan:
    """What these lines change."""
    made = Plan(known, only_new=only_new)
    for line in lines:
        made.take(line)
    return made

"""What can happen to products; one rule: a change, its stock and its event are one transaction.

The tree of categories is locked before products, products before stock, and words come last.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from uuid import UUID

import msgspec

from tradewind.platform.database import Reading, Transaction
from tradewind.platform.errors import FieldError
from tradewind.platform.idempotency import Once
from tradewind.platform.ids import new_id
from tradewind.products.actions.context import ProductsContext
from tradewind.products.actions.inventory import add_movements
from tradewind.products.model.catalogue import (
    Product,
    ProductDraft,
    Variant,
    edited,
    new_product,
    refused_categories,
)
from tradewind.products.model.refusals import ProductNotFound, SkuTaken, SlugTaken, all_invalid
from tradewind.products.model.stock import Level, Movement
from tradewind.products.model.texts import as_uuid, is_slug, suffix
from tradewind.products.model.views import ProductView, check_match
from tradewind.products.store import catalogue, categories, stock


async def show_product(
    context: ProductsContext, id_or_slug: str, *, staff: bool
) -> tuple[ProductView, int]:
    """The full view and the version; what is not active only staff see."""
    found = await context.database.read(partial(_find, id_or_slug=id_or_slug), stale_ok=True)
    if found is None or not (staff or found[0].status == "active"):
        raise ProductNotFound("There is no such product.")
    return found


async def _find(reading: Reading, id_or_slug: str) -> tuple[ProductView, int] | None:
    product_id = as_uuid(id_or_slug)
    if product_id is not None:
        return await catalogue.find_view(reading, product_id)
    if not is_slug(id_or_slug):
        return None
    return await catalogue.find_view_by_slug(reading, id_or_slug)


async def create_product(context: ProductsContext, draft: ProductDraft, once: Once) -> ProductView:
    """A new product, with its stock as received."""
    product = new_product(draft, new_id())
    async with context.database.transaction(once) as tx:
        product = await _with_categories(tx, product, draft)
        product = await _insert(tx, product, chosen=bool(draft.slug))
        await insert_variants(tx, product.id, product.variants)
        await categories.insert_placements(tx, [(product.id, one) for one in product.categories])
        await count_stock(tx, _on_hand(product, draft))
        await catalogue.insert_words(tx, [product])
        await context.tell_products_changed(tx, [product.id])
        return once.answer((await _get_view(tx, product.id))[0])


async def _insert(tx: Transaction, product: Product, *, chosen: bool) -> Product:
    """Saves it under its slug; where that is taken and nobody chose it, under a longer one."""
    if await catalogue.insert_products(tx, [product]):
        return product
    if not chosen:
        longer = f"{product.slug}-{suffix(product.id)}"
        product = msgspec.structs.replace(product, slug=longer)
        if await catalogue.insert_products(tx, [product]):
            return product
    raise SlugTaken("Another product has this slug.")


async def insert_variants(tx: Transaction, product_id: UUID, variants: Sequence[Variant]) -> None:
    """New variants with nothing in stock; raises SkuTaken."""
    made = await catalogue.insert_variants(tx, [(product_id, one) for one in variants])
    taken = [one.sku for one in variants if one.sku not in made]
    if taken:
        message = f"Another variant has the SKU {', '.join(taken[:10])}."
        raise SkuTaken(message, extra={"skus": taken})
    await stock.insert_levels(tx, sorted(made))


async def edit_product(
    context: ProductsContext, product_id: UUID, draft: ProductDraft, if_match: str | None
) -> tuple[ProductView, int]:
    """The product after the edit, and its new version."""
    async with context.database.transaction() as tx:
        if draft.categories is not msgspec.UNSET:
            await categories.lock_tree_shared(tx)
        before = await _lock(tx, product_id, if_match)
        after = edited(before, draft)
        if draft.categories is not msgspec.UNSET:
            after = await _with_categories(tx, after, draft)
        await catalogue.update_products(tx, [after])
        known = {one.sku for one in before.variants}
        await catalogue.update_variants(tx, [one for one in after.variants if one.sku in known])
        added = [one for one in after.variants if one.sku not in known]
        await insert_variants(tx, product_id, added)
        if after.categories == before.categories:
            await categories.update_copies(tx, [product_id])
        else:
            await categories.delete_placements(tx, [product_id])
            await categories.insert_placements(tx, [(product_id, one) for one in after.categories])
        await count_stock(tx, _on_hand(after, draft), known)
        await catalogue.insert_words(tx, [after])
        await context.tell_products_changed(tx, [product_id])
        return await _get_view(tx, product_id)


async def archive_product(context: ProductsContext, product_id: UUID, if_match: str | None) -> None:
    """Takes a product off sale; orders and the ledger go on naming it."""
    async with context.database.transaction() as tx:
        before = await _lock(tx, product_id, if_match)
        if before.status == "archived":
            return
        after = edited(before, ProductDraft(status="archived"))
        await catalogue.update_products(tx, [after])
        await categories.update_copies(tx, [product_id])
        await context.tell_products_changed(tx, [product_id])


async def _lock(tx: Transaction, product_id: UUID, if_match: str | None) -> Product:
    locked = await catalogue.lock_products(tx, [product_id])
    if product_id not in locked:
        raise ProductNotFound("There is no such product.")
    check_match(if_match, locked[product_id].version)
    return locked[product_id]


async def _get_view(tx: Transaction, product_id: UUID) -> tuple[ProductView, int]:
    found = await catalogue.find_view(tx, product_id)
    if found is None:
        raise RuntimeError("a product vanished under its lock")
    return found


async def _with_categories(tx: Transaction, product: Product, draft: ProductDraft) -> Product:
    """The product in the categories that the draft names; raises Invalid naming unknown ones."""
    names = draft.categories or ()
    faults = refused_categories(draft)
    if faults:
        raise all_invalid(faults)
    if not names:
        return msgspec.structs.replace(product, categories=())
    await categories.lock_tree_shared(tx)
    found = await categories.list_found(tx, names)
    faults = [
        FieldError(f"categories[{place}]", "No such category.")
        for place, name in enumerate(names)
        if name not in found
    ]
    if faults:
        raise all_invalid(faults)
    return msgspec.structs.replace(product, categories=tuple(sorted(set(found.values()))))


def _on_hand(product: Product, draft: ProductDraft) -> dict[str, int]:
    """What the draft says is on hand, by SKU."""
    if draft.variants:
        return {
            one.sku: one.on_hand
            for one in draft.variants
            if one.sku is not msgspec.UNSET and one.on_hand is not msgspec.UNSET
        }
    if draft.only.on_hand is msgspec.UNSET:
        return {}
    return {product.variants[0].sku: draft.only.on_hand}


async def count_stock(
    tx: Transaction, on_hand: Mapping[str, int], known: Collection[str] = ()
) -> None:
    """Makes what is on hand as it was counted; of SKUs that were not known it is received.

    Raises InsufficientStock where more is reserved.
    """
    if not on_hand:
        return
    levels = await stock.lock_levels(tx, on_hand)
    movements = [
        Movement(sku, delta, "counted" if sku in known else "received")
        for sku, quantity in sorted(on_hand.items())
        if (delta := quantity - levels[sku].on_hand)
    ]
    for outcome in await add_movements(tx, movements):
        if not isinstance(outcome, Level):
            raise outcome

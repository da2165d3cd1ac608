"""What can happen to the tree of categories; one rule: the tree is locked before it is read.

A category is not deleted while it has subcategories, or products that are not archived; archived
ones leave it.
"""

from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from tradewind.platform.database import Transaction
from tradewind.platform.idempotency import Once
from tradewind.platform.ids import new_id
from tradewind.platform.web.answers import etag_of_body, require_match
from tradewind.products.actions.context import ProductsContext
from tradewind.products.model.catalogue import CATEGORIES_TAG, category_tag
from tradewind.products.model.categories import (
    Category,
    CategoryView,
    category_name,
    category_slug,
    category_view,
    check_place,
    in_order,
)
from tradewind.products.model.refusals import (
    CategoryInUse,
    CategoryMisplaced,
    CategoryNotFound,
    invalid,
)
from tradewind.products.model.texts import as_uuid, slugified, suffix
from tradewind.products.store import categories


class CategoryEdit(msgspec.Struct, frozen=True, kw_only=True):
    """A wish for a category, new or known; what is UNSET stays, or takes its default."""

    name: str | UnsetType = UNSET
    slug: str | UnsetType = UNSET
    parent_id: UUID | UnsetType | None = UNSET
    position: int | UnsetType = UNSET


async def list_categories(context: ProductsContext) -> list[CategoryView]:
    """The whole tree, parents before their children."""
    tree = await context.database.read(categories.list_categories, stale_ok=True)
    return [category_view(one) for one in in_order(tree)]


async def show_category(context: ProductsContext, id_or_slug: str) -> CategoryView:
    """One category."""
    tree = await context.database.read(categories.list_categories, stale_ok=True)
    wanted = as_uuid(id_or_slug)
    for one in tree.values():
        if one.id == wanted or one.slug == id_or_slug:
            return category_view(one)
    raise CategoryNotFound("There is no such category.")


async def create_category(context: ProductsContext, edit: CategoryEdit, once: Once) -> CategoryView:
    """A new category, last among equals of its position."""
    if edit.name is UNSET:
        raise invalid("name", "This field is required.")
    name = category_name(edit.name)
    async with context.database.transaction(once) as tx:
        await categories.lock_tree(tx)
        tree = await categories.list_categories(tx)
        if len(tree) >= context.settings.categories_most:
            message = f"There may be {context.settings.categories_most} categories."
            raise CategoryMisplaced(message)
        id_ = new_id()
        parent_id = None if edit.parent_id is UNSET else edit.parent_id
        check_place(tree, id_, parent_id)
        slug = free_slug(name, id_, {one.slug for one in tree.values()})
        if edit.slug is not UNSET:
            slug = category_slug(edit.slug)
        position = 0 if edit.position is UNSET else edit.position
        made = Category(id_, parent_id, slug, name, position)
        await categories.insert_categories(tx, [made])
        await _tell(context, tx, made.id)
        return once.answer(category_view(made))


async def edit_category(
    context: ProductsContext, category_id: UUID, edit: CategoryEdit, if_match: str | None
) -> CategoryView:
    """Renames or moves a category with all that lies in it."""
    async with context.database.transaction() as tx:
        before, tree = await _lock(tx, category_id, if_match)
        parent_id = before.parent_id if edit.parent_id is UNSET else edit.parent_id
        after = msgspec.structs.replace(
            before,
            name=before.name if edit.name is UNSET else category_name(edit.name),
            slug=before.slug if edit.slug is UNSET else category_slug(edit.slug),
            position=before.position if edit.position is UNSET else edit.position,
            parent_id=parent_id,
        )
        if after.parent_id != before.parent_id:
            check_place(tree, category_id, parent_id)
        await categories.update_category(tx, after)
        if after.parent_id != before.parent_id:
            placed = await categories.lock_placed(tx, category_id)
            await categories.update_ancestry(tx, placed)
        await _tell(context, tx, category_id)
        return category_view(after)


async def delete_category(
    context: ProductsContext, category_id: UUID, if_match: str | None
) -> None:
    """Removes a category that is not in use."""
    async with context.database.transaction() as tx:
        _, tree = await _lock(tx, category_id, if_match)
        if any(one.parent_id == category_id for one in tree.values()):
            raise CategoryInUse("It has subcategories; move or delete them first.")
        placed = await categories.lock_placed(tx, category_id)
        if await categories.find_unarchived(tx, category_id) is not None:
            raise CategoryInUse("There are products in it; move or archive them first.")
        await categories.delete_direct(tx, category_id)
        await categories.update_ancestry(tx, placed)
        await categories.delete_category(tx, category_id)
        await _tell(context, tx, category_id)


def etag_of_category(view: CategoryView) -> str:
    """The strong entity tag of a category."""
    return etag_of_body(msgspec.json.encode(view))


async def _lock(
    tx: Transaction, category_id: UUID, if_match: str | None
) -> tuple[Category, dict[UUID, Category]]:
    await categories.lock_tree(tx)
    tree = await categories.list_categories(tx)
    if category_id not in tree:
        raise CategoryNotFound("There is no such category.")
    require_match(if_match, etag_of_category(category_view(tree[category_id])))
    return tree[category_id], tree


async def _tell(context: ProductsContext, tx: Transaction, category_id: UUID) -> None:
    tags = (CATEGORIES_TAG, category_tag(category_id))
    await context.tell_products_changed(tx, (), tags=tags)


def free_slug(name: str, id_: UUID, taken: set[str]) -> str:
    """A slug made from the name that no category has."""
    slug = slugified(name, id_)
    return f"{slug}-{suffix(id_)}" if slug in taken else slug

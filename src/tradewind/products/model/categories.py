"""The tree of categories; one rule: it is a tree, at most DEPTH_MOST deep.

Pure. Siblings are told apart by name, so that an import can name a category by its path.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from tradewind.products.model.refusals import CategoryMisplaced, invalid
from tradewind.products.model.texts import has_control_characters, is_slug, trimmed

DEPTH_MOST = 6
NAME_LENGTH_MOST = 100


class Category(msgspec.Struct, frozen=True):
    """One category. `position` orders siblings, then the name does."""

    id: UUID
    parent_id: UUID | None
    slug: str
    name: str
    position: int


class CategoryView(msgspec.Struct, frozen=True, rename="camel"):
    """A category as the API shows it; the tree is in `parentId`."""

    id: UUID
    slug: str
    name: str
    parent_id: UUID | None
    position: int


def category_view(category: Category) -> CategoryView:
    """As the API shows it."""
    return CategoryView(
        category.id, category.slug, category.name, category.parent_id, category.position
    )


def category_name(given: str) -> str:
    """A name as it is saved; raises Invalid."""
    name = trimmed(given)
    if not 0 < len(name) <= NAME_LENGTH_MOST or has_control_characters(name):
        raise invalid("name", f"1 to {NAME_LENGTH_MOST} characters that can be seen.")
    return name


def category_slug(given: str) -> str:
    """A slug that somebody chose; raises Invalid."""
    if not is_slug(given):
        message = "Lower-case letters, digits and single hyphens between, at most 100; no UUID."
        raise invalid("slug", message)
    return given


def check_place(tree: Mapping[UUID, Category], id_: UUID, parent_id: UUID | None) -> None:
    """Raises where a category, new or moved with all below it, cannot lie in that parent."""
    if parent_id is None:
        return
    if parent_id not in tree:
        raise invalid("parentId", "No such category.")
    above = ancestors(tree, parent_id)
    if id_ in above:
        raise CategoryMisplaced("a category cannot lie in itself or below itself")
    if len(above) + _height(_children(tree), id_) > DEPTH_MOST:
        raise CategoryMisplaced(f"the tree may be {DEPTH_MOST} levels deep")


def ancestors(tree: Mapping[UUID, Category], id_: UUID) -> list[UUID]:
    """The category itself and all that it lies in, upwards."""
    found: list[UUID] = []
    here: UUID | None = id_
    while here is not None:
        found.append(here)
        here = tree[here].parent_id
    return found


def _children(tree: Mapping[UUID, Category]) -> dict[UUID | None, list[Category]]:
    """By parent, siblings by position, then by name."""
    children: dict[UUID | None, list[Category]] = {}
    for one in sorted(tree.values(), key=lambda one: (one.position, one.name, one.id)):
        children.setdefault(one.parent_id, []).append(one)
    return children


def _height(children: Mapping[UUID | None, Sequence[Category]], id_: UUID) -> int:
    """Levels from the category down to its lowest; 1 for a leaf, also for a new one."""
    return 1 + max((_height(children, one.id) for one in children.get(id_, ())), default=0)


def in_order(tree: Mapping[UUID, Category]) -> list[Category]:
    """Parents before their children, siblings by position, then by name."""
    children = _children(tree)
    ordered: list[Category] = []
    waiting = list(reversed(children.get(None, [])))
    while waiting:
        one = waiting.pop()
        ordered.append(one)
        waiting += reversed(children.get(one.id, []))
    return ordered


def split_path(text: str) -> tuple[str, ...]:
    """The names in `Home > Kitchen > Mugs`; raises Invalid."""
    names = tuple(category_name(name) for name in text.split(">"))
    if len(names) > DEPTH_MOST:
        raise invalid("category", f"The tree may be {DEPTH_MOST} levels deep.")
    return names


def found_path(
    by_place: Mapping[tuple[UUID | None, str], UUID], names: Sequence[str]
) -> UUID | None:
    """The category at a path, by (parent, name); None where there is none yet."""
    here: UUID | None = None
    for name in names:
        here = by_place.get((here, name))
        if here is None:
            return None
    return here

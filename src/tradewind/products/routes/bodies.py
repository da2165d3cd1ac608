"""What staff send about the catalogue; one rule: what is left out is UNSET, never a default.

Shapes and bounds are here; what the rules of the catalogue forbid, the model refuses.
"""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tradewind.platform.money import Money
from tradewind.products.actions.categories import CategoryEdit
from tradewind.products.model.catalogue import (
    ATTRIBUTES_MOST,
    CATEGORIES_MOST,
    DESCRIPTION_LENGTH_MOST,
    NAME_LENGTH_MOST,
    ON_HAND_MOST,
    OPTIONS_MOST,
    SKU_PATTERN,
    TITLE_LENGTH_MOST,
    VALUE_LENGTH_MOST,
    VARIANTS_MOST,
    ProductDraft,
    Status,
    VariantDraft,
)
from tradewind.products.model.categories import NAME_LENGTH_MOST as CATEGORY_NAME_LENGTH_MOST

Title = Annotated[str, Meta(min_length=1, max_length=TITLE_LENGTH_MOST)]
Sku = Annotated[str, Meta(pattern=SKU_PATTERN, max_length=64, examples=["KETTLE-15-RED"])]
Slug = Annotated[str, Meta(pattern="^[a-z0-9]+(?:-[a-z0-9]+)*$", max_length=100)]
Description = Annotated[str, Meta(max_length=DESCRIPTION_LENGTH_MOST)]
OnHand = Annotated[int, Meta(ge=0, le=ON_HAND_MOST)]
Name = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH_MOST)]
Value = Annotated[str, Meta(min_length=1, max_length=VALUE_LENGTH_MOST)]
Attributes = Annotated[dict[Name, Value], Meta(max_length=ATTRIBUTES_MOST)]
Options = Annotated[dict[Name, Value], Meta(max_length=OPTIONS_MOST)]
CategoryName = Annotated[str, Meta(min_length=1, max_length=CATEGORY_NAME_LENGTH_MOST)]
Categories = Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=CATEGORIES_MOST)]
Position = Annotated[int, Meta(ge=-(10**6), le=10**6)]


class VariantBody(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A variant, found by its SKU: a known one is edited, any other is added."""

    sku: Sku
    title: Annotated[str, Meta(max_length=TITLE_LENGTH_MOST)] | UnsetType = UNSET
    options: Options | UnsetType = UNSET
    price: Money | UnsetType = UNSET
    compare_at_price: Money | UnsetType | None = UNSET
    on_hand: OnHand | UnsetType = UNSET

    def draft(self) -> VariantDraft:
        """For the model."""
        return VariantDraft(
            sku=self.sku,
            title=self.title,
            options=self.options,
            price=self.price,
            compare_at=self.compare_at_price,
            on_hand=self.on_hand,
        )


Variants = Annotated[list[VariantBody], Meta(max_length=VARIANTS_MOST)]


class _ProductFields(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    description: Description | UnsetType = UNSET
    slug: Slug | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    price: Money | UnsetType = UNSET
    compare_at_price: Money | UnsetType | None = UNSET
    sku: Sku | UnsetType = UNSET
    on_hand: OnHand | UnsetType = UNSET
    variants: Variants | UnsetType = UNSET
    categories: Categories | UnsetType = UNSET
    attributes: Attributes | UnsetType = UNSET

    def _draft(self, title: str | UnsetType) -> ProductDraft:
        return ProductDraft(
            title=title,
            description=self.description,
            slug=self.slug,
            status=self.status,
            attributes=self.attributes,
            categories=_tuple(self.categories),
            variants=_drafts(self.variants),
            only=VariantDraft(
                sku=self.sku,
                price=self.price,
                compare_at=self.compare_at_price,
                on_hand=self.on_hand,
            ),
        )


class NewProductBody(_ProductFields, frozen=True, rename="camel", kw_only=True):
    """A new product, a draft unless `status` says otherwise.

    `price` is that of every variant that gives none; without `variants` there is one, with `sku`
    (made up where left out). `categories` are ids or slugs. `onHand` is booked as received.
    """

    title: Title

    def draft(self) -> ProductDraft:
        """For the model."""
        return self._draft(self.title)


class ProductPatchBody(_ProductFields, frozen=True, rename="camel", kw_only=True):
    """An edit; what is left out stays.

    `variants` are merged by SKU: those named are edited or added and come first, the others stay.
    `price`, `compareAtPrice` and `onHand` are for products with one variant; `onHand` is what was
    counted. `categories` and `attributes` are replaced.
    """

    title: Title | UnsetType = UNSET

    def draft(self) -> ProductDraft:
        """For the model."""
        return self._draft(self.title)


def _tuple(given: Sequence[str] | UnsetType) -> tuple[str, ...] | UnsetType:
    return UNSET if given is UNSET else tuple(given)


def _drafts(given: Sequence[VariantBody] | UnsetType) -> tuple[VariantDraft, ...] | UnsetType:
    return UNSET if given is UNSET else tuple(one.draft() for one in given)


class NewCategoryBody(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A new category; without `parentId` at the root, without `slug` under one made of its name."""

    name: CategoryName
    slug: Slug | UnsetType = UNSET
    parent_id: UUID | None = None
    position: Position = 0

    def edit(self) -> CategoryEdit:
        """For the action."""
        return CategoryEdit(
            name=self.name, slug=self.slug, parent_id=self.parent_id, position=self.position
        )


class CategoryPatchBody(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """An edit; what is left out stays. `parentId` null moves it to the root."""

    name: CategoryName | UnsetType = UNSET
    slug: Slug | UnsetType = UNSET
    parent_id: UUID | UnsetType | None = UNSET
    position: Position | UnsetType = UNSET

    def edit(self) -> CategoryEdit:
        """For the action."""
        return CategoryEdit(
            name=self.name, slug=self.slug, parent_id=self.parent_id, position=self.position
        )

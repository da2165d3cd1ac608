"""Products, variants and categories; one rule: what is faulty is refused whole, every fault named.

Pure. A draft is what somebody wishes for, a `Product` is what is saved, a view is what is shown.
A product has 1 to VARIANTS_MOST variants, all priced in one currency; its price is that of its
cheapest. Variants are merged by SKU and never removed: the ledger of their stock stays.
"""

import re
from collections.abc import Sequence
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from tradewind.platform.errors import FieldError
from tradewind.platform.money import Money
from tradewind.products.model.refusals import all_invalid
from tradewind.products.model.texts import (
    as_uuid,
    has_control_characters,
    is_slug,
    sanitised,
    slugified,
    trimmed,
)

VARIANTS_MOST = 100
CATEGORIES_MOST = 20
ATTRIBUTES_MOST = 50
OPTIONS_MOST = 5
TITLE_LENGTH_MOST = 300
DESCRIPTION_LENGTH_MOST = 20_000
NAME_LENGTH_MOST = 64
VALUE_LENGTH_MOST = 256
ON_HAND_MOST = 10**9

SKU_PATTERN = "^[A-Za-z0-9](?:[A-Za-z0-9 ._:+-]{0,62}[A-Za-z0-9._:+-])?$"
LIST_TAG = "list"
"""On every answer that lists products."""
CATEGORIES_TAG = "categories"

Status = Literal["draft", "active", "archived"]

_SKU = re.compile(SKU_PATTERN)


def product_tag(product_id: UUID) -> str:
    """On every answer that shows the product (`Surrogate-Key`)."""
    return f"product:{product_id}"


def category_tag(category_id: UUID) -> str:
    """On every answer that names the category."""
    return f"category:{category_id}"


class Variant(msgspec.Struct, frozen=True):
    """What is sold. An empty title stands for the product's."""

    sku: str
    title: str
    options: dict[str, str]
    price_minor: int
    currency: str
    compare_at_minor: int | None
    position: int


class Image(msgspec.Struct, frozen=True):
    """A picture; `url` is absolute or a path of ours."""

    url: str
    alt: str


class Product(msgspec.Struct, frozen=True):
    """One product as it is saved, with all that belongs to it but stock."""

    id: UUID
    slug: str
    title: str
    description: str
    status: Status
    attributes: dict[str, str]
    import_key: str | None
    variants: tuple[Variant, ...]
    categories: tuple[UUID, ...] = ()
    images: tuple[Image, ...] = ()
    version: int = 1

    @property
    def cheapest(self) -> Variant:
        """The variant whose price is the product's."""
        return min(self.variants, key=lambda one: (one.price_minor, one.position))


class VariantDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A wish for a variant, new or known; what is UNSET stays, or takes the product's."""

    sku: str | UnsetType = UNSET
    title: str | UnsetType = UNSET
    options: dict[str, str] | UnsetType = UNSET
    price: Money | UnsetType = UNSET
    compare_at: Money | UnsetType | None = UNSET
    on_hand: int | UnsetType = UNSET


class ProductDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A wish for a product, new or known; what is UNSET stays as it is, or takes its default.

    `categories` holds ids or slugs; `images` only imports give.
    """

    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    slug: str | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    attributes: dict[str, str] | UnsetType = UNSET
    categories: tuple[str, ...] | UnsetType = UNSET
    images: tuple[Image, ...] | UnsetType = UNSET
    import_key: str | None = None
    only: VariantDraft = VariantDraft()
    """Of the one variant of a product whose `variants` are not listed."""
    variants: tuple[VariantDraft, ...] | UnsetType = UNSET


def new_product(draft: ProductDraft, id_: UUID) -> Product:
    """The product that a draft wishes for; raises Invalid. `categories` are still to be found."""
    faults: list[FieldError] = []
    if draft.title is UNSET:
        faults.append(FieldError("title", "This field is required."))
    listed = draft.variants is not UNSET and bool(draft.variants)
    if listed:
        _refuse_only(draft.only, "With a list of variants, each has its own.", faults)
    drafts: Sequence[VariantDraft] = (draft.variants or ()) if listed else (draft.only,)
    title = _title(draft, faults) or ""
    variants = tuple(
        _new_variant(one, draft.only, place, id_, f"variants[{place}]." if listed else "", faults)
        for place, one in enumerate(drafts)
    )
    if not faults:
        _check_variants(variants, faults)
    slug = _slug(draft, faults)
    attributes = _texts(draft.attributes, "attributes", ATTRIBUTES_MOST, faults)
    description = _description(draft, faults)
    if faults:
        raise all_invalid(faults)
    return Product(
        id=id_,
        slug=slug or slugified(title, id_),
        title=title,
        description=description or "",
        status=draft.status or "draft",
        attributes=attributes or {},
        import_key=draft.import_key,
        variants=variants,
        images=draft.images or (),
    )


def edited(product: Product, draft: ProductDraft, *, reorder: bool = True) -> Product:
    """The product after an edit; raises Invalid. `categories` are still to be found.

    With `reorder`, the variants that the draft names come first, in its order.
    """
    faults: list[FieldError] = []
    title = _title(draft, faults)
    slug = _slug(draft, faults)
    attributes = _texts(draft.attributes, "attributes", ATTRIBUTES_MOST, faults)
    description = _description(draft, faults)
    variants = _edited_variants(product, draft, faults, reorder=reorder)
    if not faults:
        _check_variants(variants, faults)
    if faults:
        raise all_invalid(faults)
    return msgspec.structs.replace(
        product,
        slug=slug or product.slug,
        title=title or product.title,
        description=product.description if description is None else description,
        status=draft.status or product.status,
        attributes=product.attributes if attributes is None else attributes,
        variants=variants,
        images=product.images if draft.images is UNSET else draft.images,
    )


def _edited_variants(
    product: Product, draft: ProductDraft, faults: list[FieldError], *, reorder: bool
) -> tuple[Variant, ...]:
    known = {one.sku: one for one in product.variants}
    if draft.variants is UNSET:
        return _edited_only(product, draft.only, faults)
    _refuse_only(draft.only, "With a list of variants, each has its own.", faults)
    kept = dict(known)
    for place, one in enumerate(draft.variants):
        path = f"variants[{place}]."
        before = known.get(one.sku or "")
        if before is None:
            made = _new_variant(one, draft.only, len(kept), product.id, path, faults)
            kept[made.sku] = made
        else:
            kept[before.sku] = _edited_variant(before, one, path, faults)
    given = [one.sku for one in draft.variants if one.sku is not UNSET]
    if len(set(given)) < len(given):
        faults.append(FieldError("variants", "Each SKU may occur only once."))
    if not reorder:
        return tuple(kept.values())
    order = {sku: place for place, sku in enumerate(given)}
    ordered = sorted(kept.values(), key=lambda one: order.get(one.sku, len(order) + one.position))
    return tuple(msgspec.structs.replace(one, position=place) for place, one in enumerate(ordered))


def _edited_only(
    product: Product, only: VariantDraft, faults: list[FieldError]
) -> tuple[Variant, ...]:
    """An edit of the one variant by the product's own fields; of several it would be unclear."""
    if only == VariantDraft():
        return product.variants
    if len(product.variants) != 1:
        message = "This product has several variants; say in `variants` which."
        _refuse_only(only, message, faults)
        if only.price is not UNSET:
            faults.append(FieldError("price", message))
        return product.variants
    if only.sku is not UNSET and only.sku != product.variants[0].sku:
        faults.append(FieldError("sku", "A SKU never changes; add a variant instead."))
    return (_edited_variant(product.variants[0], only, "", faults),)


def _refuse_only(only: VariantDraft, message: str, faults: list[FieldError]) -> None:
    """What only a product of one variant can say of itself; its price others inherit."""
    names = {"sku": only.sku, "compareAtPrice": only.compare_at, "onHand": only.on_hand}
    faults += [FieldError(name, message) for name, value in names.items() if value is not UNSET]


def _edited_variant(
    before: Variant, draft: VariantDraft, path: str, faults: list[FieldError]
) -> Variant:
    compare_at = draft.compare_at
    price = draft.price or Money(before.price_minor, before.currency)
    options = _texts(draft.options, f"{path}options", OPTIONS_MOST, faults)
    if compare_at and compare_at.currency != price.currency:
        faults.append(FieldError(f"{path}compareAtPrice", "Its currency is not that of the price."))
    return msgspec.structs.replace(
        before,
        title=before.title if draft.title is UNSET else trimmed(draft.title),
        options=before.options if options is None else options,
        price_minor=price.amount,
        currency=price.currency,
        compare_at_minor=(
            before.compare_at_minor
            if compare_at is UNSET
            else (compare_at.amount if compare_at else None)
        ),
    )


def _new_variant(
    draft: VariantDraft,
    only: VariantDraft,
    position: int,
    product_id: UUID,
    path: str,
    faults: list[FieldError],
) -> Variant:
    price = draft.price or only.price or None
    if price is None:
        faults.append(FieldError(f"{path}price", "This field is required."))
        price = Money(0, "EUR")
    if draft.sku is UNSET and path:
        faults.append(FieldError(f"{path}sku", "This field is required."))
    sku = draft.sku or f"P-{product_id.hex[-10:].upper()}"
    if not is_sku(sku):
        faults.append(FieldError(f"{path}sku", "Letters, digits and ` ._:+-`, 1 to 64 of them."))
    blank = Variant(sku, "", {}, price.amount, price.currency, None, position)
    return _edited_variant(blank, msgspec.structs.replace(draft, price=price), path, faults)


def is_sku(text: str) -> bool:
    """Whether a text can be a SKU."""
    return _SKU.fullmatch(text) is not None


def _check_variants(variants: Sequence[Variant], faults: list[FieldError]) -> None:
    if len(variants) > VARIANTS_MOST:
        faults.append(FieldError("variants", f"At most {VARIANTS_MOST}."))
    if len({one.sku for one in variants}) < len(variants):
        faults.append(FieldError("variants", "Each SKU may occur only once."))
    if len({one.currency for one in variants}) > 1:
        faults.append(FieldError("price", "All variants of a product have one currency."))
    faults += [
        FieldError("variants", f"The title of {one.sku} is not a fitting one.")
        for one in variants
        if len(one.title) > TITLE_LENGTH_MOST or has_control_characters(one.title)
    ]


def _title(draft: ProductDraft, faults: list[FieldError]) -> str | None:
    if draft.title is UNSET:
        return None
    title = trimmed(draft.title)
    if not title:
        faults.append(FieldError("title", "It may not be empty."))
    elif len(title) > TITLE_LENGTH_MOST:
        faults.append(FieldError("title", f"At most {TITLE_LENGTH_MOST} characters."))
    elif has_control_characters(title):
        faults.append(FieldError("title", "Control characters are not allowed."))
    return title


def _description(draft: ProductDraft, faults: list[FieldError]) -> str | None:
    if draft.description is UNSET:
        return None
    if len(draft.description) > DESCRIPTION_LENGTH_MOST:
        faults.append(FieldError("description", f"At most {DESCRIPTION_LENGTH_MOST} characters."))
        return None
    return sanitised(draft.description)


def _slug(draft: ProductDraft, faults: list[FieldError]) -> str | None:
    if draft.slug is UNSET:
        return None
    if not is_slug(draft.slug):
        message = "Lower-case letters, digits and single hyphens between, at most 100; no UUID."
        faults.append(FieldError("slug", message))
    return draft.slug


def _texts(
    given: dict[str, str] | UnsetType, field: str, most: int, faults: list[FieldError]
) -> dict[str, str] | None:
    """A map of short texts; None where none was given."""
    if given is UNSET:
        return None
    texts = {trimmed(name): trimmed(value) for name, value in given.items()}
    if len(texts) > most or len(texts) < len(given):
        faults.append(FieldError(field, f"At most {most} entries, each name once."))
    for name, value in texts.items():
        if not 0 < len(name) <= NAME_LENGTH_MOST or has_control_characters(name):
            faults.append(FieldError(field, f"A name has 1 to {NAME_LENGTH_MOST} characters."))
        if not 0 < len(value) <= VALUE_LENGTH_MOST or has_control_characters(value):
            message = f"1 to {VALUE_LENGTH_MOST} characters."
            faults.append(FieldError(f"{field}.{name[:NAME_LENGTH_MOST]}", message))
    return texts


def refused_categories(draft: ProductDraft) -> list[FieldError]:
    """Faults of the categories that a draft names, before anybody looks for them."""
    names = draft.categories or ()
    if len(names) > CATEGORIES_MOST:
        return [FieldError("categories", f"At most {CATEGORIES_MOST}.")]
    return [
        FieldError(f"categories[{place}]", "No such category.")
        for place, name in enumerate(names)
        if not is_slug(name) and as_uuid(name) is None
    ]

"""What the API shows of the catalogue; one rule: a view says nothing that only staff may know.

The entity tag of a product holds its version and a digest of the view: caches go by all of it, an
edit (`If-Match`) by the version alone, so that a sale meanwhile does not refuse it.
"""

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from tradewind.platform.errors import PreconditionFailed
from tradewind.platform.money import Money
from tradewind.products.model.catalogue import Image, Status

_TAG = re.compile(r'"v(\d{1,10})-[0-9a-f]+"', re.ASCII)


class CategoryRef(msgspec.Struct, frozen=True, rename="camel"):
    """A category as a product names it."""

    id: UUID
    slug: str
    name: str


class OptionView(msgspec.Struct, frozen=True, rename="camel"):
    """One thing to choose, and the values that there are."""

    name: str
    values: list[str]


class VariantView(msgspec.Struct, frozen=True, rename="camel"):
    """One variant as the API shows it; `available` may be less the next moment."""

    sku: str
    title: str
    options: dict[str, str]
    price: Money
    compare_at_price: Money | None
    available: int


class ProductView(msgspec.Struct, frozen=True, rename="camel"):
    """The full view of a product."""

    id: UUID
    slug: str
    title: str
    description: str
    status: Status
    price: Money
    compare_at_price: Money | None
    available: int
    categories: list[CategoryRef]
    images: list[Image]
    attributes: dict[str, str]
    options: list[OptionView]
    variants: list[VariantView]
    created_at: datetime
    updated_at: datetime


def options_of(variants: Sequence[VariantView]) -> list[OptionView]:
    """What there is to choose among variants, in the order in which they come."""
    found: dict[str, dict[str, None]] = {}
    for variant in variants:
        for name, value in variant.options.items():
            found.setdefault(name, {})[value] = None
    return [OptionView(name, list(values)) for name, values in found.items()]


def etag_of_view(view: ProductView, version: int) -> str:
    """The strong entity tag of a full view."""
    digest = hashlib.blake2b(msgspec.json.encode(view), digest_size=10).hexdigest()
    return f'"v{version}-{digest}"'


def check_match(if_match: str | None, version: int) -> None:
    """Raises PreconditionFailed where an edit was meant for another version."""
    if if_match is None or if_match.strip() == "*":
        return
    if str(version) not in _TAG.findall(re.sub(r'W/"[^"]*"', "", if_match)):
        raise PreconditionFailed("It was changed since you read it; read it and edit it again.")

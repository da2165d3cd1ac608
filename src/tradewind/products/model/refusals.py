"""Why the catalogue refuses; one rule: a code never changes its meaning."""

from collections.abc import Sequence

from tradewind.platform.errors import Conflict, FieldError, Invalid, NotFound


class ProductNotFound(NotFound):
    """No such product, or none that the one who asks may see."""

    code = "product_not_found"
    title = "Product not found"


class CategoryNotFound(NotFound):
    """No such category."""

    code = "category_not_found"
    title = "Category not found"


class SkuTaken(Conflict):
    """Another variant has the SKU. `extra["skus"]` names them."""

    code = "sku_taken"
    title = "The SKU is taken"


class SlugTaken(Conflict):
    """Another product or category has the slug."""

    code = "slug_taken"
    title = "The slug is taken"


class CategoryTaken(Conflict):
    """There is a category of this name at this place."""

    code = "category_taken"
    title = "There is such a category"


class CategoryInUse(Conflict):
    """The category has subcategories, or products that are not archived."""

    code = "category_in_use"
    title = "The category is in use"


class CategoryMisplaced(Conflict):
    """The tree would get a cycle, or too deep, or too large."""

    code = "category_misplaced"
    title = "The category cannot be there"


def invalid(field: str, message: str) -> Invalid:
    """One fault of the input."""
    return all_invalid([FieldError(field, message)])


def all_invalid(faults: Sequence[FieldError]) -> Invalid:
    """Several faults of the input."""
    return Invalid("The input is not what this request needs.", errors=faults)

"""Products over HTTP; one rule: what everybody sees is cacheable, what staff see is not."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET, UnsetType

from tradewind.platform.errors import Denied, Unauthenticated
from tradewind.platform.idempotency import Once
from tradewind.platform.money import AMOUNT_MOST
from tradewind.platform.principals import Principal
from tradewind.platform.sessions import staff
from tradewind.platform.web.answers import etag_of_body, public_headers
from tradewind.platform.web.pages import (
    DEFAULT_LIMIT,
    Cursor,
    Limit,
    read_cursor,
    write_cursor,
)
from tradewind.products.actions import catalogue
from tradewind.products.actions.context import ProductsContext
from tradewind.products.actions.search import Wish, search_products
from tradewind.products.model.catalogue import LIST_TAG, Status, category_tag, product_tag
from tradewind.products.model.search import (
    QUERY_LENGTH_MOST,
    Facets,
    Keyset,
    ProductItem,
    Sort,
    Sought,
)
from tradewind.products.model.views import ProductView, etag_of_view
from tradewind.products.routes.bodies import NewProductBody, ProductPatchBody

TAGS = ["Products"]
LIST_PARAMETERS = frozenset(
    (
        "q", "category", "minPrice", "maxPrice", "inStock", "sort", "facets", "status", "limit",
        "cursor",
    )
)  # fmt: skip
"""What tells lists apart."""

_Q = Annotated[
    str | None,
    QueryParameter(
        name="q",
        max_length=QUERY_LENGTH_MOST,
        description='Words, "a phrase", -without, or a SKU; typing errors are forgiven.',
    ),
]
_CategoryName = Annotated[
    str | None, QueryParameter(name="category", max_length=100, description="Id or slug.")
]
_MinPrice = Annotated[
    int | None,
    QueryParameter(name="minPrice", ge=0, le=AMOUNT_MOST, description="In minor units."),
]
_MaxPrice = Annotated[
    int | None,
    QueryParameter(name="maxPrice", ge=0, le=AMOUNT_MOST, description="In minor units."),
]
_InStock = Annotated[bool, QueryParameter(name="inStock", description="Only what is available.")]
_Sort = Annotated[
    Sort | None,
    QueryParameter(name="sort", description="Default: relevance with `q`, else newest."),
]
_Facets = Annotated[
    bool, QueryParameter(name="facets", description="Also count what there is to filter by.")
]
_StatusOf = Annotated[Status | None, QueryParameter(name="status", description="Staff only.")]


class ProductPage(msgspec.Struct, frozen=True):
    """A page of products; `facets` only where asked for."""

    items: list[ProductItem]
    next: str | None = None
    facets: Facets | UnsetType = UNSET


@get("/v1/products", tags=TAGS)
async def list_products(
    products: NamedDependency[ProductsContext],
    viewer: NamedDependency[Principal | None],
    q: _Q = None,
    category: _CategoryName = None,
    min_price: _MinPrice = None,
    max_price: _MaxPrice = None,
    in_stock: _InStock = False,
    sort: _Sort = None,
    facets: _Facets = False,
    status: _StatusOf = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[ProductPage]:
    """Find products.

    `minPrice` and `maxPrice` are compared with the price of a product's cheapest variant.
    """
    if status not in (None, "active") and not (viewer and viewer.is_staff):
        message = "Only staff see what is not active."
        raise Denied(message) if viewer else Unauthenticated(message)
    wish = Wish(
        sought=Sought(
            min_price_minor=min_price,
            max_price_minor=max_price,
            in_stock=in_stock,
            sort=sort or "relevance",
            status=status or "active",
        ),
        text=q,
        category=category,
        after=read_cursor(cursor, Keyset),
        limit=limit,
        facets=facets,
    )
    found = await search_products(products, wish)
    page = ProductPage(
        found.items,
        write_cursor(found.next) if found.next else None,
        UNSET if found.facets is None else found.facets,
    )
    if wish.sought.status != "active":
        return Response(page)
    tags = {LIST_TAG, *(product_tag(item.id) for item in found.items)}
    return Response(page, headers=_public(products, tags, etag_of_body(msgspec.json.encode(page))))


def _public(context: ProductsContext, tags: set[str], etag: str) -> dict[str, str]:
    seconds = context.settings.shared_cache_seconds
    return public_headers(seconds=seconds, stale_seconds=1, surrogate_keys=tags, etag=etag)


@get("/v1/products/{id_or_slug:str}", tags=TAGS)
async def get_product(
    id_or_slug: FromPath[str],
    products: NamedDependency[ProductsContext],
    viewer: NamedDependency[Principal | None],
) -> Response[ProductView]:
    """Show a product, by id or slug; what is not active only to staff."""
    is_staff = viewer is not None and viewer.is_staff
    view, version = await catalogue.show_product(products, id_or_slug, staff=is_staff)
    etag = etag_of_view(view, version)
    if view.status != "active":
        return Response(view, headers={"ETag": etag})
    tags = {product_tag(view.id), *(category_tag(ref.id) for ref in view.categories)}
    return Response(view, headers=_public(products, tags, etag))


@post("/v1/products", guards=[staff], tags=TAGS)
async def create_product(
    data: JSONBody[NewProductBody],
    products: NamedDependency[ProductsContext],
    once: NamedDependency[Once],
) -> Response[ProductView]:
    """Make a product with its variants and what is on hand of them."""
    view = await catalogue.create_product(products, data.draft(), once)
    headers = {"ETag": etag_of_view(view, 1), "Location": f"/v1/products/{view.id}"}
    return Response(view, status_code=201, headers=headers)


@patch("/v1/products/{product_id:uuid}", guards=[staff], tags=TAGS)
async def edit_product(
    request: Request[Any, Any, Any],
    product_id: FromPath[UUID],
    data: JSONBody[ProductPatchBody],
    products: NamedDependency[ProductsContext],
) -> Response[ProductView]:
    """Edit a product; with `If-Match` only if nobody else did meanwhile."""
    view, version = await catalogue.edit_product(
        products, product_id, data.draft(), request.headers.get("if-match")
    )
    return Response(view, headers={"ETag": etag_of_view(view, version)})


@delete("/v1/products/{product_id:uuid}", guards=[staff], tags=TAGS)
async def archive_product(
    request: Request[Any, Any, Any],
    product_id: FromPath[UUID],
    products: NamedDependency[ProductsContext],
) -> None:
    """Archive a product: it is no longer sold or shown, and can be made active again."""
    await catalogue.archive_product(products, product_id, request.headers.get("if-match"))


HANDLERS = (list_products, get_product, create_product, edit_product, archive_product)

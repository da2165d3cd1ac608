"""Categories over HTTP; one rule: the tree is told whole, unless a `limit` is asked for."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from tradewind.platform.errors import FieldError, Invalid
from tradewind.platform.idempotency import Once
from tradewind.platform.sessions import staff
from tradewind.platform.web.answers import etag_of_body, public_headers
from tradewind.platform.web.pages import MAX_LIMIT, Cursor, Page, read_cursor, write_cursor
from tradewind.products.actions import categories
from tradewind.products.actions.context import ProductsContext
from tradewind.products.model.catalogue import CATEGORIES_TAG, category_tag
from tradewind.products.model.categories import CategoryView
from tradewind.products.routes.bodies import CategoryPatchBody, NewCategoryBody

TAGS = ["Products"]
LIST_PARAMETERS = frozenset(("limit", "cursor"))

_SomeLimit = Annotated[
    int | None,
    QueryParameter(name="limit", ge=1, le=MAX_LIMIT, description="Left out: the whole tree."),
]


@get("/v1/categories", tags=TAGS)
async def list_categories(
    products: NamedDependency[ProductsContext], limit: _SomeLimit = None, cursor: Cursor = None
) -> Response[Page[CategoryView]]:
    """The tree: parents before their children, siblings by position and name."""
    tree = await categories.list_categories(products)
    start = _start(tree, read_cursor(cursor, UUID))
    end = len(tree) if limit is None else start + limit
    more = write_cursor(tree[end - 1].id) if end < len(tree) else None
    page = Page(tree[start:end], more)
    return Response(page, headers=_headers(products, page, CATEGORIES_TAG))


def _start(tree: list[CategoryView], after: UUID | None) -> int:
    if after is None:
        return 0
    for place, one in enumerate(tree):
        if one.id == after:
            return place + 1
    fault = FieldError("cursor", "The category that it names is gone; start again.")
    raise Invalid("The cursor cannot be followed.", errors=[fault])


def _headers(context: ProductsContext, shown: msgspec.Struct, *tags: str) -> dict[str, str]:
    seconds = context.settings.shared_cache_seconds
    etag = etag_of_body(msgspec.json.encode(shown))
    return public_headers(seconds=seconds, stale_seconds=1, surrogate_keys=tags, etag=etag)


@get("/v1/categories/{id_or_slug:str}", tags=TAGS)
async def get_category(
    id_or_slug: FromPath[str], products: NamedDependency[ProductsContext]
) -> Response[CategoryView]:
    """Show a category, by id or slug."""
    view = await categories.show_category(products, id_or_slug)
    headers = _headers(products, view, CATEGORIES_TAG, category_tag(view.id))
    return Response(view, headers=headers)


@post("/v1/categories", guards=[staff], tags=TAGS)
async def create_category(
    data: JSONBody[NewCategoryBody],
    products: NamedDependency[ProductsContext],
    once: NamedDependency[Once],
) -> Response[CategoryView]:
    """Make a category."""
    view = await categories.create_category(products, data.edit(), once)
    return Response(view, headers={"ETag": categories.etag_of_category(view)})


@patch("/v1/categories/{category_id:uuid}", guards=[staff], tags=TAGS)
async def edit_category(
    request: Request[Any, Any, Any],
    category_id: FromPath[UUID],
    data: JSONBody[CategoryPatchBody],
    products: NamedDependency[ProductsContext],
) -> Response[CategoryView]:
    """Rename or move a category with all in it; with `If-Match` only if nobody else did."""
    if_match = request.headers.get("if-match")
    view = await categories.edit_category(products, category_id, data.edit(), if_match)
    return Response(view, headers={"ETag": categories.etag_of_category(view)})


@delete("/v1/categories/{category_id:uuid}", guards=[staff], tags=TAGS)
async def delete_category(
    request: Request[Any, Any, Any],
    category_id: FromPath[UUID],
    products: NamedDependency[ProductsContext],
) -> None:
    """Delete a category; refused while it has subcategories or products not archived."""
    await categories.delete_category(products, category_id, request.headers.get("if-match"))


HANDLERS = (list_categories, get_category, create_category, edit_category, delete_category)

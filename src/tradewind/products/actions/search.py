"""Finding products; one rule: whoever mistypes finds all the same, and pages never overlap."""

from uuid import UUID

import msgspec

from tradewind.platform.database import Reading
from tradewind.products.actions.context import ProductsContext
from tradewind.products.model.refusals import invalid
from tradewind.products.model.search import (
    Facets,
    Keyset,
    ProductItem,
    Sought,
    checked,
    corrected,
    first_keyset,
    query_words,
)
from tradewind.products.model.texts import as_uuid, folded, is_slug
from tradewind.products.store import categories, search

_NO_CATEGORY = UUID(int=0)


class Found(msgspec.Struct, frozen=True):
    """One page of what was found; `next` is None on the last."""

    items: list[ProductItem]
    next: Keyset | None
    facets: Facets | None


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asks for: `text` and `category` (id or slug) as they were typed."""

    sought: Sought
    text: str | None = None
    category: str | None = None
    after: Keyset | None = None
    limit: int
    facets: bool = False


async def search_products(context: ProductsContext, wish: Wish) -> Found:
    """One page of products, and what there is among all that match, if that is asked for."""
    sought = _understood(wish)
    most = context.settings.facet_matches_most

    async def find(reading: Reading) -> Found:
        return await _found(reading, sought, wish, most)

    own_plans = search.needs_own_plan(sought) or wish.facets
    return await context.database.read(find, stale_ok=True, own_plans=own_plans)


def _understood(wish: Wish) -> Sought:
    """Without its category, which is still to be looked up; raises Invalid."""
    text = (wish.text or "").strip()
    if "\0" in text or "\ufffd" in text:
        raise invalid("q", "This is not text.")
    sought = wish.sought
    low, high = sought.min_price_minor, sought.max_price_minor
    if low is not None and high is not None and low > high:
        raise invalid("maxPrice", "It is below minPrice.")
    # Without words nothing is more relevant than anything else.
    sort = "newest" if sought.sort == "relevance" and not text else sought.sort
    if wish.after is not None:
        checked(wish.after, sort)
    return msgspec.structs.replace(
        sought,
        text=folded(text),
        sort=sort,
        corrections=wish.after.corrections if wish.after and text else (),
    )


async def _found(reading: Reading, sought: Sought, wish: Wish, facets_most: int) -> Found:
    if wish.category is not None:
        category_id = await _category_id(reading, wish.category)
        sought = msgspec.structs.replace(sought, category_id=category_id)
    if sought.text:
        skus_of = await search.list_products_of_sku(reading, (wish.text or "").strip())
        sought = msgspec.structs.replace(sought, skus_of=tuple(skus_of))
    after = wish.after or await _start(reading, sought)
    rows = await search.list_found(reading, sought, after, wish.limit + 1)
    if not rows and sought.text and wish.after is None:
        sought = await _corrected(reading, sought)
        if sought.corrections:
            rows = await search.list_found(reading, sought, after, wish.limit + 1)
    page = rows[: wish.limit]
    more = None
    if len(rows) > wish.limit:
        id_, value = page[-1]
        more = Keyset(sought.sort, value, id_, after.until, sought.corrections)
    return Found(
        items=await search.list_items(reading, [id_ for id_, _ in page], sought.status),
        next=more,
        facets=await search.count_facets(reading, sought, facets_most) if wish.facets else None,
    )


async def _start(reading: Reading, sought: Sought) -> Keyset:
    first = first_keyset(sought.sort)
    if sought.sort != "relevance":
        return first
    return msgspec.structs.replace(first, until=await search.find_newest(reading))


async def _corrected(reading: Reading, sought: Sought) -> Sought:
    """The same with what its words may have been meant to be."""
    words = query_words(sought.text)
    similar = await search.list_similar_words(reading, words)
    return msgspec.structs.replace(sought, corrections=corrected(words, similar))


async def _category_id(reading: Reading, name: str) -> UUID:
    """The category that is named by id or slug; one that lies nowhere where there is none."""
    known = as_uuid(name)
    if known is not None or not is_slug(name):
        return known or _NO_CATEGORY
    return await categories.find_category_id(reading, name) or _NO_CATEGORY

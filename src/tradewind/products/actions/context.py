"""What every action of products works with; one rule: a change is told only once it is saved.

A change drops the answers that show it: here right after the commit, in other processes by NOTIFY,
further out by the event ProductsChanged, whose readers purge by the same tags (`Surrogate-Key`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

import msgspec

from tradewind.orders.contract import Orders
from tradewind.platform.cache import ResponseCache
from tradewind.platform.config import Positive
from tradewind.platform.database import Database, Transaction
from tradewind.platform.money import Currency
from tradewind.platform.outbox import Outbox
from tradewind.products.contract import ProductsChanged
from tradewind.products.model.catalogue import LIST_TAG, product_tag
from tradewind.products.store import catalogue

CHANNEL = "tradewind_products"
"""NOTIFY with the tags to drop; empty: all of them."""
_PAYLOAD_MOST_BYTES = 7_900


class ProductsSettings(msgspec.Struct, frozen=True):
    """What can be set about products."""

    currency: Currency = "EUR"
    """Of imported prices whose line names none."""
    reservation_seconds: Positive = 600
    """How long stock is held for a purchase that goes no further."""
    shared_cache_seconds: Positive = 1
    """How long caches that nobody tells of changes may show a public answer (`s-maxage`)."""
    facet_matches_most: Positive = 10_000
    """Facets are counted over so many matches at most, so that their cost is bounded."""
    categories_most: Positive = 5_000
    """Categories that there may be."""
    import_batch_lines: Positive = 1_000
    """Lines of an import that are one transaction."""


@dataclass(frozen=True, slots=True)
class ProductsContext:
    """The parts of one running products service. `cache` is None where nobody keeps answers."""

    database: Database
    outbox: Outbox
    settings: ProductsSettings
    orders: Orders
    cache: ResponseCache | None = None

    async def tell_stock_changed(self, tx: Transaction, skus: Iterable[str]) -> None:
        """What these SKUs' products show is out of date once the transaction is saved."""
        await self.tell_products_changed(tx, await catalogue.list_product_ids(tx, list(skus)))

    async def tell_products_changed(
        self, tx: Transaction, product_ids: Iterable[UUID], *, tags: Iterable[str] = ()
    ) -> None:
        """The same for products; `tags` names what else is out of date."""
        ids = tuple(product_ids)
        dropped = {LIST_TAG, *tags, *map(product_tag, ids)}
        if ids:
            await self.outbox.add(tx, [ProductsChanged(product_ids=ids)])
        payload = " ".join(sorted(dropped))
        await tx.notify(CHANNEL, payload if len(payload) <= _PAYLOAD_MOST_BYTES else "")
        self._drop_after(tx, dropped)

    def drop_pages(self, tx: Transaction, product_ids: Iterable[UUID]) -> None:
        """The event came: what shows these products is dropped, also where no NOTIFY is heard."""
        self._drop_after(tx, {LIST_TAG, *map(product_tag, product_ids)})

    def _drop_after(self, tx: Transaction, tags: Iterable[str]) -> None:
        cache = self.cache
        if cache is not None:
            tx.after_commit(lambda: _drop(cache, tags))

    def hear(self, payload: str) -> None:
        """Another process changed something: for `Database.listen(CHANNEL, context.hear)`."""
        if self.cache is None:
            return
        if payload:
            self.cache.drop(payload.split(" "))
        else:
            self.cache.clear()


def _drop(cache: ResponseCache, tags: Iterable[str]) -> None:
    cache.drop(tags)

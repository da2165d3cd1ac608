"""SQL of imports: what there is of a batch already; one rule: nothing here locks."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from tradewind.platform.database import Reading


async def list_by_sku(reading: Reading, skus: Sequence[str]) -> dict[str, UUID]:
    """The product of each SKU that there is."""
    rows = await reading.fetch(
        "SELECT sku, product_id FROM variants WHERE sku = ANY ($1::text[])", list(skus)
    )
    return {row["sku"]: row["product_id"] for row in rows}


async def list_by_key(reading: Reading, keys: Sequence[str]) -> dict[str, UUID]:
    """The product of each import key that there is."""
    rows = await reading.fetch(
        "SELECT import_key, id FROM products WHERE import_key = ANY ($1::text[])", list(keys)
    )
    return {row["import_key"]: row["id"] for row in rows}


async def list_miscounted(reading: Reading, on_hand: Mapping[str, int]) -> list[str]:
    """Those of these SKUs of which something else is on hand."""
    rows = await reading.fetch(
        """
        SELECT stock.sku FROM unnest($1::text[], $2::bigint[]) AS given (sku, on_hand)
        JOIN stock ON stock.sku = given.sku WHERE stock.on_hand <> given.on_hand
        """,
        list(on_hand),
        list(on_hand.values()),
    )
    return [row["sku"] for row in rows]

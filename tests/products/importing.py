"""What tests of imports share: files with SKUs of their own, and all that is saved."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shop import SECRET, Shop
from tradewind.platform.ids import new_id
from tradewind.platform.invariants import Broken, check_service
from tradewind.platform.migrate import address_of
from tradewind.products.actions.context import ProductsContext
from tradewind.products.actions.imports import (
    ImportOptions,
    ImportReport,
    import_file,
)

Cells = dict[str, Any]


class Importer:
    """Writes files with SKUs of its own and imports them."""

    def __init__(self, store: Shop, folder: Path) -> None:
        self.store = store
        self.context: ProductsContext = store.context("products")
        self.mark = f"I{new_id().hex[-8:]}"
        self._path = folder / "catalogue"

    def sku(self, name: str) -> str:
        """A SKU that no other test has."""
        return f"{self.mark}-{name}"

    async def text(self, text: str | bytes, **options: Any) -> ImportReport:
        """Imports this text; `@` stands for the mark of the SKUs."""
        data = text.encode() if isinstance(text, str) else text
        self._path.write_bytes(data.replace(b"@", f"{self.mark}-".encode()))
        return await import_file(self.context, self._path, ImportOptions(**options))

    async def lines(self, lines: Sequence[Cells], **options: Any) -> ImportReport:
        """Imports these as JSON Lines."""
        return await self.text("\n".join(json.dumps(line) for line in lines), **options)

    async def product(self, name: str) -> dict[str, Any]:
        """The full view of the product of a SKU."""
        staff = await self.store.staff()
        for status in ("active", "draft"):
            params = {"q": self.sku(name), "status": status}
            found = (await staff.get("/v1/products", params=params)).json()["items"]
            if found:
                return (await staff.get(f"/v1/products/{found[0]['id']}")).json()
        raise AssertionError(f"{name} is not there")

    async def moves(self, name: str) -> list[tuple[int, str]]:
        """The ledger of a SKU, oldest first."""
        staff = await self.store.staff()
        answer = await staff.get(f"/v1/inventory/{self.sku(name)}/movements")
        return [(one["delta"], one["reason"]) for one in reversed(answer.json()["items"])]


async def saved(context: ProductsContext) -> list[Any]:
    """All that an import could have written."""
    async with context.database.reading() as reading:
        return [
            await reading.fetch("SELECT * FROM products ORDER BY id"),
            await reading.fetch("SELECT * FROM variants ORDER BY sku"),
            await reading.fetch("SELECT * FROM stock ORDER BY sku"),
            await reading.fetch("SELECT * FROM movements ORDER BY id"),
            await reading.fetch("SELECT * FROM placements ORDER BY product_id, category_id"),
            await reading.fetch("SELECT * FROM categories ORDER BY id"),
            await reading.fetch("SELECT * FROM images ORDER BY product_id, position"),
        ]


CSV = """\
sku,title,description,price,currency,category,on_hand,status,attributes.Material,compare_at_price
@a,"Kettle, large",<b>Hot</b><script>,39.99,EUR,Kitchen @ > Tea,7,,Steel,45
@b,Mug,,5,JPY,Kitchen @ > Tea | Gifts @,,draft,,
"""


async def broken_invariants(store: Shop) -> list[Broken]:
    """What does not hold of all that products has saved."""
    address = address_of(store.owner, SECRET, "products")
    return (await check_service(address, "products", "tradewind.products"))[1]

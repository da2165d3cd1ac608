"""Before the shop opens; one rule: what a shop would use: the import, and received deliveries."""

import csv
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from bench.real_year.client import Api
from bench.real_year.deviations import Deviated
from bench.real_year.plan import Day, Plan
from bench.real_year.store_process import StoreProcess
from bench.real_year.working import work_off

CURRENCY = "GBP"


def pounds(minor: int) -> str:
    """As people write it: 12.95."""
    return f"{minor // 100}.{minor % 100:02}"


class Mornings:
    """The staff's side of a day."""

    def __init__(self, store: StoreProcess, api: Api, staff_token: str, at_once: int) -> None:
        self._store = store
        self._api = api
        self._token = staff_token
        self._at_once = at_once

    async def import_catalogue(self, plan: Plan) -> str:
        """All that is ever sold, under the retailer's own column names."""
        path = self._store.home / "catalogue.csv"
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(("StockCode", "Description", "UnitPrice", "Currency", "Status"))
            for sku, title in plan.titles.items():
                price = pounds(plan.first_prices[sku])
                writer.writerow((sku, title, price, CURRENCY, "active"))
        ours = {"sku": "StockCode", "title": "Description", "price": "UnitPrice"}
        maps = [word for name, theirs in ours.items() for word in ("--map", f"{name}={theirs}")]
        return await self._store.command("import", str(path), *maps)

    async def import_prices(self, day: Day) -> None:
        """The day's price list."""
        if day.prices:
            path = self._store.home / "prices.csv"
            _write_prices(path, day.prices)
            await self._store.command("import", str(path))

    async def receive(self, day: Day) -> None:
        """What the day will sell arrives."""

        async def receive_one(delivery: tuple[str, int]) -> None:
            sku, units = delivery
            key = f"real-year-received-{day.date}-{sku}"
            path, body = f"/v1/inventory/{quote(sku)}/adjustments", _received(units)
            try:
                await self._api.send("POST", path, body, token=self._token, key=key, expect=201)
            except Deviated:
                return  # it is noted, and the sales that miss the units will be too

        await work_off(sorted(day.deliveries.items()), receive_one, self._at_once)


def _received(units: int) -> dict[str, int | str]:
    return {"delta": units, "reason": "received"}


def _write_prices(path: Path, prices: Mapping[str, int]) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("sku", "price", "currency"))
        writer.writerows((sku, pounds(price), CURRENCY) for sku, price in sorted(prices.items()))

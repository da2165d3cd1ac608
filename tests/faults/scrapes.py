"""What a store's metrics say, as Prometheus reads them; one rule: read by its own parser."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from shop import eventually

Scraped = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(client: httpx.AsyncClient) -> Scraped:
    """All values by name and labels."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def scrape_known(client: httpx.AsyncClient, *samples: str) -> Scraped:
    """The first scrape for which these were answered in time."""

    async def known() -> Scraped | None:
        scraped = await scrape(client)
        told = [at(scraped, "tradewind_sample_known", sample=sample) for sample in samples]
        return scraped if all(told) else None

    return await eventually(known)


def at(scraped: Scraped, name: str, **labels: str) -> float:
    """One value; 0 where there is none."""
    return scraped.get((name, frozenset(labels.items())), 0.0)

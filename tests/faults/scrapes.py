"""What a store's metrics say, as Prometheus reads them; one rule: read by its own parser."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

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


def at(scraped: Scraped, name: str, **labels: str) -> float:
    """One value; 0 where there is none."""
    return scraped.get((name, frozenset(labels.items())), 0.0)

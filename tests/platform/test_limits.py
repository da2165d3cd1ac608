"""How much one client may ask."""

import pytest

from shop import Shop, served_store
from tradewind.platform.database import Address
from tradewind.platform.limits import RateLimit

pytestmark = pytest.mark.asyncio


async def test_a_bucket_fills_again() -> None:
    """After a burst a client waits, and no longer than the rate says."""
    limit = RateLimit(per_second=2, burst=3)
    assert [limit.take("a", 10.0) for _ in range(3)] == [0, 0, 0]
    assert limit.take("a", 10.0) == pytest.approx(0.5)
    assert limit.take("b", 10.0) == 0
    assert limit.take("a", 10.5) == 0
    assert limit.take("a", 10.5) > 0


async def test_one_client_too_many_requests(postgres: Address) -> None:
    """Beyond its burst a client is told when to come back; health checks are always answered."""
    changes = {
        "TRADEWIND_CLIENT_REQUESTS_PER_SECOND": "0.01",
        "TRADEWIND_CLIENT_BURST": "3",
    }
    async for shop in served_store(postgres, changes):
        await _ask_too_much(shop)


async def _ask_too_much(shop: Shop) -> None:
    client = shop.client()
    answers = [await client.get("/v1/nothing-here") for _ in range(4)]
    assert [one.status_code for one in answers] == [404, 404, 404, 429]
    assert int(answers[3].headers["Retry-After"]) >= 1
    assert answers[3].json()["code"] == "rate_limited"
    assert (await client.get("/readyz")).status_code == 200

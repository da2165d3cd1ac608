"""Every part of a split store killed and stopped under load, 20 s each; then all heals by itself.

Nothing that was acknowledged is lost (P7), nothing has two ends (P3, P4), nobody is told twice
(P6), no order is read in an older state than its buyer has seen (P10), browsing goes on, and what
was left half done ends with nobody's help (P16). How long each fault was visible is written down.
"""

import asyncio
import json
import os
import signal
import time
from collections import Counter as Count
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from faults.ends import assert_one_end_each, new_goods
from faults.onlookers import Onlookers
from faults.running import Crowd
from faults.splitting import PARTS, PRIMARY, RunningSplit

pytestmark = pytest.mark.asyncio

FAULT_SECONDS = float(os.environ.get("FAULT_SECONDS", "20"))
UNCLEAR = frozenset({502, 504})
BREATH_SECONDS = 0.1
"""Every purchase is asked for again afterwards, twice: there need not be thousands."""
RESULTS = Path("results") / "split-faults.json"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningSplit]:
    """A split store that all these tests hurt, one after the other."""
    store = RunningSplit(tmp_path_factory.mktemp("hurt"))
    await store.start()
    yield store
    await store.stop()


@pytest.fixture(scope="module")
def seen() -> Generator[dict[str, Any]]:
    """What customers met, by fault; written down at the end."""
    found: dict[str, Any] = {}
    yield found
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
@pytest.mark.parametrize("part", PARTS)
async def test_a_part_is_hurt(
    running: RunningSplit, seen: dict[str, Any], part: str, number: signal.Signals
) -> None:
    """Under load for 20 s: nothing lost, nothing twice, nothing oversold, and all heals."""
    goods = await new_goods(running, 3)
    crowd = Crowd(running, goods[:2], UNCLEAR)
    onlookers = Onlookers(running.base, goods[2])
    buying = asyncio.create_task(crowd.buy(pause_seconds=BREATH_SECONDS))
    looking = asyncio.create_task(onlookers.look())
    await crowd.until(20)
    restarts = running.restarts(part)
    onlookers.began = time.monotonic()
    hurt = running.send(part, number)
    await asyncio.sleep(FAULT_SECONDS)  # this long it lasts; nothing depends on how long that is
    running.send_all(hurt, signal.SIGCONT)
    if number is signal.SIGKILL:
        await running.is_back(part, restarts)
    healed = time.monotonic()
    await crowd.until(crowd.acknowledged + 20)
    served_seconds = time.monotonic() - healed
    crowd.end()
    onlookers.end()
    await asyncio.gather(buying, looking)
    heard: Count[str] = sum((wish.heard for wish in crowd.wishes), Count[str]())
    longest_seconds = max(wish.longest_seconds for wish in crowd.wishes)
    code, said = await running.command("events", "drained")
    assert code == 0, said
    drained_seconds = time.monotonic() - healed
    await assert_one_end_each(running, crowd)
    seen[f"{part}, {signal.Signals(number).name}"] = {
        "purchases": len(crowd.wishes),
        "refused or unclear at first": dict(heard),
        "longest purchase": round(longest_seconds, 2),
        "browsing": onlookers.browsing.told(),
        "reading own orders": onlookers.reading.told(),
        "twenty purchases after": round(served_seconds, 2),
        "drained after": round(drained_seconds, 2),
        "all asked again after": round(time.monotonic() - healed, 2),
    }
    assert not onlookers.wrong, onlookers.wrong[:5]
    if part != PRIMARY:
        assert not onlookers.browsing.failed, "browsing always works"

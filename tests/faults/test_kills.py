"""A real store under load, and what happens to it: kill -9, a database that dies, stops, is full.

Everything that was acknowledged is there afterwards (P7), everything that was not has one end under
its key (P3), `tradewind check` holds (P18), each buyer is told once (P6), and nothing is left half
done (P16).
"""

import asyncio
import signal
from collections import Counter as Count
from collections.abc import AsyncGenerator

import asyncpg
import pytest
import pytest_asyncio

from faults.ends import assert_one_end_each, new_goods
from faults.running import Crowd, RunningStore
from tradewind.platform.embedded.endpoint import find_endpoint
from tradewind.platform.embedded.home import Home

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningStore]:
    """A store that all these tests use, one after the other."""
    store = RunningStore(tmp_path_factory.mktemp("kills"))
    await store.start()
    yield store
    await store.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def crowd(running: RunningStore) -> Crowd:
    """A crowd that wants two goods, of which there is enough."""
    return Crowd(running, await new_goods(running, 2))


@pytest.mark.parametrize("with_database", [False, True], ids=["the store", "store and database"])
async def test_killed_under_load(running: RunningStore, crowd: Crowd, with_database: bool) -> None:
    """Kill -9 of the whole process, twice, in the middle of many purchases."""
    buying = asyncio.create_task(crowd.buy())
    for _ in range(2):
        await crowd.until(crowd.acknowledged + 40)
        running.kill(with_database=with_database)
        await running.gone()
        await running.start()
    await crowd.until(crowd.acknowledged + 10)
    crowd.end()
    await buying
    assert any(wish.heard for wish in crowd.wishes), "nobody noticed"
    await assert_one_end_each(running, crowd)


async def test_the_database_is_killed(running: RunningStore, crowd: Crowd) -> None:
    """Meanwhile it is 503 with a time to come back; then the store heals by itself."""
    buying = asyncio.create_task(crowd.buy())
    for _ in range(2):
        await crowd.until(crowd.acknowledged + 30)
        running.signal_database(signal.SIGKILL)
        await crowd.until(crowd.acknowledged + 30)
    crowd.end()
    await buying
    heard: Count[str] = Count()
    for wish in crowd.wishes:
        heard += wish.heard
    assert heard["503"], "nobody was told to come back"
    assert set(heard) <= {"503", "409"}, "the store itself always answered"
    await assert_one_end_each(running, crowd)


async def test_the_database_does_not_come_up_for_a_while(
    running: RunningStore, crowd: Crowd
) -> None:
    """Whatever keeps it down, it is tried again, and again, until it comes up; then all goes on."""
    settings = Home.at(running.home).data / "postgresql.auto.conf"
    kept = settings.read_text()
    buying = asyncio.create_task(crowd.buy(4))
    await crowd.until(20)
    settings.write_text(f"{kept}nonsense = 1\n")
    running.signal_database(signal.SIGKILL)
    await running.says("embedded database")  # the third failure in a row is an error
    settings.write_text(kept)
    await crowd.until(crowd.acknowledged + 20)
    crowd.end()
    await buying
    await assert_one_end_each(running, crowd)


async def test_the_database_hangs(running: RunningStore, crowd: Crowd) -> None:
    """SIGSTOP for some seconds: requests wait or are told to come back; then all goes on."""
    buying = asyncio.create_task(crowd.buy(4))
    await crowd.until(20)
    running.signal_database(signal.SIGSTOP)
    await asyncio.sleep(3)  # this long it hangs; nothing here depends on how long that is
    running.signal_database(signal.SIGCONT)
    await crowd.until(crowd.acknowledged + 20)
    crowd.end()
    await buying
    await assert_one_end_each(running, crowd)


async def test_no_connection_is_left(running: RunningStore, crowd: Crowd) -> None:
    """Somebody else has all connections: what is answered is right, the rest comes back later."""
    endpoint = find_endpoint(running.home)
    taken: list[asyncpg.Connection] = []
    buying = asyncio.create_task(crowd.buy(24))
    try:
        while True:
            taken.append(await asyncpg.connect(**endpoint.connect_arguments()))
    except asyncpg.TooManyConnectionsError:
        pass
    await crowd.until(crowd.acknowledged + 30)
    for connection in taken:
        await connection.close()
    await crowd.until(crowd.acknowledged + 30)
    crowd.end()
    await buying
    assert len(taken) > 10
    await assert_one_end_each(running, crowd)


async def test_a_second_look_from_another_terminal(running: RunningStore) -> None:
    """`check` names what is broken and says so by its exit code, while the store runs."""
    [row] = await running.rows(
        """
        INSERT INTO products.movements (id, sku, delta, reason)
        SELECT gen_random_uuid(), sku, 7, 'received' FROM products.stock LIMIT 1 RETURNING id
        """
    )
    code, said = await running.check()
    await running.rows("DELETE FROM products.movements WHERE id = $1", row["id"])
    assert code == 1
    assert "received + returned" in said
    assert (await running.check())[0] == 0

"""The coalescer: many requests, one batch, and each its own end."""

import asyncio
from collections.abc import Sequence

import pytest

from shop import PATIENCE_SECONDS, eventually
from tradewind.platform.coalesce import HANGING_MOST, Coalescer
from tradewind.platform.database import Contended, DatabaseDown
from tradewind.platform.errors import Conflict, StoreError, Unavailable

pytestmark = pytest.mark.asyncio


class Flush:
    """Answers each number with its double, as told; remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.spoils: set[int] = set()
        self.refuses: set[int] = set()
        self.contended = 0
        self.down = False
        self.open = asyncio.Event()
        self.open.set()
        self.under_way = 0
        self.most_under_way = 0

    async def __call__(self, numbers: list[int]) -> Sequence[int | StoreError]:
        """The flush function."""
        self.batches.append(list(numbers))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0)
            await self.open.wait()
            if self.contended:
                self.contended -= 1
                raise Contended("the row is wanted by others")
            if self.down:
                raise DatabaseDown("nobody answers")
            if self.spoils & set(numbers):
                raise ValueError("spoilt")
            return [Conflict("no") if one in self.refuses else 2 * one for one in numbers]
        finally:
            self.under_way -= 1


async def test_one_after_the_other() -> None:
    """A request that comes in the very moment the last batch ends is taken up too."""
    coalescer = Coalescer("test", Flush())
    async with asyncio.timeout(30):
        assert [await coalescer.submit(one) for one in range(50)] == [2 * one for one in range(50)]


async def test_together() -> None:
    """What comes together leaves in one batch, and everybody gets the answer to its own."""
    flush = Flush()
    coalescer = Coalescer("test", flush)
    answers = await asyncio.gather(*(coalescer.submit(one) for one in range(100)))
    assert list(answers) == [2 * one for one in range(100)]
    assert len(flush.batches) == 1 == coalescer.batches
    assert coalescer.members == 100


async def test_whatever_came_meanwhile_is_the_next_batch() -> None:
    """There is no timer: while one batch is on its way the next one gathers."""
    flush = Flush()
    flush.open.clear()
    coalescer = Coalescer("test", flush)
    first = asyncio.create_task(coalescer.submit(0))
    while not flush.batches:
        await asyncio.sleep(0)
    others = [asyncio.create_task(coalescer.submit(one)) for one in range(1, 20)]
    await asyncio.sleep(0)
    flush.open.set()
    await asyncio.gather(first, *others)
    assert flush.batches == [[0], list(range(1, 20))]
    assert flush.most_under_way == 1


async def test_no_batch_is_larger_than_it_may_be() -> None:
    """More than `most` requests leave in several batches, in order."""
    flush = Flush()
    coalescer = Coalescer("test", flush, most=8)
    await asyncio.gather(*(coalescer.submit(one) for one in range(20)))
    assert [len(batch) for batch in flush.batches] == [8, 8, 4]


async def test_a_batch_that_hangs_holds_nobody_up() -> None:
    """With `hangs_seconds`, those who come after it go beside it; there is a bound to that."""
    released, begun = asyncio.Event(), list[list[int]]()

    async def flush(requests: list[int]) -> list[int]:
        begun.append(requests)
        if 0 in requests:
            await released.wait()
        return requests

    coalescer = Coalescer("test", flush, hangs_seconds=0.01)
    hanging = [asyncio.create_task(coalescer.submit(0))]
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await asyncio.gather(*(coalescer.submit(n) for n in (1, 2, 3))) == [1, 2, 3]
    assert begun == [[0], [1, 2, 3]]
    for _ in range(HANGING_MOST):
        hanging.append(asyncio.create_task(coalescer.submit(0)))
        await eventually(lambda: _is(len(begun) == len(hanging) + 1))
    late = asyncio.create_task(coalescer.submit(4))
    await asyncio.wait([late], timeout=0.1)
    assert not late.done(), "all that may hang do"
    released.set()
    assert await late == 4
    assert await asyncio.gather(*hanging) == [0] * len(hanging)


async def test_one_batch_at_a_time_while_none_hangs() -> None:
    """Batches that begin one after the other stay one at a time, however many wait."""
    at_work = most = 0

    async def flush(requests: list[int]) -> list[int]:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0.002)
        at_work -= 1
        return requests

    coalescer = Coalescer("test", flush, most=4, hangs_seconds=2.0)
    assert await asyncio.gather(*(coalescer.submit(n) for n in range(100))) == list(range(100))
    assert most == 1


async def _is(true: bool) -> bool:
    return true


async def test_several_batches_at_once_where_allowed() -> None:
    """With `at_once` above one, a second batch does not wait for the first."""
    flush = Flush()
    flush.open.clear()
    coalescer = Coalescer("test", flush, at_once=2)
    tasks: list[asyncio.Task[StoreError | int]] = []
    for one in range(2):
        tasks.append(asyncio.create_task(coalescer.submit(one)))
        while len(flush.batches) <= one:
            await asyncio.sleep(0)
    flush.open.set()
    await asyncio.gather(*tasks)
    assert flush.most_under_way == 2


async def test_a_refused_member_is_refused_alone() -> None:
    """An outcome that is an error is raised for its own member and for nobody else."""
    flush = Flush()
    flush.refuses = {3}
    coalescer = Coalescer("test", flush)
    answers = await asyncio.gather(
        *(coalescer.submit(one) for one in range(6)), return_exceptions=True
    )
    assert isinstance(answers.pop(3), Conflict)
    assert answers == [0, 2, 4, 8, 10]


@pytest.mark.parametrize("spoils", [{0}, {7}, {15}, {2, 9}])
async def test_a_member_that_spoils_its_batch_fails_alone(spoils: set[int]) -> None:
    """A batch that fails as a whole is halved until the bad member is alone."""
    flush = Flush()
    flush.spoils = spoils
    coalescer = Coalescer("test", flush)
    answers = await asyncio.gather(
        *(coalescer.submit(one) for one in range(16)), return_exceptions=True
    )
    for number, answer in enumerate(answers):
        if number in spoils:
            assert isinstance(answer, ValueError)
        else:
            assert answer == 2 * number


async def test_a_contended_batch_is_tried_again() -> None:
    """A deadlock or a lock time-out changed nothing, so the same batch goes once more."""
    flush = Flush()
    flush.contended = 3
    assert await Coalescer("test", flush).submit(4) == 8
    assert flush.batches == [[4]] * 4


async def test_a_batch_that_stays_contended_is_given_up() -> None:
    """After five tries everybody in it hears that it may be tried again later."""
    flush = Flush()
    flush.contended = 100
    answers = await asyncio.gather(
        *(Coalescer("test", flush).submit(one) for one in range(1)), return_exceptions=True
    )
    assert isinstance(answers[0], Contended)
    assert len(flush.batches) == 5


async def test_a_database_that_is_down_is_not_asked_again() -> None:
    """The outcome may be unknown then, so nothing is repeated, and all members hear it."""
    flush = Flush()
    flush.down = True
    coalescer = Coalescer("test", flush)
    answers = await asyncio.gather(
        *(coalescer.submit(one) for one in range(5)), return_exceptions=True
    )
    assert all(isinstance(one, DatabaseDown) for one in answers)
    assert len(flush.batches) == 1


async def test_too_many_waiting_are_refused_at_once() -> None:
    """Beyond its bound a queue does not grow: the caller hears 503 and when to come back."""
    flush = Flush()
    flush.open.clear()
    coalescer = Coalescer("test", flush, waiting_most=3)
    tasks = [asyncio.create_task(coalescer.submit(0))]
    while not flush.batches:
        await asyncio.sleep(0)
    tasks += [asyncio.create_task(coalescer.submit(one)) for one in range(1, 4)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as refused:
        await coalescer.submit(9)
    assert refused.value.retry_after_seconds
    flush.open.set()
    assert await asyncio.gather(*tasks) == [0, 2, 4, 6]
    assert await coalescer.submit(9) == 18


async def test_nobody_works_for_who_has_left() -> None:
    """A cancelled request is not carried out if its batch has not left; nobody else notices."""
    flush = Flush()
    flush.open.clear()
    coalescer = Coalescer("test", flush)
    first = asyncio.create_task(coalescer.submit(0))
    while not flush.batches:
        await asyncio.sleep(0)
    left, stays = (asyncio.create_task(coalescer.submit(one)) for one in (1, 2))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.sleep(0)
    flush.open.set()
    assert await first == 0
    assert await stays == 4
    assert flush.batches == [[0], [2]]
    with pytest.raises(asyncio.CancelledError):
        await left


async def test_a_cancelled_request_that_is_under_way_disturbs_nobody() -> None:
    """Its effect may stand, its neighbours' answers arrive."""
    flush = Flush()
    flush.open.clear()
    coalescer = Coalescer("test", flush)
    left, stays = (asyncio.create_task(coalescer.submit(one)) for one in (1, 2))
    while not flush.batches:
        await asyncio.sleep(0)
    left.cancel()
    flush.open.set()
    assert await stays == 4
    assert flush.batches == [[1, 2]]
    await asyncio.wait([left])
    assert left.cancelled()


async def test_several_at_once_have_outcomes_not_exceptions() -> None:
    """`submit_all` gives each member's error as a value among the others; of nothing, nothing."""
    flush = Flush()
    flush.refuses = {2}
    coalescer = Coalescer("test", flush)
    first, second, third = await coalescer.submit_all([1, 2, 3])
    assert (first, third) == (2, 6)
    assert isinstance(second, Conflict)
    assert await coalescer.submit_all([]) == []
    assert isinstance((await coalescer.submit_all([2]))[0], Conflict)


async def test_too_few_outcomes_leave_nobody_waiting() -> None:
    """A flush that answers for fewer than it was asked is a fault that all of them hear of."""

    async def forgets_one(numbers: list[int]) -> list[int]:
        await asyncio.sleep(0)
        return numbers[1:]

    coalescer = Coalescer("test", forgets_one)
    async with asyncio.timeout(30):
        answers = await asyncio.gather(
            *(coalescer.submit(one) for one in range(4)), return_exceptions=True
        )
    assert all(isinstance(one, RuntimeError) for one in answers)

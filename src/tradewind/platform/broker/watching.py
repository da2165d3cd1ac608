"""Looking at queues from outside; one rule: looking takes nothing out of them.

The broker tells how many messages wait, but not how many are being handled. So whoever must know
that a queue is through sends a message of no content through it, which the consumer answers after
it has saved and acked all that came before.
"""

import asyncio
from collections.abc import Sequence

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from tradewind.platform.broker.link import as_broker_down, open_link
from tradewind.platform.broker.taking import BARRIER

_ANSWER_SECONDS = 5.0


async def count_queued(url: str, queues: Sequence[str]) -> int:
    """How many messages wait in the queues; those being handled do not count.

    Raises BrokerDown, also where a queue is not there.
    """
    link = await open_link(url, "count", (), confirms=False)
    try:
        total = 0
        async with as_broker_down(), asyncio.timeout(_ANSWER_SECONDS * len(queues)):
            for name in queues:
                queue = await link.channel.declare_queue(name, passive=True)
                total += queue.declaration_result.message_count or 0
        return total
    finally:
        await link.close()


async def wait_passed(url: str, queues: Sequence[str]) -> None:
    """Returns when all that is in the queues now is handled: saved and acked, or parked.

    Without an end while a queue has no consumer; raises BrokerDown where the broker goes away.
    """
    link = await open_link(url, "wait", (), confirms=True)
    answered: asyncio.Queue[str | None] = asyncio.Queue()

    async def answer(message: AbstractIncomingMessage) -> None:
        answered.put_nowait(message.correlation_id)

    def closed(_channel: object, _error: BaseException | None) -> None:
        answered.put_nowait(None)

    try:
        async with as_broker_down():
            link.channel.close_callbacks.add(closed)
            own = await link.channel.declare_queue(exclusive=True, auto_delete=True)
            await own.consume(answer, no_ack=True)
            for queue in queues:
                barrier = aio_pika.Message(
                    b"", type=BARRIER, reply_to=own.name, correlation_id=queue
                )
                await link.channel.default_exchange.publish(barrier, queue, mandatory=True)
            waiting = set(queues)
            while waiting:
                queue = await answered.get()
                if queue is None:
                    raise ConnectionError("the connection was lost")
                waiting.discard(queue)
    finally:
        await link.close()

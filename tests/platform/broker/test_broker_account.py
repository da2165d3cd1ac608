"""Who may enter a private RabbitMQ: its own user, with the password of now."""

import subprocess
from pathlib import Path

import aio_pika
import pytest
from aio_pika import DeliveryMode, Message

from servers import Broker, started_broker

pytestmark = pytest.mark.asyncio


async def test_nobody_else_may_enter(broker: Broker) -> None:
    """There is no account named guest, and every port is loopback's alone."""
    with pytest.raises(Exception, match="ACCESS_REFUSED"):
        await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{broker.place.port}/")
    pid = broker.server.pid
    said = subprocess.run(["ss", "-ltnpH"], check=True, capture_output=True, text=True).stdout
    own = [line.split()[3] for line in said.splitlines() if f"pid={pid}," in line]
    expected = {broker.place.port, broker.place.distribution_port}
    assert set(own) == {f"127.0.0.1:{port}" for port in expected}


async def test_a_password_that_changes(tmp_path: Path) -> None:
    """With another secret of the store the same broker, with what it holds, is entered by another
    password, and no longer by the one before.
    """
    folder = tmp_path / "a folder, #2, of Zoë's"
    async with started_broker(folder, "the one before") as one:
        connection = await aio_pika.connect(one.url)
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True)
        message = Message(b"kept", delivery_mode=DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "kept")
        await connection.close()
    async with started_broker(folder, "the one of now") as one:
        with pytest.raises(Exception, match="ACCESS_REFUSED"):
            await aio_pika.connect(f"amqp://tradewind:the one before@127.0.0.1:{one.place.port}/")
        connection = await aio_pika.connect(one.url)
        queue = await (await connection.channel()).declare_queue("kept", durable=True)
        assert (await queue.get(no_ack=True)).body == b"kept"
        await connection.close()

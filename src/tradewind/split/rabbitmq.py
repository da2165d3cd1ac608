"""A private RabbitMQ; one rule: loopback only, its own user, and no account named guest.

Two programs: epmd, in which Erlang nodes find each other (RabbitMQ cannot do without one and would
start one of its own, which would outlive it), and the broker. Both live in folders of their own
and know nothing of a RabbitMQ or an epmd that the machine may have.
"""

import asyncio
import base64
import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from tradewind.split.installing import find_program
from tradewind.split.programs import Program

_NODE = "tradewind@localhost"
_HELLO_SECONDS = 2.0
_LONGEST_UNACKED_SECONDS = 30 * 60
"""A consumer that keeps a message longer loses it to another; PostgreSQL may be away meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPlace:
    """Where a private broker lives, and with what it is entered. All ports are loopback's."""

    folder: Path
    port: int
    """AMQP."""
    distribution_port: int
    """Erlang's own, which nobody needs but which cannot be switched off."""
    epmd_port: int
    password: str = field(repr=False)
    user: str = "tradewind"
    memory_mib: int = 256
    """Beyond it publishers are blocked until messages have gone."""
    disk_free_mib: int = 50
    """Below it as well."""

    @property
    def url(self) -> str:
        """How clients reach it."""
        return f"amqp://{quote(self.user)}:{quote(self.password, safe='')}@127.0.0.1:{self.port}/"


def rabbitmq(place: BrokerPlace) -> tuple[Program, Program]:
    """The programs, in the order in which they are started; the second one is the broker."""
    node, names = place.folder / "node", place.folder / "names"
    address = {"ERL_EPMD_PORT": str(place.epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1"}
    return (
        Program(
            name="epmd",
            arguments=[
                find_program("epmd"),
                "-port",
                str(place.epmd_port),
                "-address",
                "127.0.0.1",
            ],
            folder=names,
            answers=lambda: _listens(place.epmd_port),
            environment={"HOME": str(names)},
            where=f"127.0.0.1:{place.epmd_port}",
        ),
        Program(
            name="rabbitmq",
            arguments=[find_program("broker")],
            folder=node,
            answers=lambda: _greets(place.port),
            environment={**_environment(place, node), **address},
            prepare=lambda: _write(place, node),
            end_seconds=30.0,
            ready_seconds=120.0,
            where=f"127.0.0.1:{place.port}",
        ),
    )


def _environment(place: BrokerPlace, node: Path) -> Mapping[str, str]:
    return {
        # Erlang keeps its cookie here, with which one node proves itself to another.
        "HOME": str(node),
        # So the script becomes the server instead of waiting for it, and signals reach it.
        "RUNNING_UNDER_SYSTEMD": "true",
        "RABBITMQ_NODENAME": _NODE,
        "RABBITMQ_DIST_PORT": str(place.distribution_port),
        "RABBITMQ_CONFIG_FILE": str(node / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(node / "advanced.config"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(node / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(node / "data"),
        "RABBITMQ_LOG_BASE": str(node / "logs"),
        # In this variable, so that the small nodes that RabbitMQ starts leave epmd to us as well.
        "ERL_FLAGS": "-start_epmd false",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }


def _write(place: BrokerPlace, node: Path) -> None:
    """Configuration, readable by its owner alone."""
    definitions = node / "definitions.json"
    _replace(node / "rabbitmq.conf", _configuration(place))
    _replace(definitions, msgspec.json.encode(_account(place)).decode())
    # As bytes: whatever stands in a path, it is neither a comment nor the end of a string.
    path = ",".join(map(str, os.fsencode(definitions)))
    _replace(node / "advanced.config", f"[{{rabbit, [{{load_definitions, <<{path}>>}}]}}].\n")
    _replace(node / "enabled_plugins", "[].\n")


def _configuration(place: BrokerPlace) -> str:
    return f"""\
listeners.tcp.1 = 127.0.0.1:{place.port}
heartbeat = 10
vm_memory_high_watermark.absolute = {place.memory_mib}MiB
disk_free_limit.absolute = {place.disk_free_mib}MiB
consumer_timeout = {_LONGEST_UNACKED_SECONDS * 1000}
log.file = false
log.console = true
log.console.level = warning
"""


def _account(place: BrokerPlace) -> Mapping[str, Any]:
    """The one user, and by that none named guest; each start gives it the password of now."""
    salt = os.urandom(4)
    hashed = salt + hashlib.sha256(salt + place.password.encode()).digest()
    return {
        "vhosts": [{"name": "/"}],
        "users": [
            {
                "name": place.user,
                "password_hash": base64.b64encode(hashed).decode(),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "",
            }
        ],
        "permissions": [
            {"user": place.user, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
        ],
    }


def _replace(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


async def _listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_HELLO_SECONDS):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return True
    return False


async def _greets(port: int) -> bool:
    """Whether a broker answers the protocol header with its `connection.start`."""
    with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(_HELLO_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"AMQP\x00\x00\x09\x01")
                return await reader.readexactly(1) == b"\x01"
            finally:
                writer.close()
    return False

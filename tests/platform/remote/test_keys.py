"""Keys of services: made, rotated under running processes, and what is said of damaged ones."""

import asyncio
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from structlog.testing import capture_logs

from contracts.internal import House, listening
from contracts.trial import PATIENT
from shop import eventually, free_port
from tradewind.commands import healthy, keys
from tradewind.platform.errors import Invalid
from tradewind.platform.lifecycle import Health
from tradewind.platform.remote.identity import KeysUnusable, Signer, UnknownService, Verifier
from tradewind.platform.remote.keys import add_new, forget_old, make_keys, read_public, use_new
from tradewind.topology.services import SERVICES


class Moved:
    """A monotonic clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Its reading."""
        return self.now


class Saying(Protocol):
    """A contract to call while keys change."""

    async def say(self, number: int) -> int:
        """The number."""
        ...


class Says:
    """Says it, and counts how often."""

    def __init__(self) -> None:
        self.said = 0

    async def say(self, number: int) -> int:
        """As the contract says."""
        self.said += 1
        return number


def both(folder: Path, clock: Callable[[], float]) -> tuple[Signer, Verifier]:
    """Orders that calls, products that is called."""
    signer = Signer("orders", folder, time.time, clock)
    return signer, Verifier("products", folder, time.time, clock)


def silent(_line: str) -> None:
    """Progress that nobody reads."""


def test_made_once(tmp_path: Path) -> None:
    """Each service gets one key; made again, none is lost or changed, and only owners read them."""
    folder = tmp_path / "keys"
    assert make_keys(folder, SERVICES) == list(SERVICES)
    before = {one.name: one.read_bytes() for one in folder.iterdir()}
    assert make_keys(folder, SERVICES) == []
    assert {one.name: one.read_bytes() for one in folder.iterdir()} == before
    assert {one.service for one in read_public(folder)} == set(SERVICES)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()} == {0o600}


def test_public_keys_are_made_anew(tmp_path: Path) -> None:
    """The set of public keys is only what the private ones say: lost, it is written again."""
    make_keys(tmp_path, SERVICES)
    before = read_public(tmp_path)
    (tmp_path / "public.json").unlink()
    assert make_keys(tmp_path, SERVICES) == []
    assert read_public(tmp_path) == before


@pytest.mark.asyncio
async def test_rotated_under_load(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """While every key is replaced between running processes, and forgotten, no call fails and
    none is even sent twice.
    """
    says = Says()
    first, second = (house.application("products", Saying, says) for _ in range(2))
    async with listening(first) as one, listening(second) as two:
        urls = [one, two]
        remotes = [house.remote("products", Saying, urls, settings=PATIENT) for _ in range(2)]
        asked, done = 0, False

        async def ask() -> None:
            nonlocal asked
            while not done:
                for remote in remotes:
                    assert await remote.call("say", asked, twice=False) == asked
                    asked += 1
                await asyncio.sleep(0.001)

        seconds_pass = keys._let_them_see

        async def let_them_see(wait_seconds: float, say: keys.Say) -> None:
            """No pause is long enough for processes that stand still: each has called since."""
            await seconds_pass(wait_seconds, say)
            enough = asked + 2 * len(remotes)
            await eventually(lambda: asyncio.sleep(0, asked >= enough))

        monkeypatch.setattr(keys, "_let_them_see", let_them_see)
        asking = asyncio.create_task(ask())
        before = {one.kid for one in read_public(house.folder)}
        await keys.rotate(house.folder, (), 1.2, silent, forget=True)
        await asyncio.wait([asking], timeout=1.2)
        done = True
        await asking
        assert asked == says.said > 100
        assert not before & {one.kid for one in read_public(house.folder)}
        assert all(remote.gauges.retries == 0 for remote in remotes)


def test_old_tokens_are_good_until_forgotten(tmp_path: Path) -> None:
    """A token of the key before is believed until that is forgotten, and a second later never."""
    make_keys(tmp_path, SERVICES)
    clock = Moved()
    signer, verifier = both(tmp_path, clock)
    old = signer.token("products")
    add_new(tmp_path, ["orders"])
    clock.now += 1
    assert signer.token("products") == old
    use_new(tmp_path, ["orders"])
    clock.now += 1
    new = signer.token("products")
    assert new != old
    assert verifier.caller(new) == verifier.caller(old) == "orders"
    forget_old(tmp_path, ["orders"])
    clock.now += 1
    with pytest.raises(UnknownService):
        verifier.caller(old)
    assert verifier.caller(new) == "orders"


def test_a_new_key_is_looked_for_at_once(tmp_path: Path) -> None:
    """Who meets a key that it does not know looks whether there are new ones, before it refuses."""
    make_keys(tmp_path, SERVICES)
    _, verifier = both(tmp_path, Moved())
    add_new(tmp_path, ["orders"])
    use_new(tmp_path, ["orders"])
    signer, _ = both(tmp_path, Moved())
    assert verifier.caller(signer.token("products")) == "orders"


@pytest.mark.parametrize("cut", ["before", "add", "between", "use"])
def test_a_rotation_that_was_cut_off(tmp_path: Path, cut: str) -> None:
    """Wherever it ended, tokens are good, and it can be done once more from the beginning."""
    make_keys(tmp_path, SERVICES)
    if cut != "before":
        add_new(tmp_path, ["orders"])
    if cut == "between":
        # The private key was put in place, and the set was not yet written.
        (tmp_path / "orders.new.pem").replace(tmp_path / "orders.pem")
    if cut == "use":
        use_new(tmp_path, ["orders"])
    verifier = Verifier("products", tmp_path, time.time, Moved())
    for _ in range(2):
        signer, verifier = both(tmp_path, Moved())
        assert verifier.caller(signer.token("products")) == "orders"
        add_new(tmp_path, SERVICES)
        use_new(tmp_path, SERVICES)
        use_new(tmp_path, SERVICES)
    forget_old(tmp_path, SERVICES)
    assert len(read_public(tmp_path)) == len(SERVICES)
    assert verifier.caller(both(tmp_path, Moved())[0].token("products")) == "orders"


def rsa() -> bytes:
    """A private key of another kind."""
    key = generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\0", None, rsa()])
def test_damaged_private_keys(tmp_path: Path, content: bytes | None) -> None:
    """A process does not start on one, a rotation changes nothing, and both say what to do."""
    make_keys(tmp_path, SERVICES)
    path = tmp_path / "orders.pem"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    before = read_public(tmp_path)
    for act in (lambda: both(tmp_path, Moved()), lambda: add_new(tmp_path, ["users", "orders"])):
        with pytest.raises(KeysUnusable, match="tradewind keys make") as told:
            act()
        assert "orders.pem" in str(told.value)
    assert read_public(tmp_path) == before


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"{}", b'{"keys":[{"kid":"orders.1","x":"AA"}]}', None]
)
def test_damaged_public_keys(tmp_path: Path, content: bytes | None) -> None:
    """A process does not start on them and says what to do."""
    make_keys(tmp_path, SERVICES)
    path = tmp_path / "public.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(KeysUnusable, match=r"public\.json.*keys make"):
        Verifier("products", tmp_path, time.time, Moved())


@pytest.mark.parametrize("name", ["public.json", "orders.pem"])
@pytest.mark.parametrize("content", [b"", b"half of i", None])
def test_damaged_under_a_running_process(tmp_path: Path, name: str, content: bytes | None) -> None:
    """It goes on with what it knew, says so once, and takes what is put right."""
    make_keys(tmp_path, SERVICES)
    clock = Moved()
    signer, verifier = both(tmp_path, clock)
    path = tmp_path / name
    good = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with capture_logs() as logs:
        for _ in range(5):
            clock.now += 1
            assert verifier.caller(signer.token("products")) == "orders"
    [line] = logs
    assert name in line["error"]
    path.write_bytes(good)
    add_new(tmp_path, ["orders"])
    use_new(tmp_path, ["orders"])
    forget_old(tmp_path, ["orders"])
    clock.now += 1
    assert verifier.caller(signer.token("products")) == "orders"


@pytest.mark.asyncio
async def test_the_command(tmp_path: Path) -> None:
    """It shows what it does; a service that there is not is named before anything is changed."""
    said: list[str] = []
    keys.make(tmp_path, said.append)
    assert [line.partition(":")[0] for line in said[:-1]] == list(SERVICES)
    before = read_public(tmp_path)
    with pytest.raises(Invalid, match="nobody"):
        await keys.rotate(tmp_path, ("orders", "nobody"), 0, silent, forget=False)
    assert read_public(tmp_path) == before
    said.clear()
    await keys.rotate(tmp_path, ("orders", "orders"), 0, said.append, forget=False)
    assert [line[:2] for line in said if line[0].isdigit()] == ["1.", "2."]
    assert len(read_public(tmp_path)) == len(before) + 1
    assert not any("PRIVATE" in line for line in said)


@pytest.mark.asyncio
async def test_one_change_at_a_time(tmp_path: Path) -> None:
    """While keys are rotated nobody else changes them, and is told so; afterwards anybody may."""
    make_keys(tmp_path, SERVICES)
    said: list[str] = []
    rotating = asyncio.create_task(keys.rotate(tmp_path, (), 3600, said.append, forget=True))
    await eventually(lambda: asyncio.sleep(0, any(line.startswith("   ") for line in said)))
    before = read_public(tmp_path)
    for change in (
        lambda: keys.rotate(tmp_path, ("orders",), 0, silent, forget=True),
        lambda: asyncio.to_thread(make_keys, tmp_path, SERVICES),
    ):
        with pytest.raises(KeysUnusable, match="another command is changing the keys"):
            await change()
    assert read_public(tmp_path) == before
    rotating.cancel()
    await asyncio.wait([rotating])
    await keys.rotate(tmp_path, (), 0, silent, forget=True)
    assert len(read_public(tmp_path)) == len(SERVICES)
    with pytest.raises(KeysUnusable, match="keys make"):
        await keys.rotate(tmp_path / "nowhere", (), 0, silent, forget=False)


async def healthily(environment: Sequence[tuple[str, str]]) -> bool:
    """What `tradewind healthy` says with these variables."""

    def ask() -> bool:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment:
                patch.setenv(f"TRADEWIND_INTERNAL_{name}", value)
            return healthy.is_healthy()

    return await asyncio.to_thread(ask)


@pytest.mark.asyncio
async def test_healthy(house: House) -> None:
    """A process that is ready is healthy; one that starts, drains, or is not there is not."""
    health = Health()
    app = house.application("products", Saying, Says(), health=health)
    async with listening(app) as url:
        port = ("PORT", url.rpartition(":")[2])
        assert await healthily([port])
        assert await healthily([("HOST", "0.0.0.0"), port])
        health.ready = False
        assert not await healthily([port])
        health.ready = health.draining = True
        assert not await healthily([port])
    assert not await healthily([("PORT", str(free_port()))])
    assert not await healthily([("PORT", "none")])
    assert not await healthily([])

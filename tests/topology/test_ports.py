"""The ports of a split store's parts: none is given away twice."""

from pathlib import Path

import pytest

from shop import SECRET, free_port, settings_of
from tradewind.platform.web.serving import ListenFailed
from tradewind.split import ports
from tradewind.split.plan import Options, make_plan


def test_what_is_promised_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is somebody's is given to nobody else, though nobody listens there yet."""
    few = range(15_000, 15_200)
    monkeypatch.setattr(ports, "_FREE_AMONG", few)
    with pytest.raises(ListenFailed, match="no port is free"):
        ports.Ports(0, promised=few).take()
    with pytest.raises(ListenFailed, match="port 15000 is wanted twice"):
        ports.Ports(15_000, promised=few).take()


def test_each_is_given_once() -> None:
    """However many are asked for, no two are the same."""
    some = ports.Ports(0)
    taken = [some.take() for _ in range(500)]
    assert len(set(taken)) == len(taken)


def test_the_public_port_is_no_parts(tmp_path: Path) -> None:
    """What customers come to is listened on last, and is given to no part before."""
    public = free_port()
    settings = settings_of({"TRADEWIND_PORT": str(public)})
    with pytest.raises(ListenFailed, match=f"port {public} is wanted twice"):
        make_plan(settings, Options(first_port=public), tmp_path, SECRET, None)

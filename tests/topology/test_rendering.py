"""HAProxy's configuration as HAProxy itself reads it, and what it promises by its numbers."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from architecture.tree import ROOT
from tradewind.platform.web.settings import WebSettings
from tradewind.split.haproxy import balancer
from tradewind.split.plan import LINGER_SECONDS
from tradewind.topology.balancing import Balancing, Instance
from tradewind.topology.containers import HAPROXY_FOLDER as FOLDER
from tradewind.topology.haproxy import GIVE_UP, read_script, render_haproxy
from tradewind.topology.services import SERVICES

PLACES = {name: (Instance("127.0.0.1", 1, 2), Instance("127.0.0.1", 3, 4)) for name in SERVICES}
VALUES = Balancing(host="127.0.0.1", port=5, instances=PLACES)


def judged(text: str, folder: Path) -> str:
    """What HAProxy says of a configuration that it accepts, in a folder with its script."""
    (folder / GIVE_UP).write_text(read_script())
    (folder / "haproxy.cfg").write_text(text)
    done = subprocess.run(
        ["haproxy", "-c", "-f", "haproxy.cfg"],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    return done.stderr.replace("Configuration file is valid", "").strip()


def test_accepted_without_a_word(tmp_path: Path) -> None:
    """HAProxy accepts what is rendered, here and among containers, and warns of nothing."""
    assert judged(render_haproxy(VALUES), tmp_path) == ""
    among_containers = (ROOT / "deploy" / "haproxy" / "haproxy.cfg").read_text()
    assert judged(among_containers.replace(f"{FOLDER}/", ""), tmp_path) == ""


def test_a_stopped_instance_is_noticed_in_time() -> None:
    """Three looks in a row that are not answered take little more than two seconds at most."""
    within, often = VALUES.check_within_milliseconds, VALUES.check_milliseconds
    assert often + within + 2 * (often // 4 + within) <= 2_200
    assert "fall 3" in render_haproxy(VALUES)


def test_a_draining_instance_is_noticed_in_time() -> None:
    """One look that is answered with 404 is enough, and comes while the instance goes on."""
    within, often = VALUES.check_within_milliseconds, VALUES.check_milliseconds
    assert often + within < 1_000 * LINGER_SECONDS
    assert "http-check disable-on-404" in render_haproxy(VALUES)


def test_limits_go_around_the_applications() -> None:
    """What the balancer allows is a little more than the application does, which refuses best."""
    web = WebSettings()
    assert VALUES.buffer_bytes - 4_096 > web.header_limit_bytes
    assert VALUES.answer_seconds > web.request_seconds
    assert VALUES.body_seconds == web.body_seconds
    assert VALUES.instance_requests_most > web.max_in_flight


def test_every_instance_is_looked_at() -> None:
    """Each instance is asked at its internal port, and by nobody else's."""
    lines = [line.split() for line in render_haproxy(VALUES).splitlines()]
    servers = {line[1]: line[2:] for line in lines if line[:1] == ["server"]}
    assert len(servers) == 2 * len(SERVICES)
    for name in SERVICES:
        assert servers[f"{name}-1"] == ["127.0.0.1:1", "port", "2"]
        assert servers[f"{name}-2"] == ["127.0.0.1:3", "port", "4"]


@pytest.mark.asyncio
async def test_nothing_answers_before_it_runs(tmp_path: Path) -> None:
    """Whether it is up is found out by asking, and where nothing listens it is not."""
    program = balancer(VALUES, tmp_path / "haproxy")
    async with asyncio.timeout(5):
        assert await program.answers() is False

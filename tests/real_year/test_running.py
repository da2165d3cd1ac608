"""The run's edges: no file, answers that do not come, the picture."""

import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bench.real_year.client import Api
from bench.real_year.deviations import Deviated, Deviations
from bench.real_year.figures import Figures
from bench.real_year.picture import draw
from bench.real_year.replay import DaySpeed

ROOT = Path(__file__).resolve().parents[2]
Handler = Callable[[web.Request], Awaitable[web.Response]]


def test_no_file(tmp_path: Path) -> None:
    """Without the retailer's file it says so in one line, and exits with 2."""
    missing = tmp_path / "nowhere.csv.xz"
    ran = subprocess.run(
        [sys.executable, "-m", "bench.real_year", "--out", str(tmp_path / "picture.svg")],
        cwd=ROOT,
        env={"TRADEWIND_REAL_YEAR": str(missing), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert str(missing) in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert not ran.stdout


async def answered(handler: Handler, deviations: Deviations, **more: str) -> bytes:
    """What a client gets from a server that answers so."""
    application = web.Application()
    application.router.add_post("/v1/checkout", handler)
    async with TestServer(application) as server:
        base = str(server.make_url("/"))
        async with aiohttp.ClientSession(base) as http:
            api = Api(http, deviations)
            return await api.send("POST", "/v1/checkout", {"lines": []}, expect=201, **more)


@pytest.mark.asyncio
async def test_again_with_the_same_key() -> None:
    """What is refused for a while is sent again: the same bytes, the same key."""
    seen: list[tuple[str, bytes]] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append((request.headers["Idempotency-Key"], await request.read()))
        if len(seen) == 1:
            return web.Response(status=503)
        if len(seen) == 2:
            return web.json_response({"code": "idempotency_key_in_progress"}, status=409)
        return web.Response(status=201, body=b"bought")

    deviations = Deviations()
    assert await answered(handle, deviations, key="real-year-buy-1") == b"bought"
    assert seen == [("real-year-buy-1", b'{"lines":[]}')] * 3
    assert not deviations.found


@pytest.mark.asyncio
async def test_an_unexpected_answer() -> None:
    """An answer that should have been another is kept with its request, and not asked for again."""
    times: list[int] = []

    async def handle(_: web.Request) -> web.Response:
        times.append(1)
        return web.json_response({"code": "out_of_stock"}, status=409)

    deviations = Deviations()
    with pytest.raises(Deviated):
        await answered(handle, deviations, key="real-year-buy-1")
    assert len(times) == 1
    [told] = deviations.found
    assert "POST /v1/checkout (key real-year-buy-1)" in told
    assert '{"lines":[]}' in told
    assert "409" in told and "out_of_stock" in told


@pytest.mark.parametrize("days", [1, 3, 305])
def test_picture(days: int) -> None:
    """The picture is well-formed, with every month and its revenue in it, however long the run."""
    months = {
        "2010-12": Figures(revenue_minor=77_754_576, refunded_minor=1),
        "2011-01": Figures(),
    }
    speeds = [DaySpeed(f"day {number}", 0.5, number, number * 20) for number in range(days)]
    text = draw("A year & more", "<fast>", months, speeds)
    drawn = ET.fromstring(text)  # noqa: S314  we drew it ourselves
    texts = [one.text for one in drawn.iter() if one.tag.endswith("}text")]
    assert {"A year & more", "<fast>", "2010-12", "2011-01", "778"} <= set(texts)

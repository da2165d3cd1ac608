"""The topology against the source and what is generated from it; one rule: all are equal."""

import ast
import inspect
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import pytest
from litestar.handlers import HTTPRouteHandler

from architecture.tree import PACKAGE, parse, python_files
from architecture.write_topology import generated
from tradewind.platform.events import Event
from tradewind.topology.diagram import BEGIN, END, NoMarks, put_diagram, render_diagram
from tradewind.topology.services import ELSEWHERE, PACKAGES, SERVICES, hearers_of

AUTHENTICATES = "users"
"""Every other service asks it whose session a request has."""


def test_generated_files_are_written() -> None:
    """HAProxy's configuration, compose.yaml and the diagram are what the topology makes of them."""
    for path, text in generated().items():
        assert path.read_text() == text, f"run write_topology: {path.name} is another"


def test_diagram_goes_between_its_marks() -> None:
    """The diagram replaces what stands between its marks and nothing else."""
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert put_diagram(document, "new\n") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    with pytest.raises(NoMarks):
        put_diagram("no place", "new\n")


def test_diagram_tells_everything() -> None:
    """The diagram shows who calls whom, who hears whom, and every path."""
    drawn = render_diagram()
    for one in SERVICES.values():
        for other in one.calls:
            assert f"    {one.name} -- calls --> {other}\n" in drawn
        assert all(f"`{path}`" in drawn for path in one.serves)
        assert (f"broker -. {one.queue} .-> {one.name}" in drawn) is bool(one.hears)


def test_packages() -> None:
    """The topology and `compose` know the same services."""
    assert dict(import_module("tradewind.compose").PACKAGES) == dict(PACKAGES)


def serves(service: str, path: str) -> bool:
    """Whether a path is one of the service's, or below one."""
    return any(path == one or path.startswith(f"{one}/") for one in SERVICES[service].serves)


@pytest.mark.parametrize("service", SERVICES)
def test_routes(service: str) -> None:
    """Every route falls under its own service's paths and no other's; every path has a route."""
    handlers: Sequence[HTTPRouteHandler] = import_module(f"tradewind.{service}.service").HANDLERS
    paths = [path for handler in handlers for path in handler.paths]
    assert paths
    for path in paths:
        assert [name for name in SERVICES if serves(name, path)] == [service], path
    for prefix in SERVICES[service].serves:
        assert any(path == prefix or path.startswith(f"{prefix}/") for path in paths), prefix
    for path in SERVICES[service].streams:
        assert path in paths


def test_paths_stand_apart() -> None:
    """No service's path lies below another's, and none of them is internal."""
    everything = [path for one in SERVICES.values() for path in one.serves]
    assert len(everything) == len(set(everything))
    for path in everything:
        above = [one for one in everything if path.startswith(f"{one}/")]
        assert above == []
        assert not path.startswith(("/internal", "/metrics", "/healthz", "/readyz"))
    assert ELSEWHERE in SERVICES


@pytest.mark.parametrize("service", SERVICES)
def test_hears(service: str) -> None:
    """A service's queue takes the events of those whose events it reacts to, and no others'."""
    reactions: dict[type[Event], Any] = import_module(f"tradewind.{service}.reactions").REACTIONS
    assert SERVICES[service].hears == {kind.TYPE.split(".")[0] for kind in reactions}
    for other in SERVICES:
        assert (service in hearers_of(other)) is (other in SERVICES[service].hears)


def is_promise(contract: str, name: str) -> bool:
    """Whether a name of a contract is a Protocol, which is there to be called."""
    found = getattr(import_module(contract), name)
    return inspect.isclass(found) and Protocol in found.__bases__


def called_by(service: str) -> set[str]:
    """The services whose Protocol some module of this one, its contract apart, imports."""
    found: set[str] = set()
    for path in python_files(f"src/tradewind/{service}"):
        if path == PACKAGE / service / "contract.py":
            continue
        found |= set(_called_in(path)) - {service}
    return found


def _called_in(path: Path) -> Iterator[str]:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith(".contract"):
            contract = str(node.module)
            if any(is_promise(contract, one.name) for one in node.names):
                yield contract.split(".")[1]


@pytest.mark.parametrize("service", SERVICES)
def test_calls(service: str) -> None:
    """A service calls those whose promise it imports, and users, who know whose a session is."""
    expected = called_by(service) | {AUTHENTICATES} - {service}
    assert SERVICES[service].calls == expected

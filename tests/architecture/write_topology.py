"""Writes what is generated from the topology; one rule: it comes from there, never from a hand.

Run as `.venv/bin/python -m tests.architecture.write_topology`.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from architecture.tree import ROOT, name_of
from tradewind.topology.containers import render_balancer, render_compose
from tradewind.topology.diagram import BEGIN, put_diagram, render_diagram
from tradewind.topology.haproxy import GIVE_UP, read_script


def generated() -> Mapping[Path, str]:
    """Every generated file, and what should stand in it."""
    architecture = ROOT / "ARCHITECTURE.md"
    files = {
        ROOT / "deploy" / "haproxy" / "haproxy.cfg": render_balancer(),
        ROOT / "deploy" / "haproxy" / GIVE_UP: read_script(),
        ROOT / "deploy" / "compose.yaml": render_compose(),
    }
    document = architecture.read_text()
    if BEGIN in document:
        files[architecture] = put_diagram(document, render_diagram())
    return files


def write_topology() -> None:
    """Writes them all."""
    for path, text in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(name_of(path))


if __name__ == "__main__":
    write_topology()

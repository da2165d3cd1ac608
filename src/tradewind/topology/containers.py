"""compose.yaml; one rule: nothing in it has a default secret, and one door alone is open.

Everything runs as a user of its own on a read-only root, without capabilities. The balancer finds
instances by their service's name, so `--scale orders=3` is all that it takes.
"""

from collections.abc import Mapping
from typing import Any

from tradewind.topology.balancing import Balancing, Discovered
from tradewind.topology.haproxy import GIVE_UP, render_haproxy
from tradewind.topology.plain_yaml import write_yaml
from tradewind.topology.services import SERVICES, Service

PORT, INTERNAL_PORT = 8_000, 9_000
DOOR_PORT, FIGURES_PORT = 8_080, 8_405
POSTGRES = "docker.io/library/postgres:18.1-bookworm"
REDIS = "docker.io/library/redis:7.2.6-bookworm"
RABBITMQ = "docker.io/library/rabbitmq:3.13.7"
HAPROXY = "docker.io/library/haproxy:2.6.22-bookworm"
IMAGE = "${TRADEWIND_IMAGE:-localhost/tradewind:latest}"

_TITLE = """\
# Written by tests/architecture/write_topology.py from src/tradewind/topology.
#
# What must be set is named when it is missing. Passwords stand in addresses: letters and digits.
# First the keys by which services know each other: tradewind keys make FOLDER
"""
_Part = dict[str, Any]
_POSTGRES_USER, _REDIS_USER, _RABBITMQ_USER, _HAPROXY_USER = (
    "999:999",
    "999:999",
    "999:999",
    "99:99",
)
HAPROXY_FOLDER = "/usr/local/etc/haproxy"
_SUBNET = "${TRADEWIND_SUBNET:-10.213.0.0/24}"


def render_compose(services: Mapping[str, Service] = SERVICES) -> str:
    """The whole file."""
    return _TITLE + write_yaml(compose(services))


def render_balancer(services: Mapping[str, Service] = SERVICES) -> str:
    """The balancer's configuration among containers, where Docker's name server knows instances."""
    values = Balancing(
        host="*",
        port=DOOR_PORT,
        instances={name: Discovered(name, PORT, INTERNAL_PORT) for name in services},
        figures=f"*:{FIGURES_PORT}",
        resolver="127.0.0.11:53",
        script=f"{HAPROXY_FOLDER}/{GIVE_UP}",
    )
    return render_haproxy(values, services)


def compose(services: Mapping[str, Service] = SERVICES) -> _Part:
    """What stands in the file, as plain values."""
    parts: _Part = {"haproxy": _balancer(services)}
    parts |= {one.name: _service(one, services) for one in services.values()}
    parts["migrate"] = _migrate()
    parts |= {"primary": _primary(), "replica": _replica()}
    parts |= {"sessions": _redis("volatile-ttl"), "cache": _redis("allkeys-lru")}
    parts["broker"] = _broker()
    return {
        "name": "tradewind",
        "services": parts,
        "networks": {
            "edge": {},
            "services": {"ipam": {"config": [{"subnet": _SUBNET}]}},
            "stores": {"internal": True},
        },
        "volumes": {"primary": {}, "replica": {}, "broker": {}},
        "configs": {
            "haproxy": {"file": "./haproxy/haproxy.cfg"},
            "give_up": {"file": f"./haproxy/{GIVE_UP}"},
            "primary": {"file": "./postgres/primary.sh"},
            "replica": {"file": "./postgres/replica.sh"},
            "redis": {"content": f"requirepass {_must('REDIS_PASSWORD')}\n"},
        },
    }


def _must(name: str) -> str:
    return f"${{TRADEWIND_{name}:?must be set}}"


def _confined(user: str, memory: str, cpus: str, *, tmpfs: tuple[str, ...] = ()) -> _Part:
    """What holds for every container."""
    return {
        "user": user,
        "read_only": True,
        "tmpfs": ["/tmp:mode=1777", *tmpfs],  # noqa: S108  of the container, in memory
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": 512,
        "deploy": {"resources": {"limits": {"cpus": cpus, "memory": memory}}},
        "restart": "unless-stopped",
    }


def _check(*command: str, start: str = "30s") -> _Part:
    return {
        "test": ["CMD", *command],
        "interval": "10s",
        "timeout": "5s",
        "retries": 3,
        "start_period": start,
    }


def _after(condition: str, *names: str) -> _Part:
    return {name: {"condition": condition} for name in names}


def _balancer(services: Mapping[str, Service]) -> _Part:
    # The image has no client of HTTP; its shell is one.
    ask = (
        f"exec 3<>/dev/tcp/127.0.0.1/{DOOR_PORT} && "
        r"printf 'GET /internal HTTP/1.0\r\n\r\n' >&3 && read -r line <&3"
    )
    return {
        "image": HAPROXY,
        "ports": [f"${{TRADEWIND_PUBLISHED_PORT:-8000}}:{DOOR_PORT}"],
        "networks": ["edge", "services"],
        "configs": [
            {"source": "haproxy", "target": f"{HAPROXY_FOLDER}/haproxy.cfg"},
            {"source": "give_up", "target": f"{HAPROXY_FOLDER}/{GIVE_UP}"},
        ],
        # It finds out by itself who is well, so nobody who is not keeps the door shut.
        "depends_on": _after("service_started", *services),
        "healthcheck": _check("bash", "-c", ask),
        "ulimits": {"nofile": {"soft": 65_536, "hard": 65_536}},
        "stop_grace_period": "40s",
        **_confined(_HAPROXY_USER, "512M", "1.0"),
    }


def _image() -> _Part:
    return {"image": IMAGE, "build": {"context": "..", "dockerfile": "deploy/Containerfile"}}


def _store_environment() -> _Part:
    return {
        "TRADEWIND_ENVIRONMENT": "production",
        "TRADEWIND_SECRET": _must("SECRET"),
    }


def _database(host: str, owner: str = "") -> str:
    return f"postgresql://{owner}{host}:5432/tradewind"


def _service(service: Service, services: Mapping[str, Service]) -> _Part:
    confined = _confined("10001:10001", "512M", "1.0", tmpfs=(_own("/var/lib/tradewind", 10_001),))
    confined["deploy"] = {"replicas": service.instances, **confined["deploy"]}
    environment = {
        **_store_environment(),
        # As whom a service connects comes from its name and the secret; the owner only migrates.
        "TRADEWIND_DATABASE_URL": _database("primary"),
        "TRADEWIND_HOST": "0.0.0.0",  # noqa: S104  inside the container's networks
        "TRADEWIND_PORT": str(PORT),
        "TRADEWIND_INTERNAL_HOST": "0.0.0.0",  # noqa: S104  the same
        "TRADEWIND_INTERNAL_PORT": str(INTERNAL_PORT),
        "TRADEWIND_REPLICA_URL": _database("replica"),
        "TRADEWIND_BROKER_URL": f"amqp://tradewind:{_must('BROKER_PASSWORD')}@broker:5672/",
        "TRADEWIND_SESSIONS_URL": f"redis://:{_must('REDIS_PASSWORD')}@sessions:6379/0",
        "TRADEWIND_CACHE_URL": f"redis://:{_must('REDIS_PASSWORD')}@cache:6379/0",
        "TRADEWIND_SERVICE_KEYS": "/run/keys",
        "TRADEWIND_PUBLIC_URL": _must("PUBLIC_URL"),
        "TRADEWIND_TRUSTED_PROXIES": _SUBNET,
        "TRADEWIND_LINGER_SECONDS": "2",
        "TRADEWIND_HEADER_SECONDS": "3600",
        **{f"TRADEWIND_{name.upper()}_URL": f"http://{name}:{INTERNAL_PORT}" for name in services},
    }
    # A store sells on without these, so it starts without them as well.
    useful = ("replica", "sessions", "cache", "broker")
    return {
        **_image(),
        "command": ["run", service.name],
        "environment": environment,
        "networks": ["services", "stores"],
        "volumes": [f"{_must('KEYS_FOLDER')}:/run/keys:ro"],
        "depends_on": {
            **_after("service_completed_successfully", "migrate"),
            **_after("service_healthy", "primary"),
            **_after("service_started", *useful),
        },
        "healthcheck": _check("python", "-m", "tradewind.commands.healthy", start="60s"),
        "stop_grace_period": "35s",
        **confined,
    }


def _migrate() -> _Part:
    owner = f"tradewind:{_must('DATABASE_PASSWORD')}@"
    return {
        **_image(),
        "command": ["migrate"],
        "environment": {
            **_store_environment(),
            "TRADEWIND_DATABASE_URL": _database("primary", owner),
        },
        "networks": ["stores"],
        "depends_on": _after("service_healthy", "primary"),
        **_confined("10001:10001", "512M", "1.0", tmpfs=(_own("/var/lib/tradewind", 10_001),)),
        "restart": "no",
    }


def _own(place: str, user: int) -> str:
    return f"{place}:uid={user},gid={user},mode=0700"


def _primary() -> _Part:
    settings = ("wal_level=replica", "max_wal_senders=8", "wal_keep_size=1GB")
    # The root role makes the roles of the services, and the one that may only replicate.
    return {
        **_postgres("primary"),
        "command": ["postgres", *(word for one in settings for word in ("-c", one))],
        "environment": {
            "POSTGRES_USER": "tradewind",
            "POSTGRES_DB": "tradewind",
            "POSTGRES_PASSWORD": _must("DATABASE_PASSWORD"),
            "REPLICATION_PASSWORD": _must("REPLICATION_PASSWORD"),
        },
        "configs": [{"source": "primary", "target": "/docker-entrypoint-initdb.d/primary.sh"}],
    }


def _replica() -> _Part:
    return {
        **_postgres("replica"),
        "entrypoint": ["sh", "/replica.sh"],
        "environment": {"PGPASSWORD": _must("REPLICATION_PASSWORD")},
        "configs": [{"source": "replica", "target": "/replica.sh"}],
        "depends_on": _after("service_healthy", "primary"),
    }


def _postgres(name: str) -> _Part:
    return {
        "image": POSTGRES,
        "networks": ["stores"],
        "volumes": [f"{name}:/var/lib/postgresql"],
        "healthcheck": _check("pg_isready", "-U", "tradewind", "-d", "tradewind"),
        "shm_size": "256M",
        "stop_signal": "SIGINT",
        "stop_grace_period": "60s",
        **_confined(_POSTGRES_USER, "1G", "2.0", tmpfs=(_own("/var/run/postgresql", 999),)),
    }


def _redis(eviction: str) -> _Part:
    place = "/usr/local/etc/redis.conf"
    settings = ("--save", "", "--appendonly", "no", "--maxmemory", "256mb")
    ask = f"REDISCLI_AUTH=$$(cut -d' ' -f2 {place}) redis-cli ping | grep -q PONG"
    return {
        "image": REDIS,
        "command": ["redis-server", place, *settings, "--maxmemory-policy", eviction],
        "networks": ["stores"],
        "configs": [{"source": "redis", "target": place}],
        "healthcheck": _check("sh", "-c", ask),
        **_confined(_REDIS_USER, "384M", "1.0", tmpfs=(_own("/data", 999),)),
    }


def _broker() -> _Part:
    # A user of its own in place of `guest`, made when the volume is empty.
    return {
        "image": RABBITMQ,
        "hostname": "broker",
        "environment": {
            "RABBITMQ_DEFAULT_USER": "tradewind",
            "RABBITMQ_DEFAULT_PASS": _must("BROKER_PASSWORD"),
        },
        "networks": ["stores"],
        "volumes": ["broker:/var/lib/rabbitmq"],
        "healthcheck": _check(
            "rabbitmq-diagnostics", "--quiet", "check_port_connectivity", start="60s"
        ),
        "stop_grace_period": "60s",
        **_confined(_RABBITMQ_USER, "768M", "1.0", tmpfs=(_own("/var/log/rabbitmq", 999),)),
    }

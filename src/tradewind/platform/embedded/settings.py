"""The server's settings, made for the machine at every start. The rule: durable first, then light.

`postgresql.conf` includes this file last; what an operator sets by ALTER SYSTEM still wins.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

FILE_NAME = "tradewind.conf"
INCLUDE_LINE = f"include '{FILE_NAME}'   # written anew at every start of the store\n"

_MB = 1024 * 1024
_GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the server may use: memory in bytes, cores, and room on the data's disk in bytes."""

    memory_bytes: int
    cores: int
    free_disk_bytes: int

    @classmethod
    def here(cls, folder: Path) -> "Machine":
        """Look at this machine, and at the limits that a container sets."""
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        memory = min([physical, *_memory_limits()])
        cores = min([_cores(), *_core_limits()])
        return cls(memory, max(1, cores), shutil.disk_usage(folder).free)


def render(
    machine: Machine, *, has_lz4: bool, more: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return the text of the settings file; `more` is added to it or stands in place of ours."""
    memory_mb = machine.memory_bytes // _MB
    cores = machine.cores
    values: dict[str, str] = {
        # Reached by the socket alone. The path is relative to the data folder, for the kernel
        # takes 107 bytes and a home may be anywhere.
        "listen_addresses": "",
        "unix_socket_directories": "../socket",
        "unix_socket_permissions": "0700",
        "max_connections": "80",
        "password_encryption": "scram-sha-256",
        "cluster_name": "tradewind",
        # What is said to be saved is on the disk.
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "wal_level": "replica",
        "wal_compression": "lz4" if has_lz4 else "pglz",
        "max_wal_size": f"{_between(64, machine.free_disk_bytes // _MB // 10, 2048)}MB",
        "min_wal_size": "48MB",
        "checkpoint_timeout": "15min",
        # What a replica still needs is kept for it, but no disk is filled for one that is gone:
        # then it is made anew.
        "max_slot_wal_keep_size": f"{_between(64, machine.free_disk_bytes // _MB // 20, 1024)}MB",
        "idle_replication_slot_timeout": "1h",
        # Light: little of its own memory, few idle processes. Reads by workers (io_method) would
        # cost a change of process each on a small machine, where nearly all is cached.
        "shared_buffers": f"{_between(32, memory_mb // 16, 512)}MB",
        "effective_cache_size": f"{_between(64, memory_mb // 2, 1024 * 1024)}MB",
        "work_mem": f"{_between(4, memory_mb // 512, 16)}MB",
        "maintenance_work_mem": f"{_between(16, memory_mb // 32, 256)}MB",
        "io_method": "sync",
        "max_logical_replication_workers": "0",
        # System V memory instead of files in /dev/shm: outside the home, and tiny in containers.
        "dynamic_shared_memory_type": "sysv",
        "max_worker_processes": str(max(4, cores)),
        "max_parallel_workers": str(cores),
        "max_parallel_workers_per_gather": str(_between(0, cores // 2, 2)),
        "jit": "off",
        "random_page_cost": "1.1",
        # Queue tables are small and hot: clean them early, often and without dawdling.
        "autovacuum_naptime": "10s",
        "autovacuum_max_workers": "2",
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_analyze_scale_factor": "0.05",
        "autovacuum_vacuum_cost_limit": "2000",
        "timezone": "UTC",
        # The log tells what was slow, never what customers typed.
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %q%u@%d ",
        "log_min_duration_statement": "500ms",
        "log_parameter_max_length": "0",
        "log_lock_waits": "on",
        "log_temp_files": "10MB",
    }
    values |= more
    lines = [f"{name} = {_quoted(value)}" for name, value in values.items()]
    return (
        "# Written by Tradewind at every start: changes here are lost.\n" + "\n".join(lines) + "\n"
    )


def _quoted(value: str) -> str:
    doubled = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{doubled}'"


def _between(low: int, value: int, high: int) -> int:
    return max(low, min(value, high))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_limits() -> Iterator[int]:
    for name, file in (("memory", "memory.limit_in_bytes"), ("", "memory.max")):
        for text in _group_values(name, file):
            if text.isdecimal() and int(text) > 0:
                yield int(text)


def _core_limits() -> Iterator[int]:
    for text in _group_values("", "cpu.max"):
        quota, _, period = text.partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:
            yield -(-int(quota) // int(period))


def _group_values(controller: str, file: str) -> Iterator[str]:
    """Read one file of our control group and of those above it (version 1 by controller, or 2)."""
    try:
        groups = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controller not in controllers.split(","):
            continue
        # Inside a container the path may be the host's: then only the top is there.
        top = _GROUPS / controller
        place = Path(top, path.lstrip("/"))
        for folder in (place, *place.parents):
            try:
                yield (folder / file).read_text(encoding="utf-8").strip()
            except OSError:
                continue
            if folder == top:
                break

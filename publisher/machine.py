"""What this process may use: processors and memory, by its control group where there is one, else the machine's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/")
_UNLIMITED = 1 << 60  # bytes; version 1 says a number near 2^63 where there is no limit


def processors(root: Path = _ROOT) -> int:
    """At least 1. A quota of 1.5 processors counts as 2: the work waits for the network, too."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _groups(root, "cpu"):
        with suppress(OSError, ValueError):
            quota, period = (folder / "cpu.max").read_text().split()
            mine = min(mine, -(-int(quota) // int(period)))
        with suppress(OSError, ValueError):
            spent = int((folder / "cpu.cfs_quota_us").read_text())
            if spent > 0:
                mine = min(mine, -(-spent // int((folder / "cpu.cfs_period_us").read_text())))
    return max(1, mine)


def memory(root: Path = _ROOT) -> int:
    """Bytes."""
    limits = [_of_machine(root)]
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):  # "max" is no number, and no limit
                limits.append(int((folder / name).read_text()))
    return min(limit for limit in limits if 0 < limit <= _UNLIMITED)


def _of_machine(root: Path) -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) << 10
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's control group and of those above it, of both versions."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        # In a container the path may be the host's, of which only the end is to be seen, or nothing at all.
        place = top / path.strip("/")
        yield from (folder for folder in (place, *place.parents) if folder == top or top in folder.parents)

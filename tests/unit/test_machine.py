"""What a process may use, as the kernel's files of both control group versions tell it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from publisher.machine import memory, processors

ALL = len(os.sched_getaffinity(0))
GIB = 1 << 30


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": f"MemFree: 1 kB\nMemTotal: {16 << 20} kB\n", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "gib"),
    [
        ({}, 16),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": str(2 * GIB)}, 2),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": str(3 * GIB)}, 3),
        ({"proc/self/cgroup": "0::/../../pod\n", "sys/fs/cgroup/memory.max": str(GIB)}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 16),
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/docker/1\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": str(4 * GIB),
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            },
            16,
        ),
    ],
)
def test_memory(tmp_path: Path, files: dict[str, str], gib: int) -> None:
    """The least of the machine's and of every group's from the own one to the top."""
    assert memory(tree(tmp_path, files)) == gib * GIB


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ALL),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, ALL),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        (
            {
                "proc/self/cgroup": "3:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            1,
        ),
        ({"proc/self/cgroup": "3:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1"}, ALL),
    ],
)
def test_processors(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    """No more than the affinity, and no more than a quota, rounded up."""
    assert processors(tree(tmp_path, files)) == expected


def test_this_machine_has_some() -> None:
    """The real files are understood, whatever they say here."""
    assert processors() >= 1
    assert memory() > 1 << 26

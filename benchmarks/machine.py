"""On what the figures were measured, and whether anything else ran there."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
QUIET = 0.35  # busy cores; a desktop at rest has less
patience = 120.0  # seconds to wait for that; run.py --patience sets it


def facts() -> dict[str, Any]:
    """Processor, memory, system and versions, for the JSON."""
    return {
        "processor": _field(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "publisher": version("model-publisher"),
        "commit": _said("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"),
        "changed": _said("git", "-C", str(ROOT), "status", "--porcelain", "--", "publisher").splitlines(),
        "mlflow": version("mlflow"),
        "scikit-learn": version("scikit-learn"),
        "docker": _said("docker", "version", "--format", "{{.Server.Version}}"),
        "docker-registry": _said("docker-registry", "--version"),
    }


def quiet() -> dict[str, float]:
    """Wait until hardly anything runs, as long as `patience`; tell what it was like then.

    What counts is how busy the processors are now: the load average remembers our own last run for minutes.
    """
    began = time.monotonic()
    busy = _busy(2)
    while busy > QUIET and time.monotonic() - began < patience:
        time.sleep(3)
        busy = _busy(2)
    return {
        "busy_cores": round(busy, 2),
        "load_average": round(os.getloadavg()[0], 2),
        "waited": round(time.monotonic() - began, 1),
    }


def _busy(seconds: float) -> float:
    """How many processors were busy, on average, over that time."""
    first = _ticks()
    time.sleep(seconds)
    return (_ticks() - first) / os.sysconf("SC_CLK_TCK") / seconds


def _ticks() -> int:
    # proc(5): user, nice, system, idle, iowait, irq, softirq, steal
    times = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(times) - times[3] - times[4]


def _field(file: Path, name: str) -> str:
    lines = file.read_text().splitlines() if file.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

"""Ten versions of five models at once, beside the same one after the other: seconds, and peak memory.

    .venv/bin/python benchmarks/side_by_side.py [--rounds 3] [--work DIR]

Each poll is of a machine of its own with empty caches, into repositories of its own; both ways take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.memory import watch
from benchmarks.world import FOREIGN, TARGET, World, world
from tests import small

# What each model asks for: wheels of pure Python, some of them shared, and one environment of machine code.
MODELS = {
    "web": "flask==3.1.0\nrequests==2.32.3",
    "text": "jinja2==3.1.6\nrich==14.0.0",
    "graph": "networkx==3.4.2\nattrs==25.3.0",
    "calls": "httpx==0.28.1\nclick==8.1.8",
    "tables": "pandas==2.2.3",
}
VERSIONS = 2
WAYS = {"one_after_the_other": {"PUBLISHER_PARALLEL": "1"}, "side_by_side": {}}


def measure(place: World, rounds: int) -> dict[str, Any]:
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way, variables in WAYS.items():
            runs[way].append(_poll(place, f"{way.replace('_', '-')}-{number}", variables))
    seconds = {way: statistics.median(run["seconds"] for run in found) for way, found in runs.items()}
    peaks = {way: max(run["peak_mib"] for run in found) for way, found in runs.items()}
    alone, together = WAYS
    return {
        "models": MODELS,
        "versions": VERSIONS * len(MODELS),
        "runs": runs,
        "seconds": seconds,
        "peak_mib": peaks,
        "ratio": round(seconds[together] / seconds[alone], 3),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.facts(),
    }


def _poll(place: World, prefix: str, variables: dict[str, str]) -> dict[str, Any]:
    """Register the versions anew, and time one poll for all of them."""
    here = place.workplace(prefix)
    for version in range(VERSIONS):
        for name, requirements in MODELS.items():
            small.register(
                place.mlflow, f"{prefix}-{name}", TARGET, requirements=requirements, number=version
            )
    clean = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    clean |= {"XDG_CACHE_HOME": str(here.folder / "caches"), "DOCKER_CONFIG": str(here.folder / "docker")}
    clean |= {"UV_CACHE_DIR": str(here.folder / "uv"), **variables}
    before = machine.quiet()
    with (here.folder / "said").open("w") as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            [here.command, "poll", "--json"],
            cwd=here.folder,
            env=clean,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        peak, _, _ = watch(process.pid)
        _, _, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    text = (here.folder / "said").read_text()
    everything = json.loads(text[text.index("{") :])["outcomes"]
    outcomes = [each for each in everything if each["model"].startswith(prefix)]
    assert [each["state"] for each in outcomes].count("published") == VERSIONS * len(MODELS), text[-4000:]
    return {
        "seconds": round(seconds, 2),
        "cpu": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mib": round(peak / 1024, 1),
        "downloaded": sum(each["downloaded"] for each in outcomes),
        "sent": sum(each["sent"] for each in outcomes),
        "before": dict(before),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="polls of each way; medians are taken [3]")
    parser.add_argument(
        "--patience", type=float, default=120, help="seconds to wait for a quiet machine [120]"
    )
    parser.add_argument("--work", type=Path, help="where temporary files go [the system's own place]")
    options = parser.parse_args()
    machine.patience = options.patience
    os.environ |= {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (
        tempfile.TemporaryDirectory(prefix="publisher-side-", dir=options.work) as name,
        world(Path(name)) as place,
    ):
        # The first poll of all pays for what the system has not read yet.
        _poll(place, "warm-up", {})
        found = measure(place, options.rounds)
    path = Path(__file__).parent / "results" / f"side-by-side-{datetime.now(UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({key: found[key] for key in ("seconds", "peak_mib", "ratio")}, indent=1))
    print(f"every figure: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Peak memory while a model of many GB is published, beside that for a small one.

    .venv/bin/python benchmarks/memory.py [--large 8GiB] [--files 100000] [--work DIR]

Needs four times the large model's size on disk: MLflow's copy, the download, the layer, the registry's copy.
The environment is a few small wheels of an index of our own, so that the model is what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.world import FOREIGN, SUITES, install
from tests import wheels
from tests.engines.mlflow import MlflowServer, serve
from tests.engines.registry import RealRegistry, running
from tests.faults.index import serve_wheels

MIB = 1 << 20
SMALL = 64 * MIB
TARGET = 256  # MiB, for the large one; and within 10 % of the small one's
EVERY = 0.05  # seconds between two looks at the process tree


@dataclass(frozen=True, slots=True)
class Place:
    """Where it all happens."""

    folder: Path
    mlflow: MlflowServer
    registry: RealRegistry
    index: str
    command: Path

    def register(self, name: str, size: int, files: int) -> str:
        """A version with `size` bytes of weights in `files` files, laid into the server's artifact folder directly."""
        client = self.mlflow.client()
        run = client.create_run("0").info
        model = self.mlflow.folder / run.artifact_uri.removeprefix("mlflow-artifacts:/") / "mymodel"
        (model / "weights").mkdir(parents=True)
        python = f"{sys.version_info.major}.{sys.version_info.minor}.0"
        (model / "MLmodel").write_text("flavors: {}\n")
        (model / "run.py").write_text("print('ran')\n")
        (model / "requirements.txt").write_text("tinything==1.0\n")
        (model / "python_env.yaml").write_text(f"python: {python}\ndependencies:\n- -r requirements.txt\n")
        # As weights are: within a compressor's window nothing comes twice.
        block = random.Random(size).randbytes(min(size, SMALL))  # noqa: S311
        for number in range(files):
            path = model / "weights" / f"{number % 100}" / f"{number}.bin"
            path.parent.mkdir(exist_ok=True)
            with path.open("wb") as sink:
                left = size // files
                while left:
                    left -= sink.write(block[:left])
        client.create_registered_model(name)
        tags = {"EXTERNAL_TARGET_BENCH": "true", "MODEL_EXECUTE_PATH": "model/run.py"}
        return str(client.create_model_version(name, run.artifact_uri, run.run_id, tags=tags).version)

    def environment(self, home: Path) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith((*FOREIGN, "UV_"))}
        clean |= {"XDG_CACHE_HOME": str(home / "caches"), "DOCKER_CONFIG": str(home / "docker")}
        return clean | {"UV_CACHE_DIR": str(home / "uv"), "UV_DEFAULT_INDEX": self.index}

    def home(self, name: str, base: str) -> Path:
        """A machine with empty caches."""
        home = self.folder / f"home-{name}"
        home.mkdir()
        (home / "publisher.toml").write_text(
            f'mlflow_tracking_uri = "{self.mlflow.uri}"\ncache_folder = "{home / "cache"}"\n'
            f'work_folder = "{home / "work"}"\n[targets.BENCH]\n'
            f'registry = "{self.registry.host}/{name}"\nbase = "{base}"\n'
        )
        return home


def measure(large: int, files: int, work: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="publisher-memory-", dir=work) as name, ExitStack() as stack:
        folder = Path(name)
        wheels_folder = folder / "wheels"
        wheels_folder.mkdir()
        for project in ("pip", "tinything"):
            wheels.make(wheels_folder, project, {f"{project}/__init__.py": b"A = 1\n"})
        place = Place(
            folder,
            stack.enter_context(serve(folder / "mlflow")),
            stack.enter_context(running(folder / "registry")),
            stack.enter_context(serve_wheels(wheels_folder)),
            install(folder / "product"),
        )
        base = f"oci:{folder / 'base'}"
        suite = SUITES[sys.version_info[:2]]
        subprocess.run(
            [place.command, "base-image", base, "--suite", suite], cwd=folder, check=True, capture_output=True
        )
        found: dict[str, Any] = {"at": datetime.now(UTC).isoformat(timespec="seconds")}
        sizes = {"small": (SMALL, 2), "large": (large, 2), "many": (64 * files, files)}
        for title, (size, number) in sizes.items():
            if size:
                found[title] = _publish(place, title, base, size, number)
                print(title, found[title], flush=True)
    found["machine"] = machine.facts()
    return found


def _publish(place: Place, name: str, base: str, size: int, files: int) -> dict[str, Any]:
    version, home = place.register(name, size, files), place.home(name, base)
    with (home / "said").open("w") as said:
        began = time.monotonic()
        process = subprocess.Popen(
            [place.command, "publish", name, version, "--json"],
            cwd=home,
            env=place.environment(home),
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        peak, resident, largest = watch(process.pid)
        process.wait()
    text = (home / "said").read_text()
    if process.returncode:
        raise RuntimeError(f"publisher ended with {process.returncode}:\n{text[-4000:]}")
    [outcome] = json.loads(text[text.index("{") :])["outcomes"]
    shutil.rmtree(home)
    shutil.rmtree(place.mlflow.folder / "0", ignore_errors=True)
    shutil.rmtree(place.registry.folder / "storage", ignore_errors=True)
    return {
        "bytes": size,
        "files": files,
        "seconds": round(time.monotonic() - began, 1),
        "stages": outcome["seconds"],
        "peak_mib": round(peak / 1024, 1),  # proportional set size of all processes, summed
        "resident_mib": round(resident / 1024, 1),  # the same of resident sizes: shared pages count in each
        "largest_mib": round(largest / 1024, 1),  # the kernel's own high-water mark of the largest process
    }


def watch(leader: int) -> tuple[int, int, int]:
    """The peaks, in KiB, of a process with all below it, until it ends; it is left to be waited for.

    Not by getrusage: a child begins with the high-water mark of whoever forked it, which is this program.
    """
    peaks = 0, 0, 0
    while os.waitid(os.P_PID, leader, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        found = [_memory(pid) for pid in _tree(leader)]
        pss, rss, high = (list(column) for column in zip(*found, strict=True))
        peaks = max(peaks[0], sum(pss)), max(peaks[1], sum(rss)), max(peaks[2], *high)
        time.sleep(EVERY)
    return peaks


def _tree(leader: int) -> list[int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    found = [leader]
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found


def _memory(pid: int) -> tuple[int, int, int]:
    """Proportional size, resident size and its mark in KiB; a process that has just ended has none."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text() + Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0, 0
    numbers = {key: int(size) for key, size in re.findall(r"^(Pss|Rss|VmHWM):\s+(\d+)", text, re.MULTILINE)}
    return numbers.get("Pss", 0), numbers.get("Rss", 0), numbers.get("VmHWM", 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--large", default="8GiB", help="size of the large model [8GiB]; 0 for none")
    parser.add_argument(
        "--files", type=int, default=100_000, help="a model of so many files [100000]; 0 for none"
    )
    parser.add_argument("--work", type=Path, help="where temporary files go [the system's own place]")
    options = parser.parse_args()
    large = int(float(options.large.removesuffix("GiB")) * 1024) * MIB
    found = measure(large, options.files, options.work)
    path = Path(__file__).parent / "results" / f"memory-{datetime.now(UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    if "large" in found:
        small, big = found["small"]["peak_mib"], found["large"]["peak_mib"]
        print(
            f"{big} MiB for {options.large}, {small} MiB for 64 MiB: ratio {big / small:.2f}, target {TARGET} MiB"
        )
    print(f"every figure: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Other MLflow versions than the one beside us, each in a virtual environment that is kept between runs.

They lie in ~/.cache/publisher-tests/mlflow (XDG_CACHE_HOME counts), about 1 GB each, and take uv half a minute the
first time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import uv

ROOT = Path(__file__).parents[2]
NEWEST_2 = "2.22.5"
OLD_2 = "2.9.2"
# What these versions do not say of themselves: SQLAlchemy 2.1 and setuptools 80 came later and lack what they import.
PINS = ("sqlalchemy<2.1", "setuptools<80", "boto3")


def python(version: str) -> Path:
    """The interpreter of an environment with this MLflow; with publisher's own needs too where they fit."""
    wanted = [f"mlflow=={version}", *PINS]
    if version != OLD_2:  # which keeps packaging below 24
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        wanted += [each for each in project["dependencies"] if not each.startswith("mlflow")]
    key = hashlib.sha256(json.dumps([sys.version_info[:2], wanted]).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "publisher-tests" / "mlflow"
    folder = cache / f"{version}-{key}"
    cache.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # workers of one run want the same one at the same time
        if not (folder / "ready").exists():
            _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
            _uv("pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *wanted)
            (folder / "ready").touch()
    return folder / "bin" / "python"


def _uv(*arguments: str) -> None:
    done = subprocess.run([uv.find_uv_bin(), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"uv {arguments[0]} ended with {done.returncode}:\n{done.stderr[-4000:]}")


def register(
    interpreter: Path | str, uri: str, prefix: str, tag: str, *location: str, **environment: str
) -> dict[str, Sequence[str]]:
    """Run tests/registering.py by that interpreter: how a version was registered -> its name and number."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "PYTHON"))}
    clean |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_DISABLE_TELEMETRY": "true", **environment}
    done = subprocess.run(
        [str(interpreter), str(ROOT / "tests" / "registering.py"), uri, prefix, tag, *location],
        env=clean,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Sequence[str]] = json.loads(done.stdout.splitlines()[-1])
    return found

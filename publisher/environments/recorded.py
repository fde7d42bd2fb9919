"""A lock that the model brings along: pylock.toml (PEP 751), or uv.lock with its pyproject.toml."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import uv

from publisher import scratch
from publisher.domain import RecordedLock
from publisher.environments import files
from publisher.errors import EngineError, RequirementsError

PYLOCK, UV_LOCK = "pylock.toml", "uv.lock"
_TIMEOUT = 60  # seconds; nothing is fetched


def find(model: Path) -> RecordedLock | None:
    """The model's own lock; pylock.toml goes before uv.lock. Raises RequirementsError where it cannot be used."""
    document, name = files.toml_mapping(model / PYLOCK), PYLOCK
    if document is None:
        if files.toml_mapping(model / UV_LOCK) is None:
            return None
        document, name = _exported(model), UV_LOCK
    _validate(document, name)
    return RecordedLock(name, document, model)


def _validate(document: dict[str, Any], name: str) -> None:
    try:
        # MLflow before 3.9 keeps packaging below 26, which has none; few models bring a lock.
        from packaging.pylock import Pylock, PylockValidationError  # noqa: PLC0415
    except ImportError:
        raise EngineError(
            f"reading {name} needs the Python package packaging 26 or newer, and an older one is installed here",
            hint="pip install --upgrade packaging mlflow-skinny, in publisher's own environment",
        ) from None
    try:
        Pylock.from_dict(document)
    except PylockValidationError as error:
        raise RequirementsError(f"{name} is no lock: {error}") from error


def _exported(model: Path) -> dict[str, Any]:
    """uv.lock as a pylock.toml for all platforms, by uv itself: the project's dependencies, no development ones.

    Nothing is fetched, built or run: the project's own settings for uv do not count.
    """
    if not (model / "pyproject.toml").is_file():
        raise RequirementsError(
            "uv.lock has no pyproject.toml beside it, which says what of it is needed",
            hint="Log the model again with both: MLflow's log_model() takes them from the project's folder.",
        )
    with tempfile.TemporaryDirectory(dir=scratch.below(None).folder) as folder:
        for name in (UV_LOCK, "pyproject.toml"):
            shutil.copyfile(model / name, Path(folder) / name)
        command = [
            uv.find_uv_bin(),
            "export",
            "--frozen",
            "--offline",
            "--no-cache",
            "--no-config",
            "--no-dev",
        ]
        command += ["--no-emit-workspace", "--format", PYLOCK, "--no-header", "--color", "never", "--quiet"]
        command += ["--no-python-downloads", "--python", sys.executable, "--output-file", PYLOCK]
        try:
            done = subprocess.run(
                command, cwd=folder, env={}, capture_output=True, text=True, timeout=_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise RequirementsError(f"uv.lock was not read in {_TIMEOUT} s") from error
        except OSError as error:
            raise EngineError(f"uv cannot be started: {error}") from error
        if done.returncode:
            reason = " ".join(done.stderr.split()).removeprefix("error: ")
            raise RequirementsError(
                f"uv.lock cannot be used: {reason[:400]}",
                hint="Run `uv lock` in its project and log the model again.",
            )
        return tomllib.loads((Path(folder) / PYLOCK).read_text())

"""Engines and peers that are Go modules: what programs.sh built, or the tests that need it are skipped."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.engines.docker import unavailable

_SCRIPT = Path(__file__).with_name("programs.sh")
_PARTS = {
    "buildkitd": "buildkit",
    "buildx": "buildkit",
    "kaniko-executor": "kaniko",
    "crane": "crane",
    "kubectl": "kubernetes",
}


def path(name: str) -> Path:
    """Where the program `name` is, or would be once it is built."""
    return Path(_said("folder", _PARTS[name]).strip()) / name


def program(name: str) -> Path:
    """The program `name`. Without it the test is skipped, and fails where CI is set."""
    found = path(name)
    if not found.exists():
        unavailable(f"{name} is missing: make engines builds it")
    return found


def build(*parts: str) -> None:
    """Build what is missing of `parts`, which takes minutes; raises CalledProcessError where Go is missing."""
    subprocess.run([_SCRIPT, "build", *parts], check=True)


def versions() -> dict[str, str]:
    """The version of each program's module."""
    return dict(line.split() for line in _said("versions").splitlines())


def _said(*arguments: str) -> str:
    return subprocess.run([_SCRIPT, *arguments], check=True, capture_output=True, text=True).stdout

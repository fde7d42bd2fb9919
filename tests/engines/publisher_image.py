"""The publisher's own image in both forms, built by buildx from this checkout's Dockerfile."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.engines.buildkit import BuildKit
from tests.engines.kubernetes import Kubernetes
from tests.engines.registry import RealRegistry

CHECKOUT = Path(__file__).parents[2]
NAME = "tools/model-publisher"


def build(buildkit: BuildKit, registry: RealRegistry, tag: str, *words: str) -> None:
    """Build for this machine's architecture, and push to the registry as `NAME`:`tag`."""
    output = f"type=image,name={registry.host}/{NAME}:{tag},push=true"
    command = [buildkit.buildx, "build", "--builder", buildkit.builder, "--provenance=false"]
    done = subprocess.run(
        [*command, "--output", output, *words, CHECKOUT],
        env=buildkit.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    if done.returncode:
        raise AssertionError(f"buildx ended with {done.returncode}:\n{done.stderr[-4000:]}")


@pytest.fixture(scope="session")
def publisher_image(buildkit: BuildKit, registry: RealRegistry, kubernetes: Kubernetes) -> str:
    """The default form, by the name under which pods pull it."""
    build(buildkit, registry, "test")
    return f"{kubernetes.pulls_from(registry.host)}/{NAME}:test"


@pytest.fixture(scope="session")
def kaniko_publisher_image(
    *,
    buildkit: BuildKit,
    registry: RealRegistry,
    kubernetes: Kubernetes,
    kaniko_executor: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """The form with kaniko's executor."""
    official = tmp_path_factory.mktemp("executor")
    (official / "kaniko").mkdir()
    os.link(kaniko_executor, official / "kaniko/executor")
    build(buildkit, registry, "test-kaniko", "--target", "kaniko", "--build-context", f"executor={official}")
    return f"{kubernetes.pulls_from(registry.host)}/{NAME}:test-kaniko"

"""The publisher's own image for pods, in both forms: `publisher own-image` makes the first, in seconds.

The Dockerfile at the top of the checkout has a test of its own, which takes a minute.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engines import debian
from tests.engines.buildkit import BuildKit
from tests.engines.kubernetes import Kubernetes
from tests.engines.registry import RealRegistry

WITH_KANIKO = "FROM {image}\nCOPY --from=executor /kaniko/executor /kaniko/executor\nUSER 0:0\n"


@pytest.fixture(scope="session")
def publisher_image(new_workplace: Callable[..., Any], registry: RealRegistry, kubernetes: Kubernetes) -> str:
    """The default form, by the name under which pods pull it."""
    place = new_workplace(OWN=f"{registry.host}/tools")
    said = place.publisher(
        *("own-image", "--platform", debian.PLATFORMS[0], "--json"),
        environment={"PUBLISHER_TARGETS__OWN__PYTHON": debian.MINOR},
    )
    kubernetes.pulls_from(registry.host)
    return kubernetes.reached(json.loads(said.stdout)["image"])


@pytest.fixture(scope="session")
def kaniko_publisher_image(
    *,
    publisher_image: str,
    buildkit: BuildKit,
    registry: RealRegistry,
    kubernetes: Kubernetes,
    kaniko_executor: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """The form that is root and has kaniko's executor."""
    folder = tmp_path_factory.mktemp("with-kaniko")
    (folder / "executor/kaniko").mkdir(parents=True)
    os.link(kaniko_executor, folder / "executor/kaniko/executor")
    name = publisher_image.replace(kubernetes.reached(registry.host), registry.host)
    (folder / "Dockerfile").write_text(WITH_KANIKO.format(image=name))
    command = [buildkit.buildx, "build", "--builder", buildkit.builder, "--provenance=false"]
    command += ["--output", f"type=image,name={name}-kaniko,push=true"]
    command += ["--build-context", f"executor={folder / 'executor'}", folder]
    done = subprocess.run(
        command, env=buildkit.environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return f"{publisher_image}-kaniko"

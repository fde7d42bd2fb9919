"""A base image's tag that moves while images are built on it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import requests

from publisher.oci.layout import MANIFEST
from tests.contract.fronts import Handler, front
from tests.engines import bare_client
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry
from tests.faults.conftest import NewMachine, register, small_model
from tests.faults.machine import Machine

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]
TARGET = "MOVES"
NAME = "base/moving"


def test_the_base_is_pinned_once(
    mlflow_server: MlflowServer,
    registry: RealRegistry,
    base_layout: Path,
    new_machine: NewMachine,
    package_index: str,
) -> None:
    """The tag is looked at once; after that look it moves, and both platforms are built on what it held then,
    whose digest the image records."""
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    bare_client.push_layout(base_layout, registry.host, NAME, minor)
    then = bare_client.manifest(registry.host, NAME, minor)
    assert then
    now = next(iter(then.platforms.values()))

    def rule(handler: Handler) -> bool:
        # One platform's manifest alone: an image built on that would lack the other.
        if handler.path.endswith(f"{NAME}/manifests/{minor}"):
            handler._forward(registry.host)
            move(registry.host, minor, now)
            return True
        return False

    model = register(mlflow_server, TARGET, small_model())
    with front(rule, behind=registry.host) as moving:
        base = f"{moving.host}/{NAME}:{{python}}"
        machine = Machine(
            new_machine(TARGET, "x.example.org").folder, mlflow_server.uri, base, package_index, TARGET
        )
        machine.settings(f"{registry.host}/moves")
        machine.run("publish", model.name, model.version)
        looks = [seen for seen in moving.seen if seen.path.endswith(f"{NAME}/manifests/{minor}")]
    assert len(looks) == 1
    moved = bare_client.manifest(registry.host, NAME, minor)
    assert moved
    assert moved.digest == now
    made = bare_client.manifest(registry.host, f"moves/{model.name}", f"v{model.version}")
    assert made
    assert sorted(made.platforms) == sorted(then.platforms)
    for platform, digest in made.platforms.items():
        child = bare_client.manifest(registry.host, f"moves/{model.name}", digest)
        below = bare_client.manifest(registry.host, NAME, then.platforms[platform])
        assert child
        assert below
        assert child.layers[: len(below.layers)] == below.layers
        assert child.document["annotations"]["org.opencontainers.image.base.digest"] == then.digest


def move(host: str, tag: str, digest: str) -> None:
    url = f"http://{host}/v2/{NAME}/manifests"
    content = requests.get(f"{url}/{digest}", headers={"Accept": MANIFEST}, timeout=30).content
    answer = requests.put(f"{url}/{tag}", data=content, headers={"Content-Type": MANIFEST}, timeout=30)
    answer.raise_for_status()

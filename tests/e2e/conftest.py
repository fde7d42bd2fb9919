"""What the ends of the way share: a base image in the registry, and a folder from which publisher is run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.engines import debian, require
from tests.engines.bare_client import push_layout
from tests.engines.buildah import Buildah
from tests.engines.buildkit import BuildKit
from tests.engines.hub import Hub
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry

# Of the person who runs the tests: none of it may reach the publisher under test.
FOREIGN = ("MLFLOW_", "MODEL_", "PUBLISHER_", "REGISTRY_", "DOCKER_")


@dataclass(frozen=True, slots=True)
class Workplace:
    """A folder with a publisher.toml and a cache of its own: what a laptop or a pod is to the publisher.

    `variables`: what its environment has besides.
    """

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """Of the commands that run here."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
        clean |= {"XDG_CACHE_HOME": str(self.folder / "cache"), "DOCKER_CONFIG": str(self.folder / "docker")}
        return {**clean, **self.variables}

    def publisher(
        self, *arguments: str, environment: Mapping[str, str] | None = None, expect: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run the installed command here. `expect` is the exit code that it must have, None for any."""
        done = subprocess.run(
            [str(Path(sys.executable).with_name("publisher")), *arguments],
            cwd=self.folder,
            env={**self.environment(), **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        if expect is not None and done.returncode != expect:
            raise AssertionError(
                f"publisher {' '.join(arguments)} ended with {done.returncode}, not {expect}:\n"
                f"{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
            )
        return done


NewWorkplace = Callable[..., Workplace]


@pytest.fixture(scope="session")
def new_workplace(
    tmp_path_factory: pytest.TempPathFactory, mlflow_server: MlflowServer, base_image: str
) -> NewWorkplace:
    """Make a workplace: ``new_workplace(TEST="127.0.0.1:5000/demo", fresh=True)``; one target per keyword.

    Workplaces share a cache folder, as commands on one machine do, unless `fresh`.
    """
    shared = tmp_path_factory.mktemp("cache")

    def make(*, fresh: bool = False, base: str = base_image, **targets: str) -> Workplace:
        folder = tmp_path_factory.mktemp("workplace")
        cache = folder / "own-cache" if fresh else shared
        lines = [f'mlflow_tracking_uri = "{mlflow_server.uri}"', f'cache_folder = "{cache}"']
        for name, registry in targets.items():
            lines += [f"[targets.{name}]", f'registry = "{registry}"', f'base = "{base}"']
            lines += [f"platforms = {list(debian.PLATFORMS)}"]
        (folder / "publisher.toml").write_text("\n".join(lines) + "\n")
        return Workplace(folder)

    return make


@pytest.fixture(scope="session")
def base_layout() -> Path:
    """A base image for both platforms as an OCI layout."""
    return debian.layout("base")


@pytest.fixture(scope="session")
def base_image(base_layout: Path, registry: RealRegistry) -> str:
    """The same in the registry, as a target's `base` names it."""
    push_layout(base_layout, registry.host, "base/python", debian.MINOR)
    return f"{registry.host}/base/python:{{python}}"


NewEngineWorkplace = Callable[..., Workplace]


@pytest.fixture(scope="session")
def new_engine_workplace(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    mlflow_server: MlflowServer,
    hub: Hub,
) -> NewEngineWorkplace:
    """Make a workplace with Dockerfile engines: ``new_engine_workplace("buildx", TEST={"registry": "…"})``.

    It has the engines that are named, all of them reach `hub` for docker.io, and a target per keyword, with its keys.
    """

    def make(*engines: str, mlflow: str = "", **targets: Mapping[str, object]) -> Workplace:
        folder = tmp_path_factory.mktemp("workplace")
        lines = [
            f'mlflow_tracking_uri = "{mlflow or mlflow_server.uri}"',
            f'cache_folder = "{folder / "cache"}"',
        ]
        lines += [f'mirrors = {{ "docker.io" = "{hub.host}" }}']
        variables = {"PATH": str(folder / "bin")}
        (folder / "bin").mkdir()
        for engine in engines:
            known, more = _ENGINES[engine](request, folder / "bin")
            lines += known
            variables |= more
        for name, keys in targets.items():
            lines.append(f"[targets.{name}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        (folder / "publisher.toml").write_text("\n".join(lines) + "\n")
        return Workplace(folder, variables)

    return make


def _buildx(request: pytest.FixtureRequest, programs: Path) -> tuple[list[str], dict[str, str]]:
    found: BuildKit = request.getfixturevalue("buildkit")
    (programs / "buildx").symlink_to(found.buildx)
    return [f'buildx_builder = "{found.builder}"'], dict(found.variables)


def _kaniko(request: pytest.FixtureRequest, programs: Path) -> tuple[list[str], dict[str, str]]:
    image: str = request.getfixturevalue("kaniko_image")
    (programs / "docker").symlink_to(require("docker", "docker.io"))
    return ['kaniko = "docker"', f'kaniko_image = "{image}"'], {}


def _buildah(request: pytest.FixtureRequest, programs: Path) -> tuple[list[str], dict[str, str]]:
    found: Buildah = request.getfixturevalue("buildah")
    (programs / "buildah").symlink_to(found.program)
    return [], dict(found.variables)


# Of each: lines of publisher.toml, and variables. Its program alone is in PATH.
_ENGINES = {"buildx": _buildx, "kaniko": _kaniko, "buildah": _buildah}

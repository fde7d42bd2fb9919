"""The documents' own way: a version that brings its Dockerfile and build script publishes unchanged, by each engine.

Each builds the documents' Dockerfile for both architectures, and its image predicts on both: buildx (whose cache is
the best) that of the notebook's scikit-learn model; kaniko and buildah that of a model of Python code, from the same
kind of run with the same client, because scikit-learn and scipy are a third of what pip costs under emulation.
``FROM python:3.9.19-slim-bullseye`` is had from the stand-in for Docker Hub; all else is as a user has it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.e2e import notebook
from tests.e2e.conftest import NewEngineWorkplace, Workplace
from tests.e2e.published import Published, published
from tests.engines.debian import PLATFORMS
from tests.engines.docker import Docker, can_emulate, emulated, unavailable
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry
from tests.models import Registered, same_numbers

ENGINES = ("buildx", "kaniko", "buildah")
MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
pytestmark = [pytest.mark.engine(name) for name in ("docker-registry", "mmdebstrap", "docker")]


@dataclass(frozen=True, slots=True)
class Built:
    """What an engine made of a version, and where it was published from."""

    engine: str
    version: Published
    place: Workplace
    said: str


@pytest.fixture(scope="module")
def model(mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Registered:
    """The notebook's version, tagged for a target of the first engine, and for one of the embedded builder."""
    targets = [target_of(ENGINES[0]), "DOCS_BUILTIN"]
    return notebook.register(mlflow_server, "documents", targets, tmp_path_factory.mktemp("notebook"))


@pytest.fixture(scope="module")
def line(mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Registered:
    """The version with a model of Python code, tagged for a target of each of the other engines."""
    targets = [*map(target_of, ENGINES[1:])]
    return notebook.register_line(mlflow_server, "line", targets, tmp_path_factory.mktemp("line"))


@pytest.fixture(scope="module", params=ENGINES)
def built(
    request: pytest.FixtureRequest,
    mlflow_server: MlflowServer,
    registry: RealRegistry,
    new_engine_workplace: NewEngineWorkplace,
) -> Built:
    """The engine's version, polled once by a machine whose target names the engine."""
    for platform in PLATFORMS:
        if emulated(platform) and not can_emulate(platform):
            unavailable(f"{platform} programs do not run here: make engines registers qemu with binfmt_misc")
    engine = request.param
    model: Registered = request.getfixturevalue("model" if engine == ENGINES[0] else "line")
    keys = {"registry": f"{registry.host}/docs-{engine}", "builder": engine, "platforms": PLATFORMS}
    place = new_engine_workplace(engine, **{target_of(engine): keys})
    done = place.publisher("poll", "--once")
    version = published(mlflow_server, model, target_of(engine))
    return Built(engine, version, place, done.stdout + done.stderr)


def target_of(engine: str) -> str:
    return f"DOCS_{engine.upper()}"


def test_the_status_is_the_image_in_the_registry(built: Built, registry: RealRegistry) -> None:
    """The status names the image by the template, and the tag stands for that digest, an index of both platforms."""
    version = built.version
    name = f"{version.model.name}:v{version.model.version}"
    assert version.image == f"{registry.host}/docs-{built.engine}/{name}"
    assert version.index().digest == version.status("digest")
    assert sorted(version.index().platforms) == sorted(PLATFORMS)
    for platform in PLATFORMS:
        assert f"{built.engine} builds for {platform}" in built.said


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_image_predicts_what_the_notebook_did(built: Built, docker: Docker, platform: str) -> None:
    """Pulled and run by Docker, the client says the notebook's numbers, as the Dockerfile's user."""
    *_, who, said = docker.run_command(built.version.image, platform).strip().splitlines()
    model = built.version.model
    assert who == f"{model.name} v{model.version} as 1000 on {MACHINES[platform]}"
    assert same_numbers(json.loads(said), model.predictions)


def test_a_second_poll_does_nothing(built: Built, mlflow_server: MlflowServer) -> None:
    """It says so, builds nothing, and the version's tags stay as they are."""
    done = built.place.publisher("poll", "--once")
    said = done.stdout + done.stderr
    assert "nothing to do" in said.lower()
    assert "builds for" not in said
    model = built.version.model
    assert mlflow_server.tags(model.name, model.version) == built.version.tags


def test_builtin_templates_need_no_engine(  # noqa: PLR0917 - fixtures come by name
    model: Registered,
    mlflow_server: MlflowServer,
    registry: RealRegistry,
    base_image: str,
    docker: Docker,
    new_engine_workplace: NewEngineWorkplace,
) -> None:
    """templates = "builtin": the same version, built by the embedded builder, on a machine that has no engine."""
    keys = {"registry": f"{registry.host}/docs-builtin", "base": base_image, "templates": "builtin"}
    place = new_engine_workplace(DOCS_BUILTIN={**keys, "platforms": PLATFORMS[:1]})
    place.publisher("publish", model.name, model.version, "--target", "DOCS_BUILTIN")
    version = published(mlflow_server, model, "DOCS_BUILTIN")
    said = docker.run_command(version.image, PLATFORMS[0]).strip().splitlines()[-1]
    assert same_numbers(json.loads(said), model.predictions)

"""The publisher's own image, by an engine and by itself: it polls, publishes, and builds Dockerfiles, from inside."""

from __future__ import annotations

import configparser
import json
import subprocess
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import small
from tests.e2e import notebook
from tests.e2e.conftest import NewWorkplace
from tests.e2e.published import published
from tests.engines import bare_client, debian, machine
from tests.engines.buildkit import BuildKit
from tests.engines.docker import Docker
from tests.engines.hub import Hub
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]
ROOT = Path(__file__).parents[2]
MOST = 120_000_000  # bytes, compressed
AMD64, ARM64 = debian.PLATFORMS
NOTHING = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp"]
BuiltBy = Callable[..., str]


@pytest.fixture(scope="session")
def by_buildx(buildkit: BuildKit, hub: Hub, registry: RealRegistry) -> BuiltBy:
    """``by_buildx("tag", PLATFORM, …, KANIKO_IMAGE="…")``: the name of an image made of the Dockerfile."""

    def build(tag: str, *platforms: str, target: str = "default", **arguments: str) -> str:
        image = f"{registry.host}/own/model-publisher:{tag}"
        arguments["PYTHON_IMAGE"] = f"docker.io/library/python:{debian.MINOR}-slim"
        command = [str(buildkit.buildx), "build", "--builder", buildkit.builder, "--provenance=false"]
        command += ["--platform", ",".join(platforms), "--target", target, "--progress=plain"]
        command += [f"--build-arg={name}={value}" for name, value in arguments.items()]
        command += ["--output", f"type=image,name={image},push=true", str(ROOT)]
        done = subprocess.run(
            command, env=buildkit.environment, capture_output=True, text=True, check=False, timeout=600
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return image

    return build


@pytest.fixture(scope="session")
def own(new_workplace: NewWorkplace, registry: RealRegistry) -> dict[str, Any]:
    """What `publisher own-image --json` says."""
    return _published_by_itself(new_workplace, f"{registry.host}/own")


def _published_by_itself(new_workplace: NewWorkplace, place: str) -> dict[str, Any]:
    workplace = new_workplace(OWN=place, fresh=True)
    python = {"PUBLISHER_TARGETS__OWN__PYTHON": debian.MINOR}
    done = workplace.publisher("own-image", "--json", environment=python)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.fixture(scope="session", params=["Dockerfile", "own-image"])
def image(request: pytest.FixtureRequest) -> str:
    """The default form, made in either way."""
    if request.param == "Dockerfile":
        build: BuiltBy = request.getfixturevalue("by_buildx")
        return build("by-buildx", AMD64, ARM64)
    return str(request.getfixturevalue("own")["image"])


@pytest.fixture
def settings(
    tmp_path: Path, mlflow_server: MlflowServer, base_image: str
) -> Callable[..., Sequence[str | Path]]:
    """``settings("TARGET", registry="…")``: options of `docker run` for a publisher.toml, and this machine's way to
    the package index."""

    def made(target: str, **keys: object) -> list[str | Path]:
        lines = [f'mlflow_tracking_uri = "{mlflow_server.uri}"', f"[targets.{target}]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in {"base": base_image, **keys}.items()]
        (tmp_path / "publisher.toml").write_text("\n".join(lines) + "\n")
        pip = configparser.ConfigParser(interpolation=None)
        pip["global"] = machine.pip_settings()
        with (tmp_path / "pip.conf").open("w") as sink:
            pip.write(sink)
        (tmp_path / "authorities.pem").write_bytes(machine.authorities().read_bytes())
        places = {
            "publisher.toml": "/etc/publisher/publisher.toml",
            "pip.conf": "/etc/pip.conf",
            "authorities.pem": "/authorities.pem",
        }
        options: list[str | Path] = ["--env=SSL_CERT_FILE=/authorities.pem", "--network=host"]
        options += ["--env=REQUESTS_CA_BUNDLE=/authorities.pem"]
        for name, place in places.items():
            (tmp_path / name).chmod(0o644)
            options.append(f"--volume={tmp_path / name}:{place}:ro")
        return options

    return made


def test_it_polls_with_no_rights_at_all(
    image: str,
    docker: Docker,
    mlflow_server: MlflowServer,
    registry: RealRegistry,
    settings: Callable[..., Sequence[str]],
) -> None:
    """Without a command, as user 10001, on a read-only root: a tagged version is published for both platforms."""
    target = f"OWN_{uuid.uuid4().hex[:8].upper()}"
    model = small.register(mlflow_server, target.lower(), target)
    options = settings(target, registry=f"{registry.host}/from-inside", platforms=[AMD64, ARM64])
    docker.pull(image, AMD64)
    code, said = _run([*NOTHING, *options, image])
    assert code == 0, said
    found = published(mlflow_server, model, target)
    assert set(found.index().platforms) == {AMD64, ARM64}


def test_its_form(image: str, docker: Docker) -> None:
    """Less than 120 MB for each platform, no root, a health check, and what tells who it is; arm64's starts, too."""
    for platform, digest in _index(image).platforms.items():
        manifest, config = _platform(image, digest)
        assert sum(layer["size"] for layer in manifest["layers"]) < MOST, platform
        assert config["architecture"] == platform.partition("/")[2]
        settings = config["config"]
        assert settings["User"] == "10001:10001"
        assert settings["Entrypoint"] == ["publisher"]
        assert settings["Cmd"] == ["publish-models"]
        assert settings["WorkingDir"] == "/etc/publisher"
        assert settings["Volumes"] == {"/cache": {}}
        assert settings["Healthcheck"]["Test"] == ["CMD", "publisher", "health"]
        assert {"HOME=/tmp", "XDG_CACHE_HOME=/cache"} <= set(settings["Env"])
        assert settings["Labels"]["org.opencontainers.image.title"] == "model-publisher"
    assert docker.run_command(image, ARM64, ("--version",)).startswith("publisher ")


def test_the_scripts_and_the_cache_are_there(image: str, docker: Docker) -> None:
    """/app has the documents' scripts, which find the package; /cache belongs to the user; the package is whole."""
    code = """
import importlib.metadata, os, subprocess, sys, publisher.contexts, publisher.ownimage.wheel as wheel
said = subprocess.run([sys.executable, "/app/publish_models.py"], capture_output=True, text=True).stderr
assert "mlflow_tracking_uri is not set" in said, said
assert sorted(os.listdir("/app")) == ["download_models.py", "publish_models.py"]
assert os.stat("/cache").st_uid == os.getuid() == 10001
assert publisher.contexts.builtin().is_dir() and wheel.scripts().name == "app"
assert [e.name for e in importlib.metadata.entry_points(group="mlflow.request_header_provider")] == ["domino"]
"""
    docker.run_command(image, AMD64, ("-c", code), entrypoint="python")


def test_the_same_publisher_makes_the_same_image(
    own: Mapping[str, Any], new_workplace: NewWorkplace, registry: RealRegistry
) -> None:
    """A second one, from nothing, to another place: the same digest."""
    again = _published_by_itself(new_workplace, f"{registry.host}/own-again")
    assert again["downloaded"] > 0  # no memory of the first one helped
    assert again["digest"] == own["digest"]
    assert set(own["platforms"]) == {AMD64, ARM64}


def test_kaniko_is_in_the_other_form(  # noqa: PLR0917 - fixtures come by name
    by_buildx: BuiltBy,
    kaniko_image: str,
    docker: Docker,
    mlflow_server: MlflowServer,
    registry: RealRegistry,
    settings: Callable[..., Sequence[str]],
    tmp_path: Path,
) -> None:
    """`publish` of a version with a Dockerfile, in an ordinary container: its executor builds it."""
    executor = f"{registry.host}/kaniko/executor:tests"
    for command in (["tag", kaniko_image, executor], ["push", "--quiet", executor]):
        subprocess.run(["docker", *command], check=True, capture_output=True)
    image = by_buildx("by-buildx-kaniko", AMD64, target="kaniko", KANIKO_IMAGE=executor)
    subprocess.run(["docker", "image", "rm", executor], check=True, capture_output=True)
    files = {
        "templates/Dockerfile.template": "FROM scratch\nADD ${model_folder} /app/model\nADD ${model_client_folder} /app/\n",
        "client/execute_model.py": "print('hello')\n",
    }
    model = notebook.register_small(mlflow_server, "by-kaniko-inside", ["KANIKO"], files, tmp_path / "run")
    options = settings("KANIKO", registry=f"{registry.host}/kaniko", platforms=[AMD64], proof="off")
    docker.pull(image, AMD64)
    code, said = _run([*options, image, "publish", model.name, model.version])
    assert code == 0, said
    assert "kaniko builds for" in said
    assert set(published(mlflow_server, model, "KANIKO").index().platforms) == {AMD64}


def _run(arguments: Sequence[str | Path]) -> tuple[int, str]:
    """A container to its end: its exit code, and all that it said."""
    name = f"publisher-test-{uuid.uuid4().hex[:12]}"
    command = ["docker", "run", "--rm", "--name", name, "--platform", AMD64, *map(str, arguments)]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300
        )
    finally:
        # A client that was stopped by its time limit leaves the container running.
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
    return done.returncode, done.stdout[-6000:]


def _index(image: str) -> bare_client.Manifest:
    found = bare_client.of_reference(image)
    assert found
    return found


def _platform(image: str, digest: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest of one platform, and its config."""
    host, _, rest = image.partition("/")
    name = rest.rpartition(":")[0]
    found = bare_client.manifest(host, name, digest)
    assert found
    config = found.document["config"]["digest"]
    return found.document, requests.get(f"http://{host}/v2/{name}/blobs/{config}", timeout=30).json()

"""The main job: from a tag in MLflow to an image for two architectures in a registry, with real parts only."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass

import pytest

from tests import models
from tests.e2e.conftest import PLATFORMS, NewWorkplace, Workplace
from tests.engines import bare_client
from tests.engines.docker import Docker, predict
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry
from tests.models import Registered, same_numbers

needs_docker = pytest.mark.engine("docker")
each_platform = pytest.mark.parametrize("platform", PLATFORMS)
pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]


@dataclass(frozen=True, slots=True)
class Published:
    """A version after its poll: where it was made, what it is, and what its tags say."""

    workplace: Workplace
    model: Registered
    tags: dict[str, str]
    target: str

    def status(self, key: str) -> str:
        return self.tags.get(f"publisher.{self.target}.{key}", "")

    @property
    def image(self) -> str:
        return self.status("image")


def _published(
    workplace: Workplace, server: MlflowServer, model: Registered, target: str = "TEST"
) -> Published:
    published = Published(workplace, model, server.tags(model.name, model.version), target)
    assert published.status("state") == "published", published.tags
    return published


def _index(published: Published) -> bare_client.Manifest:
    index = bare_client.of_reference(published.image)
    assert index is not None, f"nothing at {published.image}"
    return index


def _layers(published: Published, platform: str) -> list[str]:
    host, _, rest = published.image.partition("/")
    name = rest.rpartition(":")[0]
    found = bare_client.manifest(host, name, _index(published).platforms[platform])
    assert found is not None
    return found.layers


@pytest.fixture(scope="module")
def sklearn(mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace) -> Published:
    """The notebook's model, tagged and polled once."""
    model = models.register_sklearn(mlflow_server.uri, "cancer")
    workplace = new_workplace(TEST=f"{registry.host}/demo")
    workplace.publisher("poll", "--once")
    return _published(workplace, mlflow_server, model)


@pytest.fixture(scope="module")
def kinds(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace
) -> dict[str, Published]:
    """Other models, published by one poll: with a client, in MLflow 2's way, code paths, onnx."""
    uri = mlflow_server.uri
    found = {
        "client": models.register_sklearn(uri, "cancer-client", tag_target="KINDS", client=True),
        "in-run": models.register_sklearn_in_run(uri, "cancer-in-run", tag_target="KINDS"),
        "pyfunc": models.register_pyfunc(uri, "scorer", tag_target="KINDS"),
        "onnx": models.register_onnx(uri, "line", tag_target="KINDS"),
    }
    workplace = new_workplace(KINDS=f"{registry.host}/kinds")
    workplace.publisher("poll", "--once")
    return {kind: _published(workplace, mlflow_server, model, "KINDS") for kind, model in found.items()}


def test_the_tag_is_the_digest_of_the_status_for_both_platforms(
    sklearn: Published, registry: RealRegistry
) -> None:
    """The status tags name the image by the template, and the registry's tag is that very digest, an index."""
    assert sklearn.image == f"{registry.host}/demo/cancer:v{sklearn.model.version}"
    index = _index(sklearn)
    assert index.digest == sklearn.status("digest")
    assert sorted(index.platforms) == sorted(PLATFORMS)


@needs_docker
@each_platform
def test_the_image_predicts_what_the_notebook_did(sklearn: Published, docker: Docker, platform: str) -> None:
    """The image, run by a real engine with a read-only root, answers with the notebook's own numbers."""
    with docker.run_image(sklearn.image, platform) as url:
        assert same_numbers(predict(url, sklearn.model.request), sklearn.model.predictions)


@needs_docker
@each_platform
@pytest.mark.parametrize("kind", ["pyfunc", "onnx"])
def test_other_flavors_predict_what_they_did(
    kinds: dict[str, Published], docker: Docker, kind: str, platform: str
) -> None:
    """A custom model with a package of its own, and one of machine code, run on both architectures."""
    published = kinds[kind]
    with docker.run_image(published.image, platform) as url:
        assert same_numbers(predict(url, published.model.request), published.model.predictions)


@needs_docker
@pytest.mark.parametrize(
    ("kind", "platform"), [("client", p) for p in PLATFORMS] + [("in-run", PLATFORMS[0])]
)
def test_a_client_is_the_command_of_its_image(
    kinds: dict[str, Published], docker: Docker, kind: str, platform: str
) -> None:
    """An image of a model with a client runs that client, which finds model and data where they were."""
    published = kinds[kind]
    said = json.loads(docker.run_command(published.image, platform).strip().splitlines()[-1])
    assert same_numbers(said["predictions"], published.model.predictions)


def test_a_second_poll_does_nothing_and_writes_nothing(
    sklearn: Published, mlflow_server: MlflowServer, registry: RealRegistry
) -> None:
    """Nothing has changed, so the next poll says so with the version's name, and neither side sees a write."""
    before = mlflow_server.tags(sklearn.model.name, sklearn.model.version)
    seen_registry, seen_mlflow = len(registry.log.read_bytes()), len(mlflow_server.log.read_bytes())
    done = sklearn.workplace.publisher("poll", "--once")
    said = done.stdout + done.stderr
    assert "nothing to do" in said.lower()
    assert sklearn.model.name in said
    assert mlflow_server.tags(sklearn.model.name, sklearn.model.version) == before
    assert not _writes(registry.log.read_bytes()[seen_registry:])
    assert not _writes(mlflow_server.log.read_bytes()[seen_mlflow:])


def test_the_logs_would_show_a_write(
    sklearn: Published, mlflow_server: MlflowServer, registry: RealRegistry
) -> None:
    """The publication itself is in both logs as writes: the test above looks where writes are told."""
    assert sklearn.image
    assert _writes(registry.log.read_bytes())
    assert _writes(mlflow_server.log.read_bytes())


def test_the_next_version_differs_in_the_model_alone(
    sklearn: Published, mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace
) -> None:
    """Unchanged requirements: a new model is one new layer, and everything below it is in the registry."""
    model = models.register_sklearn(mlflow_server.uri, sklearn.model.name, seed=7)
    assert model.predictions != sklearn.model.predictions
    sklearn.workplace.publisher("poll", "--once")
    after = _published(sklearn.workplace, mlflow_server, model)
    for platform in PLATFORMS:
        assert len(set(_layers(after, platform)) - set(_layers(sklearn, platform))) == 1


@needs_docker
@each_platform
def test_python_is_as_people_expect(sklearn: Published, docker: Docker, platform: str) -> None:
    """pip, importlib.metadata and console scripts see the environment; the user is numeric and not root."""

    def run(*arguments: str) -> str:
        return docker.run_command(sklearn.image, platform, arguments[1:], entrypoint=arguments[0])

    program = (
        "import importlib.metadata as m, json, os, sys;"
        "print(json.dumps([m.version('scikit-learn'), os.getuid(), os.getcwd(), sys.prefix, sys.executable]))"
    )
    version, user, folder, prefix, executable = json.loads(run("python", "-c", program))
    assert (user, folder, prefix, executable) == (10001, "/app", "/opt/venv", "/opt/venv/bin/python")
    assert re.search(rf"^scikit-learn\s+{re.escape(version)}$", run("python", "-m", "pip", "list"), re.M)
    assert "no broken requirements" in run("pip", "check").lower()
    assert re.match(r"mlflow, version \d", run("mlflow", "--version"))


def test_two_machines_make_one_digest(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace
) -> None:
    """Two cache folders and two empty repositories, so that neither can copy from the other: the same bytes."""
    model = models.register_pyfunc(mlflow_server.uri, "twice", tag_target=None)
    digests = []
    for target in ("ONE", "TWO"):
        place = f"{registry.host}/{target.lower()}-{uuid.uuid4().hex[:8]}"
        workplace = new_workplace(fresh=True, **{target: place})
        workplace.publisher("publish", model.name, model.version, "--target", target)
        digests.append(_published(workplace, mlflow_server, model, target).status("digest"))
    assert digests[0] == digests[1]


def test_a_dry_run_leaves_everything_as_it_was(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace
) -> None:
    """With --dry-run no image and no status appear, for a version that would be published."""
    model = models.register_pyfunc(mlflow_server.uri, "rehearsed", tag_target="DRY")
    before = mlflow_server.tags(model.name, model.version)
    workplace = new_workplace(DRY=f"{registry.host}/dry")
    workplace.publisher("publish", model.name, model.version, "--target", "DRY", "--dry-run")
    assert mlflow_server.tags(model.name, model.version) == before
    assert not [name for name in bare_client.repositories(registry.host) if name.startswith("dry/")]


def test_wrong_credentials_fail_with_a_reason_and_leave_nothing(
    mlflow_server: MlflowServer, private_registry: RealRegistry, new_workplace: NewWorkplace
) -> None:
    """A registry that refuses us: the status says so, nothing is there; right credentials then publish."""
    model = models.register_pyfunc(mlflow_server.uri, "refused", tag_target="PRIVATE")
    workplace = new_workplace(PRIVATE=f"{private_registry.host}/secret")
    wrong = {"REGISTRY_USER": private_registry.user, "REGISTRY_TOKEN": "canary-4f1c9e"}
    done = workplace.publisher("poll", "--once", environment=wrong, expect=None)
    tags = mlflow_server.tags(model.name, model.version)
    account = (private_registry.user, private_registry.password)
    assert done.returncode not in (0, 1, 2)
    assert tags["publisher.PRIVATE.state"] == "failed"
    assert private_registry.host in tags["publisher.PRIVATE.reason"]
    assert "canary-4f1c9e" not in done.stdout + done.stderr + json.dumps(tags)
    assert not [
        n for n in bare_client.repositories(private_registry.host, account) if n.startswith("secret/")
    ]

    right = {"REGISTRY_USER": private_registry.user, "REGISTRY_TOKEN": private_registry.password}
    workplace.publisher("publish", model.name, model.version, "--target", "PRIVATE", environment=right)
    published = _published(workplace, mlflow_server, model, "PRIVATE")
    index = bare_client.of_reference(published.image, account)
    assert index is not None
    assert index.digest == published.status("digest")


def test_status_lists_what_was_published(sklearn: Published) -> None:
    """`publisher status --json` tells image and digest of each version, from MLflow alone."""
    said = json.loads(sklearn.workplace.publisher("status", "--json").stdout)
    assert sklearn.status("digest") in json.dumps(said)
    assert sklearn.image in json.dumps(said)


def _writes(log: bytes) -> list[str]:
    """Requests in a server's log that change something there. MLflow's searches are reads by POST."""
    found = re.findall(
        r'(?:"|method=)((?:PUT|POST|PATCH|DELETE)\b[^\n]{0,120})', log.decode(errors="replace")
    )
    return [line for line in found if "/search" not in line]

"""The main job: from a tag in MLflow to an image for two architectures in a registry, with real parts only."""

from __future__ import annotations

import json
import re
import uuid

import pytest

from tests import models
from tests.e2e.conftest import NewWorkplace, Workplace
from tests.e2e.published import Published, outcomes, published
from tests.engines.debian import PLATFORMS
from tests.engines.docker import Docker, predict
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry
from tests.models import same_numbers

needs_docker = pytest.mark.engine("docker")
each_platform = pytest.mark.parametrize("platform", PLATFORMS)
pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]
SMALL = 1_000_000  # bytes; the environment has hundreds of times as many


@pytest.fixture(scope="module")
def workplace(registry: RealRegistry, new_workplace: NewWorkplace) -> Workplace:
    """The machine that publishes the notebook's model."""
    return new_workplace(TEST=f"{registry.host}/demo")


@pytest.fixture(scope="module")
def notebook(mlflow_server: MlflowServer, workplace: Workplace) -> Published:
    """The notebook's model, tagged and polled once."""
    model = models.register_sklearn(mlflow_server.uri, "cancer")
    workplace.publisher("poll", "--once")
    return published(mlflow_server, model)


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
    new_workplace(KINDS=f"{registry.host}/kinds").publisher("poll", "--once")
    return {kind: published(mlflow_server, model, "KINDS") for kind, model in found.items()}


def test_the_tag_is_the_digest_of_the_status_for_both_platforms(
    notebook: Published, registry: RealRegistry
) -> None:
    """The status tags name the image by the template, and the registry's tag is that very digest, an index."""
    assert notebook.image == f"{registry.host}/demo/cancer:v{notebook.model.version}"
    assert notebook.index().digest == notebook.status("digest")
    assert sorted(notebook.index().platforms) == sorted(PLATFORMS)


@needs_docker
@each_platform
def test_the_image_predicts_what_the_notebook_did(notebook: Published, docker: Docker, platform: str) -> None:
    """The image, run by a real engine with a read-only root, answers with the notebook's own numbers."""
    with docker.run_image(notebook.image, platform) as url:
        assert same_numbers(predict(url, notebook.model.request), notebook.model.predictions)


@needs_docker
@each_platform
@pytest.mark.parametrize("kind", ["pyfunc", "onnx"])
def test_other_flavors_predict_what_they_did(
    kinds: dict[str, Published], docker: Docker, kind: str, platform: str
) -> None:
    """A custom model with a package of its own, and one of machine code, run on both architectures."""
    version = kinds[kind]
    with docker.run_image(version.image, platform) as url:
        assert same_numbers(predict(url, version.model.request), version.model.predictions)


@needs_docker
@pytest.mark.parametrize(
    ("kind", "platform"), [*(("client", platform) for platform in PLATFORMS), ("in-run", PLATFORMS[0])]
)
def test_a_client_is_the_command_of_its_image(
    kinds: dict[str, Published], docker: Docker, kind: str, platform: str
) -> None:
    """An image of a model with a client runs that client, which finds model and data where they were."""
    version = kinds[kind]
    said = json.loads(docker.run_command(version.image, platform).strip().splitlines()[-1])
    assert same_numbers(said["predictions"], version.model.predictions)


def test_a_second_poll_does_nothing_and_writes_nothing(
    notebook: Published, workplace: Workplace, mlflow_server: MlflowServer, registry: RealRegistry
) -> None:
    """Nothing has changed, so the next poll says so with the version's name, and neither side sees a write."""
    logs = registry.log, mlflow_server.log
    assert all(_writes(log.read_bytes()) for log in logs)  # the publication's: they are told there
    seen = [len(log.read_bytes()) for log in logs]
    before = mlflow_server.tags(notebook.model.name, notebook.model.version)
    done = workplace.publisher("poll", "--once")
    assert "nothing to do" in (done.stdout + done.stderr).lower()
    assert notebook.model.name in done.stdout + done.stderr
    assert mlflow_server.tags(notebook.model.name, notebook.model.version) == before
    assert [_writes(log.read_bytes()[start:]) for log, start in zip(logs, seen, strict=True)] == [[], []]


def test_the_next_version_sends_its_model_alone(
    notebook: Published, workplace: Workplace, mlflow_server: MlflowServer
) -> None:
    """Unchanged requirements: a new model is one new layer, and no byte of the environment moves."""
    model = models.register_sklearn(mlflow_server.uri, notebook.model.name, seed=7)
    assert model.predictions != notebook.model.predictions
    outcome = outcomes(workplace.publisher("poll", "--once", "--json").stdout)[
        f"{model.name}/{model.version}"
    ]
    after = published(mlflow_server, model)
    for platform in PLATFORMS:
        assert len(set(after.layers(platform)) - set(notebook.layers(platform))) == 1
    assert outcome["downloaded"] == 0
    assert 0 < outcome["sent"] < SMALL


def test_a_new_pod_downloads_no_wheel(
    notebook: Published, mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace
) -> None:
    """An empty cache folder and unchanged requirements: the registry has the environment, so nothing is fetched."""
    model = models.register_sklearn(mlflow_server.uri, notebook.model.name, tag_target=None, seed=8)
    pod = new_workplace(fresh=True, TEST=f"{registry.host}/demo")
    done = pod.publisher("publish", model.name, model.version, "--target", "TEST", "--json")
    outcome = outcomes(done.stdout)[f"{model.name}/{model.version}"]
    assert outcome["state"] == "published"
    assert outcome["downloaded"] == 0
    assert 0 < outcome["sent"] < SMALL


@needs_docker
@each_platform
def test_python_is_as_people_expect(notebook: Published, docker: Docker, platform: str) -> None:
    """pip, importlib.metadata and console scripts see the environment; the user is numeric and not root."""

    def run(program: str, *arguments: str) -> str:
        return docker.run_command(notebook.image, platform, arguments, entrypoint=program)

    program = (
        "import importlib.metadata as m, json, os, sys;"
        "print(json.dumps([m.version('scikit-learn'), os.getuid(), os.getcwd(), sys.prefix, sys.executable]))"
    )
    version, user, folder, prefix, executable = json.loads(run("python", "-c", program))
    assert (user, folder, prefix, executable) == (10001, "/app", "/opt/venv", "/opt/venv/bin/python")
    listed = {entry["name"]: entry["version"] for entry in json.loads(run("pip", "list", "--format=json"))}
    assert listed["scikit-learn"] == version
    assert "no broken requirements" in run("python", "-m", "pip", "check").lower()
    assert re.match(r"mlflow, version \d", run("mlflow", "--version"))


def test_two_machines_make_one_digest(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace
) -> None:
    """Two cache folders and two empty repositories, so that neither can copy from the other: the same bytes."""
    model = models.register_pyfunc(mlflow_server.uri, "twice", tag_target=None)
    digests = []
    for target in ("ONE", "TWO"):
        place = f"{registry.host}/{target.lower()}-{uuid.uuid4().hex[:8]}"
        machine = new_workplace(fresh=True, **{target: place})
        machine.publisher("publish", model.name, model.version, "--target", target)
        digests.append(published(mlflow_server, model, target).index().digest)
    assert digests[0] == digests[1]


def test_status_lists_what_was_published(notebook: Published, workplace: Workplace) -> None:
    """`publisher status --json` tells state, image and digest of a version, from MLflow alone."""
    rows = json.loads(workplace.publisher("status", "--json").stdout)["versions"]
    row = next(
        each
        for each in rows
        if (each["model"], each["version"]) == (notebook.model.name, notebook.model.version)
    )
    assert (row["state"], row["image"], row["digest"]) == (
        "published",
        notebook.image,
        notebook.status("digest"),
    )


def _writes(log: bytes) -> list[str]:
    """Requests in a server's log that change something there; some of MLflow's searches are a POST."""
    found = re.findall(r'"((?:PUT|POST|PATCH|DELETE) [^"\n]*)', log.decode(errors="replace"))
    return [line for line in found if "/search" not in line]

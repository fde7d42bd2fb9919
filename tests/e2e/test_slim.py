"""A slim image of the notebook's model: half as large, proven before it is pushed, and it predicts the same."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from publisher.builders.bases import host_platform
from tests import models
from tests.e2e.conftest import NewWorkplace, Workplace
from tests.e2e.published import Published, published
from tests.engines import bare_client
from tests.engines.docker import Docker, predict
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry
from tests.models import Registered, same_numbers

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]
HERE = str(host_platform())
# Of each installed package: files that its RECORD names and that are not there, and parts that cannot be imported.
LACKING = """
import importlib, importlib.metadata, json, os, sysconfig
os.environ["GIT_PYTHON_REFRESH"] = "quiet"  # there is no git in any image
found = {}
for each in importlib.metadata.distributions(path=[sysconfig.get_path("purelib")]):
    gone = [str(file) for file in each.files if not each.locate_file(file).exists()]
    for name in sorted({file.parts[0] for file in each.files if file.name == "__init__.py" and len(file.parts) == 2}):
        try:
            importlib.import_module(name)
        except Exception as error:
            gone.append(f"{name}: {error}")
    found[each.name] = gone
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Slim:
    """The same version published slim, and as it is."""

    model: Registered
    slim: Published
    whole: Published


@pytest.fixture(scope="module")
def workplace(registry: RealRegistry, new_workplace: NewWorkplace) -> Workplace:
    """A machine with a slim target and one that is not."""
    made = new_workplace(SLIM=f"{registry.host}/slim", WHOLE=f"{registry.host}/whole")
    settings = made.folder / "publisher.toml"
    lines = settings.read_text().splitlines()
    lines = [f'platforms = ["{HERE}"]' if line.startswith("platforms") else line for line in lines]
    lines.insert(lines.index("[targets.SLIM]") + 1, "slim = true")
    settings.write_text("\n".join(lines) + "\n")
    return made


@pytest.fixture(scope="module")
def both(mlflow_server: MlflowServer, workplace: Workplace) -> Slim:
    """The notebook's model, with MLflow's own list of requirements, which names the whole mlflow."""
    model = models.register_sklearn(mlflow_server.uri, "cancer-slim", tag_target="SLIM")
    workplace.publisher("publish", model.name, model.version, "--target", "SLIM", "--target", "WHOLE")
    return Slim(model, published(mlflow_server, model, "SLIM"), published(mlflow_server, model, "WHOLE"))


def size(version: Published) -> int:
    """Bytes of the compressed layers, as they are pulled."""
    host, _, rest = version.image.partition("/")
    name = rest.rpartition(":")[0]
    [digest] = version.index().platforms.values()
    found = bare_client.manifest(host, name, digest, None)
    assert found is not None
    return sum(layer["size"] for layer in found.document["layers"])


def test_it_is_about_half_as_large(both: Slim) -> None:
    """What the embedded builder makes of the whole list is smaller already than the documents' own image."""
    ours, theirs = size(both.slim), size(both.whole)
    assert ours <= 0.55 * theirs, f"{ours / 1e6:.1f} MB of {theirs / 1e6:.1f} MB"


def test_the_status_says_what_was_left_out_and_that_it_predicts(both: Slim) -> None:
    """mlflow-skinny went out because a prediction was replayed with it; the other target says nothing of it."""
    proof = both.slim.status("proof")
    assert f"prediction ok for {HERE}" in proof
    assert "slim: mlflow-skinny is in mlflow's place; files that serving never needs are left out" in proof
    assert "slim" not in both.whole.status("proof")


@pytest.mark.engine("docker")
def test_it_predicts_the_same(both: Slim, docker: Docker) -> None:
    """Pulled and run by Docker, it serves the notebook's numbers."""
    with docker.run_image(both.slim.image, HERE) as url:
        assert same_numbers(predict(url, both.model.request), both.model.predictions)


@pytest.mark.engine("docker")
def test_every_package_is_whole(both: Slim, docker: Docker) -> None:
    """In the slim image each package can be imported, and has every file that its RECORD names."""
    said = docker.run_command(both.slim.image, HERE, ["-c", LACKING], entrypoint="python")
    found = json.loads(said.strip().splitlines()[-1])
    assert {"mlflow-skinny", "scikit-learn", "pandas"} <= set(found)
    assert not {"mlflow", "pyarrow", "pip"} & set(found)
    assert {name: gone for name, gone in found.items() if gone} == {}

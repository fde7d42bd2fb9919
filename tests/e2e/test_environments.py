"""Packages from everywhere on the whole way: a private index, a wheel in the model, a source, a base by Python."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from publisher.errors import BuildError
from tests import sources, wheels
from tests.e2e.conftest import NewWorkplace
from tests.e2e.published import published
from tests.engines import require
from tests.engines.docker import Docker
from tests.engines.mlflow import MlflowServer
from tests.engines.packages import PASSWORD, USER, PackageIndex, serve
from tests.engines.registry import RealRegistry
from tests.models import Registered

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
RUN = "import house_rules, mine, plain; print(house_rules.x, mine.x, plain.made)\n"


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackageIndex]:
    """An index behind a password: a wheel, and a package that is there as source alone."""
    require("bwrap", "bubblewrap")
    folder = tmp_path_factory.mktemp("packages")
    wheels.make(folder, "house_rules", {"house_rules/__init__.py": b"x = 2\n"}, requires=("plain",))
    sources.make(folder, "plain")
    with serve(folder) as index:
        yield index


def register(server: MlflowServer, folder: Path, name: str, python: str = f"{PYTHON}.0") -> Registered:
    """A model whose files disagree: a wheel of its own, a private package, another pin in conda.yaml."""
    (folder / "mymodel" / "code").mkdir(parents=True)
    mine = wheels.make(folder / "mymodel" / "code", "mine", {"mine/__init__.py": b"x = 3\n"})
    (folder / "mymodel" / "MLmodel").write_text("flavors: {}\n")
    (folder / "mymodel" / "requirements.txt").write_text(f"./code/{mine.name}\nhouse-rules\nidna==3.10\n")
    conda = f"dependencies:\n- python={python}\n- pip:\n  - idna==3.9\n"
    (folder / "mymodel" / "conda.yaml").write_text(conda)
    (folder / "client").mkdir()
    (folder / "client" / "run.py").write_text(RUN)
    client = server.client()
    run = client.create_run("0")
    client.log_artifacts(run.info.run_id, str(folder))
    client.create_registered_model(name)
    tags = {"EXTERNAL_TARGET_PACKAGES": "true", "MODEL_EXECUTE_PATH": "client/run.py"}
    version = client.create_model_version(name, run.info.artifact_uri, run.info.run_id, tags=tags).version
    return Registered(name, str(version), {}, None)


@pytest.fixture(scope="module")
def environment(private: PackageIndex, base_image: str) -> dict[str, str]:
    """What a pod of the site has: the index's account apart from its address, and bases by Python."""
    return {
        "UV_INDEX_CORP_USERNAME": USER,
        "UV_INDEX_CORP_PASSWORD": PASSWORD,
        "PUBLISHER_TARGETS__PACKAGES__INDEX": f"corp={private.url}\nhttps://pypi.org/simple",
        "PUBLISHER_TARGETS__PACKAGES__BASE": f"{PYTHON}={base_image.format(python=PYTHON)}",
    }


@pytest.fixture(scope="module")
def done(
    environment: dict[str, str],
    mlflow_server: MlflowServer,
    registry: RealRegistry,
    new_workplace: NewWorkplace,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Registered, Path, subprocess.CompletedProcess[str]]:
    """The version, the publisher's folder, and what it said."""
    model = register(mlflow_server, tmp_path_factory.mktemp("model"), "packages")
    place = new_workplace(fresh=True, PACKAGES=f"{registry.host}/packages")
    said = place.publisher("publish", model.name, model.version, environment=environment)
    return model, place.folder, said


@pytest.mark.engine("docker")
def test_the_image_has_them_all(
    done: tuple[Registered, Path, object], mlflow_server: MlflowServer, docker: Docker
) -> None:
    """The private package, what was built of source for it, and the model's own wheel are imported in a container."""
    assert docker.run_command(published(mlflow_server, done[0], "PACKAGES").image, "linux/amd64").split() == [
        "2",
        "3",
        "1",
    ]


def test_what_was_decided_is_told(done: tuple[object, object, subprocess.CompletedProcess[str]]) -> None:
    """Where the files disagree, and what was built of source, is in the output."""
    said = " ".join((done[2].stdout + done[2].stderr).split())
    assert "conda.yaml disagrees with requirements.txt, which is taken: idna==3.9 (taken: idna==3.10)" in said
    assert "plain 1.0 has no wheel and was built of its source" in said


def test_the_password_is_nowhere(
    done: tuple[Registered, Path, subprocess.CompletedProcess[str]],
    mlflow_server: MlflowServer,
    registry: RealRegistry,
) -> None:
    """Not in output, status, cache folder, its file names, or any blob of the registry, in any of its forms."""
    model, folder, said = done
    both = f"{USER}:{PASSWORD}".encode()
    forms = [PASSWORD.encode(), quote(PASSWORD, safe="").encode(), base64.b64encode(both), b"canary/"]
    texts = [said.stdout.encode(), said.stderr.encode()]
    texts.append(json.dumps(mlflow_server.tags(model.name, model.version)).encode())
    seen = 0
    for place in (folder, registry.folder):
        for path in place.rglob("*"):
            texts.append(os.fsencode(path))
            if path.is_file():
                content = path.read_bytes()
                texts.append(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
                seen += 1
    assert seen > 20
    assert not [text[:200] for text in texts for form in forms if form in text]


def test_another_python_is_told_with_those_that_there_are(
    environment: dict[str, str],
    mlflow_server: MlflowServer,
    registry: RealRegistry,
    new_workplace: NewWorkplace,
    tmp_path: Path,
) -> None:
    """A model of a Python for which the target has no base image names it and the table's own."""
    model = register(mlflow_server, tmp_path, "packages-of-39", "3.9.1")
    place = new_workplace(PACKAGES=f"{registry.host}/packages")
    said = place.publisher(
        "publish",
        model.name,
        model.version,
        environment=environment,
        expect=BuildError.exit_code,
    )
    text = " ".join((said.stdout + said.stderr).split())
    assert f"the model needs Python 3.9, and the target PACKAGES has base images for {PYTHON} alone" in text

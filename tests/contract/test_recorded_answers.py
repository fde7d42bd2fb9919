"""What a model answers its input example is kept with it where it is registered, whichever MLflow serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from publisher.checks.replay import EXAMPLE, RECORDED
from publisher.notebook import register
from tests.contract.test_notebook import place
from tests.engines import mlflow_versions
from tests.engines.mlflow import MlflowServer, serve
from tests.engines.mlflow_versions import NEWEST_2, ROOT

__all__ = ["place"]
PINNED = ["six==1.17.0"]
ROWS = numpy.array([[1.0, 2.0], [3.0, 4.0]])


def files(server: MlflowServer, name: str, folder: Path) -> Path:
    """The model of a version, as others get it."""
    from mlflow import artifacts  # noqa: PLC0415 - takes seconds

    assert server.client().get_model_version(name, "1").status == "READY"
    return Path(artifacts.download_artifacts(artifact_uri=f"models:/{name}/1", dst_path=str(folder)))


def twice(model_input: Any) -> Any:
    return model_input * 2


def test_the_answer_lies_beside_the_example(mlflow_server: MlflowServer, tmp_path: Path) -> None:
    """As MLflow's server writes it, of the model as it was logged."""
    made = register(twice, "answer-kept", input_example=ROWS, pip_requirements=PINNED)
    assert made.notes == ()
    model = files(mlflow_server, "answer-kept", tmp_path / "got")
    assert json.loads((model / RECORDED).read_text()) == {"predictions": [[2.0, 4.0], [6.0, 8.0]]}
    assert json.loads((model / EXAMPLE).read_text()) == {"inputs": ROWS.tolist()}


@pytest.mark.parametrize("asked", [True, False])
def test_none_is_kept_where_there_is_none(mlflow_server: MlflowServer, tmp_path: Path, asked: bool) -> None:
    """A model that fails is registered all the same, and the note says why; who does not want one hears nothing."""

    def fails(model_input: Any) -> Any:
        raise KeyError("column")

    name = f"answer-none-{asked}"
    made = register(fails, name, input_example=ROWS, pip_requirements=PINNED, record_answer=asked)
    assert ["is not recorded" in note and "KeyError" in note for note in made.notes] == [True] * asked
    assert not (files(mlflow_server, name, tmp_path / "got") / RECORDED).exists()


SCRIPT = """\
import sys
import numpy
from publisher.notebook import register

def twice(model_input):
    return model_input * 2

made = register(twice, sys.argv[1], input_example=numpy.ones((1, 2)), pip_requirements=["six==1.17.0"])
assert made.notes == (), made.notes
"""


@pytest.fixture(scope="module")
def newest_2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with serve(tmp_path_factory.mktemp("answers2") / "s", python=mlflow_versions.python(NEWEST_2)) as server:
        yield server


@pytest.mark.parametrize(("server", "client"), [("newest_2", "3"), ("mlflow_server", NEWEST_2)])
def test_mlflow_2(request: pytest.FixtureRequest, place: Path, server: str, client: str) -> None:
    """A server of MLflow 2, and a notebook with it: the model is a folder of its run."""
    running: MlflowServer = request.getfixturevalue(server)
    interpreter = sys.executable if client == "3" else str(mlflow_versions.python(client))
    name = f"answers-{server}-{client[0]}"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": running.uri, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [interpreter, "-c", SCRIPT, name],
        env=environment,
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    version = running.client().get_model_version(name, "1")
    client_of = running.client()
    artifact = f"{version.source.rpartition('/')[2]}/{RECORDED}"
    got = client_of.download_artifacts(version.run_id, artifact, str(place))
    assert json.loads(Path(got).read_text()) == {"predictions": [[2.0, 2.0]]}

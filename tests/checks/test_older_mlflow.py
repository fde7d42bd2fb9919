"""The replay under the MLflow of other years: Flask's server, examples without a serving form, images without Flask."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import uv

from publisher.checks import replay
from publisher.checks.prediction import prediction
from publisher.checks.surveys import Surveys
from publisher.checks.verdict import Verdict
from tests.checks.replaying import AMD64, CLIENT, SERVES, Here, packed
from tests.engines import mlflow_versions
from tests.engines.mlflow_versions import NEWEST_2, OLD_2

SAVE = """
import sys
import mlflow, pandas
from mlflow.models import infer_signature

class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input.sum(axis=1).to_frame("total")

rows = pandas.DataFrame({"a": [1.0, 2.0], "b": [0.5, 4.0]})
mlflow.pyfunc.save_model(
    sys.argv[1], python_model=Model(), input_example=rows, pip_requirements=["six==1.17.0"],
    signature=infer_signature(rows, rows.sum(axis=1).to_frame("total")),
)
"""


@pytest.fixture(scope="module", params=[OLD_2, NEWEST_2])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Here:
    python = str(mlflow_versions.python(request.param))
    folder = tmp_path_factory.mktemp("older") / "model"
    subprocess.run([python, "-c", SAVE, str(folder)], check=True, capture_output=True, timeout=120)
    (folder / replay.RECORDED).write_text(json.dumps({"predictions": [{"total": 1.5}, {"total": 6.0}]}))
    # The server of 2.22 asks an application for what FastAPI has no more.
    then = folder.with_name("then")
    fitting = ["pip", "install", "--quiet", "--python", python, "--target", str(then), "fastapi==0.115.12"]
    subprocess.run([uv.find_uv_bin(), *fitting], check=True, timeout=120)
    return Here(folder, own=True, python=python, paths=str(then))


def verdict(here: Here, **config: object) -> Verdict:
    layout = packed(here.model, **config)
    return prediction(layout, AMD64, layout.top.digest, here, Surveys(), seconds=120)


def test_its_server_answers(saved: Here) -> None:
    """By the application that this MLflow makes, whichever framework that is of."""
    found = verdict(saved, **SERVES)
    assert found.state == "ok", found
    assert "as its signature says, and as recorded" in found.reason


def test_the_model_alone_answers_without_flask(saved: Here, tmp_path: Path) -> None:
    """A client's image has MLflow and no web framework: what the server would do is done without its module."""
    (tmp_path / "flask.py").write_text("raise ImportError('no flask here')\n")
    (tmp_path / "fastapi.py").write_text("raise ImportError('no fastapi here')\n")
    bare = Here(saved.model, own=True, python=saved.python, paths=str(tmp_path))
    assert "and as recorded; what the image starts" in verdict(bare, **CLIENT).reason
    served = verdict(bare, **SERVES)
    assert served.state == "failed"
    assert "ImportError: no f" in served.reason

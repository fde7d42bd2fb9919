# ruff: noqa: PLC0415 - MLflow and scikit-learn take seconds to import: tests without models need not wait
"""The documents' notebook: a model, its client and its templates are logged in one run, and the run is the version."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.engines.mlflow import MlflowServer
from tests.models import Registered, pins, tracking, train

FILES = Path(__file__).parent / "documents"
TAGS = {
    "MODEL_FOLDER": "mymodel",
    "MODEL_CLIENT_FOLDER": "client",
    "MODEL_TEMPLATES_FOLDER": "templates",
    "MODEL_ENTRY_POINT": "python",
    "MODEL_EXECUTE_PATH": "client/execute_model.py",
}
# All that the client and the model import: pip under emulation takes a second or more for each package.
_CLIENT = ("mlflow-skinny", "cloudpickle", "numpy", "pandas")
_NEEDED = (*_CLIENT, "scikit-learn", "scipy")
_LINE = """\
import mlflow.pyfunc
import numpy
from mlflow.models import set_model


class Line(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input.to_numpy() @ numpy.array([3.25, -0.75])


set_model(Line())
"""


def register(server: MlflowServer, name: str, targets: Sequence[str], folder: Path) -> Registered:
    """Run the notebook; `targets`: the names of the targets whose tags the version gets. `folder` is for its files."""
    import mlflow

    model, rows, expected, signature = train(0)

    def log() -> None:
        mlflow.sklearn.log_model(
            sk_model=model,
            artifact_path="mymodel",
            signature=signature,
            input_example=rows[:1],
            serialization_format="cloudpickle",  # skops would be more to install, and all that loads it
            pip_requirements=pins(*_NEEDED),
            pyfunc_predict_fn="predict_proba",
        )

    run_id = _run(server, log, rows, folder)
    return Registered(name, _version(server, name, run_id, targets), {}, expected)


def register_line(server: MlflowServer, name: str, targets: Sequence[str], folder: Path) -> Registered:
    """The same run with a model of Python code, for which an image needs no more than its client does."""
    import mlflow
    import pandas

    rows = pandas.DataFrame({"length": [1.0, 2.5, -4.0], "width": [0.5, 4.0, 8.0]})
    expected = [3.25 * length - 0.75 * width for length, width in rows.itertuples(index=False)]
    code = folder / "line.py"
    code.write_text(_LINE)

    def log() -> None:
        mlflow.pyfunc.log_model(
            artifact_path="mymodel",
            python_model=str(code),
            signature=mlflow.models.infer_signature(rows, expected),
            pip_requirements=pins(*_CLIENT),
        )

    run_id = _run(server, log, rows, folder)
    return Registered(name, _version(server, name, run_id, targets), {}, expected)


def _run(server: MlflowServer, log_model: Callable[[], None], rows: Any, folder: Path) -> str:
    """The id of a run that has the model, its client with the rows to predict, and the templates."""
    import mlflow

    features = folder / "features.json"
    rows.to_json(features, orient="records", lines=True)
    with tracking(server.uri), mlflow.start_run() as run:
        log_model()
        mlflow.log_artifact(str(features), "client")
        for path in sorted(FILES.glob("*/*.*")):
            mlflow.log_artifact(str(path), path.parent.name)
    return str(run.info.run_id)


def register_small(
    server: MlflowServer, name: str, targets: Sequence[str], files: Mapping[str, str], folder: Path
) -> Registered:
    """The same form with a model that is a file of text, built in a second: `files` by their paths in the run."""
    client = server.client()
    run = client.create_run("0").info
    for path, text in {"mymodel/MLmodel": "flavors: {}\n", **files}.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    client.log_artifacts(run.run_id, str(folder))
    return Registered(name, _version(server, name, run.run_id, targets), {}, None)


def _version(server: MlflowServer, name: str, run_id: str, targets: Sequence[str]) -> str:
    client = server.client()
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    source = client.get_run(run_id).info.artifact_uri
    tags = {**TAGS, **{f"EXTERNAL_TARGET_{target}": "True" for target in targets}}
    return str(client.create_model_version(name, source, run_id, tags=tags).version)

# ruff: noqa: PLC0415 - MLflow and scikit-learn take seconds to import: tests without models need not wait
"""Models as people make them, trained, logged and registered against a real MLflow server.

Each function returns what the notebook saw: the rows that it sent and the predictions that it got, from the
model object itself, so that an image is held to the notebook and not to another copy of the image.
"""

from __future__ import annotations

import json
import os
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

CLIENT = '''\
"""Predicts the rows beside it with the model in the image, and prints the predictions as JSON."""

import json
from pathlib import Path

import mlflow.pyfunc
import pandas

here = Path(__file__).parent
rows = json.loads((here / "features.json").read_text())
model = mlflow.pyfunc.load_model(str(here.parent / "model"))
print(json.dumps({"predictions": model.predict(pandas.DataFrame(**rows)).tolist()}))
'''


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered version. `request` is a body for /invocations; `predictions` what the notebook got for it."""

    name: str
    version: str
    request: Mapping[str, Any]
    predictions: Any


def register_sklearn(
    uri: str, name: str, *, tag_target: str | None = "TEST", client: bool = False, seed: int = 0
) -> Registered:
    """The notebook of the documents: breast cancer, logistic regression, logged in MLflow 3's way.

    With `client`, the run also holds a client folder, and the version the tags that make it the image's
    command. Another `seed` trains on another split: a new model with the same requirements.
    """
    import mlflow

    model, rows, expected, signature = train(seed)
    with tracking(uri), tempfile.TemporaryDirectory() as folder, mlflow.start_run() as run:
        info = mlflow.sklearn.log_model(
            model,
            name="mymodel",
            input_example=rows,
            signature=signature,
            registered_model_name=name,
            pyfunc_predict_fn="predict_proba",
        )
        if client:
            mlflow.log_artifacts(str(_client_folder(Path(folder), rows)), "client")
        number = str(info.registered_model_version)
        _tag(uri, name, number, tag_target, client=client)
        assert run.info.run_id
    return Registered(name, number, {"dataframe_split": rows.to_dict(orient="split", index=False)}, expected)


def register_sklearn_in_run(uri: str, name: str, *, tag_target: str | None = "TEST") -> Registered:
    """The same in MLflow 2's way: model and client are folders of the run, and the version's source its root."""
    import mlflow

    model, rows, expected, signature = train(0)
    with tracking(uri), tempfile.TemporaryDirectory() as folder, mlflow.start_run() as run:
        saved = Path(folder) / "saved"
        mlflow.sklearn.save_model(
            model, str(saved), input_example=rows, signature=signature, pyfunc_predict_fn="predict_proba"
        )
        mlflow.log_artifacts(str(saved), "mymodel")
        mlflow.log_artifacts(str(_client_folder(Path(folder), rows)), "client")
        client = mlflow.MlflowClient(uri, uri)
        client.create_registered_model(name)
        number = str(client.create_model_version(name, run.info.artifact_uri, run.info.run_id).version)
        _tag(uri, name, number, tag_target, client=True)
    return Registered(name, number, {"dataframe_split": rows.to_dict(orient="split", index=False)}, expected)


def register_pyfunc(uri: str, name: str, *, tag_target: str | None = "TEST") -> Registered:
    """A Python model with a package of its own (code_paths) and an artifact."""
    import mlflow
    import pandas

    rows = pandas.DataFrame({"length": [1.0, 2.5, -4.0], "width": [0.5, 4.0, 8.0]})
    factors = {"length": 3.25, "width": -0.75}
    with tracking(uri), tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        package = root / "house_rules"
        package.mkdir()
        (package / "__init__.py").write_text('"""Rules of the house."""\n')
        (package / "score.py").write_text(
            textwrap.dedent("""\
            def score(row, factors):
                return sum(row[key] * factor for key, factor in factors.items())
            """)
        )
        (root / "factors.json").write_text(json.dumps(factors))
        # Models from code: a pickled class of this module could not be loaded where this module is not.
        (root / "scorer.py").write_text(
            textwrap.dedent("""\
            import json

            import mlflow.pyfunc
            from mlflow.models import set_model


            class Scorer(mlflow.pyfunc.PythonModel):
                def load_context(self, context):
                    with open(context.artifacts["factors"]) as file:
                        self.factors = json.load(file)

                def predict(self, context, model_input, params=None):
                    from house_rules.score import score

                    return [score(row, self.factors) for row in model_input.to_dict("records")]


            set_model(Scorer())
            """)
        )
        with mlflow.start_run():
            info = mlflow.pyfunc.log_model(
                name="scorer",
                python_model=str(root / "scorer.py"),
                code_paths=[str(package)],
                artifacts={"factors": str(root / "factors.json")},
                signature=mlflow.models.infer_signature(rows, [1.0]),
                pip_requirements=pins("mlflow", "pandas", "numpy"),
                registered_model_name=name,
            )
        number = str(info.registered_model_version)
        _tag(uri, name, number, tag_target)
    expected = [3.25 * a - 0.75 * b for a, b in rows.itertuples(index=False)]
    return Registered(name, number, {"dataframe_split": rows.to_dict(orient="split", index=False)}, expected)


def register_onnx(uri: str, name: str, *, tag_target: str | None = "TEST") -> Registered:
    """A tiny ONNX graph, y = x·W + b, run by onnxruntime: machine code for each architecture."""
    import mlflow
    import numpy
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy.array([[1.5, -2.0], [0.25, 4.0], [-1.0, 0.5]], dtype=numpy.float32)
    bias = numpy.array([0.125, -0.25], dtype=numpy.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "W", "b"], ["y"])],
        "line",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(weights, "W"), numpy_helper.from_array(bias, "b")],
    )
    # onnxruntime lags behind onnx: the newest format may be one that it cannot read yet.
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    rows = numpy.array([[1, 2, 3], [-4, 0.5, 6]], dtype=numpy.float32)
    expected = rows @ weights + bias
    with tracking(uri), mlflow.start_run():
        info = mlflow.onnx.log_model(
            model,
            name="line",
            signature=mlflow.models.infer_signature({"x": rows}, {"y": expected}),
            onnx_execution_providers=["CPUExecutionProvider"],
            # Its arm64 library crashes on loading under Debian 12's qemu (7.2) from 1.28.0 on.
            pip_requirements=[*pins("mlflow", "onnx", "pandas", "numpy"), "onnxruntime==1.27.0"],
            registered_model_name=name,
        )
    number = str(info.registered_model_version)
    _tag(uri, name, number, tag_target)
    return Registered(name, number, {"inputs": {"x": rows.tolist()}}, {"y": expected.tolist()})


def same_numbers(ours: Any, theirs: Any) -> bool:
    """Equal in shape and to nine digits: another architecture rounds the last ones differently."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return ours.keys() == theirs.keys() and all(same_numbers(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same_numbers, ours, theirs))
    return bool(abs(ours - theirs) <= 1e-9 * max(1.0, abs(ours), abs(theirs)))


def train(seed: int) -> tuple[Any, Any, list[list[float]], Any]:
    """A model, rows of its test set, the probabilities that it gives them, and their signature."""
    from mlflow.models import infer_signature
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, labels = load_breast_cancer(return_X_y=True, as_frame=True)
    train, test, train_labels, _ = train_test_split(features, labels, random_state=seed)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train, train_labels)
    rows = test.head(10).reset_index(drop=True)
    predictions = model.predict_proba(rows)
    return model, rows, predictions.tolist(), infer_signature(rows, predictions)


def _client_folder(folder: Path, rows: Any) -> Path:
    client = folder / "client"
    client.mkdir()
    (client / "execute_model.py").write_text(CLIENT)
    (client / "features.json").write_text(json.dumps(rows.to_dict(orient="split", index=False)))
    return client


def _tag(uri: str, name: str, number: str, target: str | None, *, client: bool = False) -> None:
    from mlflow import MlflowClient

    tags: dict[str, str] = {}
    if client:
        tags |= {"MODEL_FOLDER": "mymodel", "MODEL_CLIENT_FOLDER": "client"}
        tags |= {"MODEL_ENTRY_POINT": "python", "MODEL_EXECUTE_PATH": "client/execute_model.py"}
    if target:
        tags[f"EXTERNAL_TARGET_{target}"] = "true"
    for key, value in tags.items():
        MlflowClient(uri, uri).set_model_version_tag(name, number, key, value)


def pins(*packages: str) -> list[str]:
    """Requirements of just the versions that run here."""
    return [f"{package}=={version(package)}" for package in packages]


@contextmanager
def tracking(uri: str) -> Iterator[None]:
    """Lend MLflow's fluent functions a server. Its own setter would leave the address to every later process."""
    before = {key: os.environ.get(key) for key in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}
    os.environ.update(dict.fromkeys(before, uri))
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value

# ruff: noqa: PLC0415 - MLflow and scikit-learn take seconds to import: tests without models need not wait
"""The documents' notebook: a model, its client and its templates are logged in one run, and the run is the version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

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
# All that the model and its client import: pip under emulation takes a second or more for each package.
_NEEDED = ("mlflow-skinny", "cloudpickle", "numpy", "pandas", "scikit-learn", "scipy")


def register(server: MlflowServer, name: str, targets: Sequence[str], folder: Path) -> Registered:
    """Run the notebook; `targets`: the names of the targets whose tags the version gets. `folder` is for its files."""
    import mlflow

    model, rows, expected, signature = train(0)
    features = folder / "features.json"
    rows.to_json(features, orient="records", lines=True)
    with tracking(server.uri), mlflow.start_run() as run:
        mlflow.sklearn.log_model(
            sk_model=model,
            artifact_path="mymodel",
            signature=signature,
            input_example=rows[:1],
            serialization_format="cloudpickle",  # skops would be more to install, and all that loads it
            pip_requirements=pins(*_NEEDED),
            pyfunc_predict_fn="predict_proba",
        )
        mlflow.log_artifact(str(features), "client")
        for path in sorted(FILES.glob("*/*.*")):
            mlflow.log_artifact(str(path), path.parent.name)
    number = _version(server, name, run.info.run_id, targets)
    return Registered(name, number, {}, expected)


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

"""A model registry to try MlflowSource on: a real server with models of both ages, and a proxy that lies for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from publisher.domain import ModelVersion, Platform, Target
from publisher.progress import Silent
from publisher.sources.base import Fetched
from publisher.sources.mlflow import MlflowSource
from tests.contract.lying_proxy import LyingProxy, lying_proxy
from tests.engines.mlflow import MlflowServer

TAG = "EXTERNAL_TARGET_PLTR-FOUNDRY"
LISTING = "GET /api/2.0/mlflow-artifacts/artifacts?"
FILE = "GET /api/2.0/mlflow-artifacts/artifacts/"


def target(tag: str) -> Target:
    return Target("lab", tag, "127.0.0.1:5000", (Platform("linux", "amd64"),), "python:3.11-slim")


class Echo(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    def predict(self, context, model_input: list[str], params=None) -> list[str]:  # type: ignore[no-untyped-def]
        return model_input


class Seen(Silent):
    """Adds up what progress was told."""

    def __init__(self) -> None:
        self.expected = self.done = 0

    def expect(self, subject: str, task: str, total: int) -> None:
        self.expected += total

    def advance(self, subject: str, task: str, amount: int) -> None:
        self.done += amount


class Lab:
    """A registry with an MLflow 3 model and an MLflow 2 run, and a source that sees both."""

    def __init__(self, server: MlflowServer, folder: Path) -> None:
        self.server = server
        self.client: MlflowClient = server.client()
        self.source = MlflowSource(server.uri, os.environ)
        self.names = 0
        self.folder = folder
        mlflow.set_tracking_uri(server.uri)
        try:
            mlflow.set_experiment("contract")
            with mlflow.start_run() as run:
                logged = mlflow.pyfunc.log_model(
                    name="mymodel", python_model=Echo(), pip_requirements=["numpy"]
                )
                (folder / "client" / "lib").mkdir(parents=True)
                (folder / "client" / "app.py").write_text("print('hello')\n")
                (folder / "client" / "lib" / "a b%.txt").write_text("text\n")
                mlflow.log_artifacts(str(folder / "client"), "client")
            self.model, self.model_id, self.run3 = logged.model_uri, logged.model_id, run.info.run_id
            mlflow.pyfunc.save_model(folder / "saved", python_model=Echo(), pip_requirements=["numpy"])
        finally:
            mlflow.set_tracking_uri(None)
        self.run2 = self.run(mymodel=folder / "saved", client=folder / "client")

    def run(self, **folders: Path) -> str:
        """A run with these artifact folders, as MLflow 2 leaves it."""
        run = self.client.create_run(self.client.get_experiment_by_name("contract").experiment_id)
        for name, folder in folders.items():
            self.client.log_artifacts(run.info.run_id, str(folder), name)
        run_id: str = run.info.run_id
        return run_id

    def root(self, run_id: str) -> str:
        uri: str = self.client.get_run(run_id).info.artifact_uri
        return uri

    def register(
        self, uri: str, run_id: str | None, model_id: str | None = None, **tags: str
    ) -> ModelVersion:
        """A version of a new model."""
        self.names += 1
        name = f"model{self.names}"
        self.client.create_registered_model(name)
        made = self.client.create_model_version(name, uri, run_id, tags=tags, model_id=model_id)
        return self.source.get(name, made.version)


@pytest.fixture(scope="session")
def lab(mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(mlflow_server, tmp_path_factory.mktemp("lab"))


@pytest.fixture
def proxy(lab: Lab) -> Iterator[LyingProxy]:
    with lying_proxy(lab.server.uri) as running:
        yield running


def files(folder: Path | None) -> dict[str, bytes]:
    assert folder is not None
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def fetch(source: MlflowSource, version: ModelVersion, folder: Path) -> Fetched:
    return source.fetch(version, folder, Silent(), str(version))

"""Artifacts in S3 (moto's server): handed out by the MLflow server, or read there directly; and runs that are gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from publisher.errors import ArtifactError, ModelRegistryError
from publisher.sources.mlflow import MlflowSource
from tests.contract.mlflow_lab import fetch, files, target
from tests.engines import mlflow_versions
from tests.engines.mlflow import MlflowServer, serve
from tests.engines.s3 import BUCKET, S3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, s3: S3) -> Iterator[MlflowServer]:
    """A server that keeps artifacts in S3; it hands them out, except for experiments that lie in S3 directly."""
    folder = tmp_path_factory.mktemp("mlflow-s3") / "server"
    with serve(folder, destination=f"s3://{BUCKET}/proxied", more=s3.environment) as running:
        yield running


@pytest.fixture
def with_s3(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """The publisher can reach the S3 too."""
    for key, value in s3.environment.items():
        monkeypatch.setenv(key, value)


def register(server: MlflowServer, prefix: str, s3: S3 | None) -> dict[str, tuple[str, str]]:
    location = [f"s3://{BUCKET}/{prefix}"] if s3 else []
    made = mlflow_versions.register(
        sys.executable, server.uri, prefix, f"TAG_{prefix}", *location, **(s3.environment if s3 else {})
    )
    return {way: (name, number) for way, (name, number) in made.items()}


def test_proxied(server: MlflowServer, tmp_path: Path) -> None:
    """What the server hands out comes through it: the publisher needs neither boto3 nor credentials of S3."""
    assert "AWS_SECRET_ACCESS_KEY" not in os.environ
    check(server, register(server, "proxied", None), "mlflow-artifacts:/", tmp_path)


@pytest.mark.usefixtures("with_s3")
def test_unproxied(server: MlflowServer, s3: S3, tmp_path: Path) -> None:
    """What lies in S3 is read there, in each way of registering it."""
    check(server, register(server, "direct", s3), f"s3://{BUCKET}/direct", tmp_path)


def check(server: MlflowServer, made: dict[str, tuple[str, str]], place: str, folder: Path) -> None:
    source = MlflowSource(server.uri, os.environ)
    assert source.get(*made["the run's root"]).source.startswith(place)
    for way, (name, number) in made.items():
        fetched = fetch(source, source.get(name, number), folder / way)
        assert "MLmodel" in files(fetched.model), way
        assert files(fetched.client) == {"app.py": b"print('hello')\n"}, way


@pytest.mark.usefixtures("with_s3")
def test_a_run_that_is_gone_for_good(server: MlflowServer, s3: S3, tmp_path: Path) -> None:
    """A run that was deleted and swept away leaves the model, where that lies elsewhere; else one clear line."""
    client = server.client()
    run = client.create_run("0").info.run_id
    for key, content in (("MLmodel", b"flavors: {}\n"), ("requirements.txt", b"six\n")):
        s3.client().put_object(Bucket=BUCKET, Key=f"elsewhere/mymodel/{key}", Body=content)
    client.create_registered_model("swept")
    kept = client.create_model_version("swept", f"s3://{BUCKET}/elsewhere/mymodel", run).version
    lost = client.create_model_version("swept", f"runs:/{run}/mymodel", run).version
    client.delete_run(run)
    command = [sys.executable, "-m", "mlflow", "gc", "--run-ids", run]
    command += ["--backend-store-uri", f"sqlite:///{server.folder.parent / 'mlflow.db'}"]
    subprocess.run(
        command,
        env={**os.environ, **s3.environment, "MLFLOW_TRACKING_URI": server.uri},
        check=True,
        capture_output=True,
    )
    source = MlflowSource(server.uri, os.environ)
    fetched = fetch(source, source.get("swept", str(kept)), tmp_path / "kept")
    assert set(files(fetched.model)) == {"MLmodel", "requirements.txt"}
    assert fetched.client is None
    with pytest.raises(ArtifactError, match=f"comes from the run {run}, which is gone") as fault:
        fetch(source, source.get("swept", str(lost)), tmp_path / "lost")
    assert not fault.value.retryable
    assert fault.value.hint


def test_a_bucket_that_refuses(
    server: MlflowServer, s3: S3, tmp_path: Path, with_s3: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that is not there is one line that names the storage, without our secret."""
    client = server.client()
    client.create_registered_model("nowhere", tags={"NOWHERE": "true"})
    client.create_model_version("nowhere", "s3://no-such-bucket/mymodel")
    source = MlflowSource(server.uri, os.environ)
    [version] = source.discover(target("NOWHERE"))
    with pytest.raises((ArtifactError, ModelRegistryError)) as fault:
        fetch(source, version, tmp_path / "work")
    assert "nowhere v1" in fault.value.line or "s3://no-such-bucket" in fault.value.line
    assert "canary" not in fault.value.line + fault.value.detail

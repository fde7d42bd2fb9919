"""Storages beside the MLflow server's own."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.store.artifact import artifact_repository_registry
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from publisher.domain import ModelVersion
from publisher.errors import (
    EngineError,
    TransferError,
)
from tests.contract.mlflow_lab import Lab, Seen, fetch, files


class PluginStorage(LocalArtifactRepository):  # type: ignore[misc]
    """A storage as an MLflow plugin brings it: ``plug:/folder``."""

    broken = 0

    def __init__(self, uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        super().__init__(f"file://{uri.removeprefix('plug:')}")

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        if remote_file_path == "MLmodel" and PluginStorage.broken:
            PluginStorage.broken -= 1
            raise RuntimeError("the bucket's token is canary")
        super()._download_file(remote_file_path, local_path)


@pytest.fixture
def plugged(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> ModelVersion:
    """A version whose files are in a plugin's storage."""
    repositories = artifact_repository_registry.get_registered_artifact_repositories()
    monkeypatch.setitem(repositories, "plug", PluginStorage)
    version = lab.register(f"runs:/{lab.run2}/mymodel", lab.run2)
    return replace(version, source=f"plug:{lab.folder / 'saved'}")


def test_a_plugins_storage(lab: Lab, plugged: ModelVersion, tmp_path: Path) -> None:
    """A storage that MLflow reads by a plugin gives the model; the client still comes from the run."""
    seen = Seen()
    fetched = lab.source.fetch(plugged, tmp_path / "work", seen, "subject")
    assert files(fetched.model) == files(lab.folder / "saved")
    assert files(fetched.client) == files(lab.folder / "client")
    assert seen.done == fetched.bytes
    assert {p.stat().st_mode & 0o777 for p in fetched.root.rglob("*") if p.is_file()} == {0o600}


@pytest.mark.parametrize("times", [1, 2])
def test_a_plugins_storage_that_breaks(
    lab: Lab, plugged: ModelVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """What a foreign storage raises is survived once, and twice it is a retryable fault without its words."""
    monkeypatch.setattr(PluginStorage, "broken", times)
    if times == 1:
        assert "MLmodel" in files(fetch(lab.source, plugged, tmp_path / "work").model)
        return
    with pytest.raises(TransferError, match="cannot read the artifact MLmodel") as fault:
        fetch(lab.source, plugged, tmp_path / "work")
    assert "canary" not in fault.value.line


def test_a_storage_whose_client_is_not_installed(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Artifacts in S3 without boto3 name the module that is missing."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    version = replace(lab.register(f"runs:/{lab.run2}/mymodel", lab.run2), source="s3://bucket/mymodel")
    with pytest.raises(EngineError, match="s3: artifacts needs the Python module boto") as fault:
        fetch(lab.source, version, tmp_path / "work")
    assert fault.value.hint.endswith("pip install boto3")

"""Where MlflowSource finds a version's files, and where it never looks."""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from publisher.errors import (
    ArtifactError,
)
from publisher.sources.mlflow import MlflowSource
from tests.contract.mlflow_lab import Lab, Seen, fetch, files


def test_a_logged_model_and_its_runs_client(lab: Lab, tmp_path: Path) -> None:
    """An MLflow 3 model and the client folder of its run come together, with every byte and all told."""
    version = lab.register(
        lab.model, lab.run3, lab.model_id, MODEL_FOLDER="mymodel", MODEL_ENTRY_POINT="python"
    )
    seen = Seen()
    fetched = lab.source.fetch(version, tmp_path / "work", seen, "subject")
    assert fetched.model == tmp_path / "work" / "mymodel"
    assert "MLmodel" in files(fetched.model)
    assert files(fetched.client) == files(lab.folder / "client")
    assert fetched.templates is None
    total = sum(len(content) for content in files(fetched.root).values())
    assert fetched.bytes == seen.expected == seen.done == total
    assert fetched.root.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("tags", [{}, {"MODEL_FOLDER": "mymodel", "MODEL_CLIENT_FOLDER": "client"}])
@pytest.mark.parametrize("form", ["runs:/{run}", "{root}", "runs:/{run}/mymodel", "{root}/mymodel"])
def test_a_run_as_mlflow_2_leaves_it(lab: Lab, tmp_path: Path, form: str, tags: dict[str, str]) -> None:
    """The run's root and the model's folder in it are both a source, with the folder tags and without."""
    uri = form.format(run=lab.run2, root=lab.root(lab.run2))
    fetched = fetch(lab.source, lab.register(uri, lab.run2, **tags), tmp_path / "work")
    assert files(fetched.model) == files(lab.folder / "saved")
    assert fetched.model.name == "mymodel"
    assert files(fetched.client) == files(lab.folder / "client")


@pytest.mark.parametrize("tags", [{}, {"MODEL_FOLDER": "mymodel"}])
def test_a_run_root_whose_model_is_a_logged_model(lab: Lab, tmp_path: Path, tags: dict[str, str]) -> None:
    """A run's root registered the way of MLflow 2, under MLflow 3, finds the model that the run logged."""
    fetched = fetch(lab.source, lab.register(f"runs:/{lab.run3}", lab.run3, **tags), tmp_path / "work")
    assert fetched.model.name == "mymodel"
    assert "MLmodel" in files(fetched.model)


def test_a_copied_version(lab: Lab, tmp_path: Path) -> None:
    """A version copied from another one is followed to the first one's files."""
    first = lab.register(lab.model, lab.run3, lab.model_id)
    lab.client.copy_model_version(f"models:/{first.name}/{first.version}", "copied")
    fetched = fetch(lab.source, lab.source.get("copied", "1"), tmp_path / "work")
    assert fetched.model.name == "mymodel"
    assert "MLmodel" in files(fetched.model)


def test_a_deleted_run(lab: Lab, tmp_path: Path) -> None:
    """A version whose run was deleted still gives its model."""
    run = lab.run(mymodel=lab.folder / "saved")
    version = lab.register(f"{lab.root(run)}/mymodel", run)
    lab.client.delete_run(run)
    assert files(fetch(lab.source, version, tmp_path / "work").model) == files(lab.folder / "saved")


def test_another_folder_by_its_tag(lab: Lab, tmp_path: Path) -> None:
    """A nested client folder named by its tag lands under that name; a default that is missing is no fault."""
    run = lab.run(**{"best/model": lab.folder / "saved", "apps/web": lab.folder / "client"})
    version = lab.register(f"runs:/{run}", run, MODEL_FOLDER="best/model", MODEL_CLIENT_FOLDER="apps/web/")
    fetched = fetch(lab.source, version, tmp_path / "work")
    assert fetched.model == fetched.root / "best" / "model"
    assert fetched.client == fetched.root / "apps" / "web"
    assert files(fetched.client) == files(lab.folder / "client")


def test_several_models(lab: Lab, tmp_path: Path) -> None:
    """With several models in a run and no tag, the message names them and the tag that chooses."""
    run = lab.run(north=lab.folder / "saved", south=lab.folder / "saved")
    with pytest.raises(ArtifactError, match="several models: north, south") as fault:
        fetch(lab.source, lab.register(f"runs:/{run}", run), tmp_path / "work")
    assert "MODEL_FOLDER" in fault.value.line


@pytest.mark.parametrize(
    ("tag", "value", "said"),
    [
        ("MODEL_FOLDER", "nope", "is 'nope', and there is no such folder (there are: client, mymodel)"),
        (
            "MODEL_FOLDER",
            "client",
            "the folder 'client' of {v}, named by its tag MODEL_FOLDER, holds no file",
        ),
        ("MODEL_CLIENT_FOLDER", "nope", "the tag MODEL_CLIENT_FOLDER of {v} is 'nope'"),
        ("MODEL_TEMPLATES_FOLDER", "templates", "the tag MODEL_TEMPLATES_FOLDER of {v} is 'templates'"),
        ("MODEL_FOLDER", "../..", "the tag MODEL_FOLDER of {v} is '../..': it must name a folder inside"),
        ("MODEL_FOLDER", "/etc", "it must name a folder inside the version's files, and it is absolute"),
        ("MODEL_CLIENT_FOLDER", "a\nRUN b", "holds control characters"),
        ("MODEL_CLIENT_FOLDER", "a\\b", "holds a backslash"),
        ("MODEL_TEMPLATES_FOLDER", "a//b", "has an empty part"),
        ("MODEL_ENTRY_POINT", "python\nRUN rm", "the tag MODEL_ENTRY_POINT of {v}"),
    ],
)
def test_a_tag_that_cannot_be_right(lab: Lab, tmp_path: Path, tag: str, value: str, said: str) -> None:
    """A tag that is there and names no folder, or no folder of ours, is one clear line and nothing is fetched."""
    version = replace(lab.register(f"runs:/{lab.run2}", lab.run2), tags={tag: value})
    with pytest.raises(ArtifactError) as fault:
        fetch(lab.source, version, tmp_path / "work")
    assert said.format(v=version) in str(fault.value)
    assert not fault.value.retryable
    assert "\n" not in fault.value.line
    assert not (tmp_path / "work").exists()


def test_a_wrong_folder_of_a_logged_model(lab: Lab, tmp_path: Path) -> None:
    """A MODEL_FOLDER that is not the logged model's name says which name it has."""
    version = lab.register(lab.model, lab.run3, lab.model_id, MODEL_FOLDER="nope")
    with pytest.raises(ArtifactError, match="its model is named 'mymodel'"):
        fetch(lab.source, version, tmp_path / "work")


@pytest.mark.parametrize("tags", [{}, {"MODEL_FOLDER": "mymodel"}])
def test_deleted_artifacts(lab: Lab, tmp_path: Path, tags: dict[str, str]) -> None:
    """A version whose files were deleted from the storage says so."""
    run = lab.run(mymodel=lab.folder / "saved")
    version = lab.register(f"runs:/{run}", run, **tags)
    shutil.rmtree(next(lab.server.folder.rglob(run)))
    with pytest.raises(ArtifactError, match="has no artifacts"):
        fetch(lab.source, version, tmp_path / "work")


def test_another_host_gets_no_credentials(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source on another host than the MLflow server is refused, and that host sees no connection."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "canary")
    version = lab.register(f"runs:/{lab.run2}/mymodel", lab.run2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        port = listener.getsockname()[1]
        for uri in (
            f"mlflow-artifacts://127.0.0.1:{port}/0/x/artifacts",
            f"http://127.0.0.1:{port}/api/2.0/mlflow-artifacts/artifacts/0/x",
            f"http://{lab.server.uri[7:]}@127.0.0.1:{port}/api/2.0/mlflow-artifacts/artifacts/0/x",
        ):
            with pytest.raises(ArtifactError, match="not the MLflow server"):
                fetch(lab.source, replace(version, source=uri), tmp_path / "work")
        with pytest.raises(TimeoutError):
            listener.accept()


def test_files_of_this_machine(lab: Lab, tmp_path: Path) -> None:
    """A source that is a local path is refused for a server elsewhere, and read, links aside, for one here."""
    version = replace(lab.register(f"runs:/{lab.run2}/mymodel", lab.run2), run_id=None)
    local = tmp_path / "mymodel"
    shutil.copytree(lab.folder / "saved", local)
    there = MlflowSource(lab.server.uri, os.environ, local_artifacts=False)
    with pytest.raises(ArtifactError, match="a path of the machine that logged them"):
        fetch(there, replace(version, source=local.as_uri()), tmp_path / "work")
    fetched = fetch(lab.source, replace(version, source=local.as_uri()), tmp_path / "work")
    assert files(fetched.model) == files(local)
    (local / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(ArtifactError, match="link or a device"):
        fetch(lab.source, replace(version, source=str(local)), tmp_path / "work2")


@pytest.mark.parametrize("source", ["runs:/{run}/../../x", "mlflow-artifacts:/0/%2e%2e/%2E./x", ""])
def test_a_source_that_climbs(lab: Lab, tmp_path: Path, source: str) -> None:
    """A source with '..' in it, or none at all, is refused."""
    version = replace(lab.register(f"runs:/{lab.run2}", lab.run2), source=source.format(run=lab.run2))
    with pytest.raises(ArtifactError, match="source"):
        fetch(lab.source, version, tmp_path / "work")

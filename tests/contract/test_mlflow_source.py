"""MlflowSource against a real MLflow server; where the server must misbehave, a real proxy lies for it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.store.artifact import artifact_repository_registry
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from publisher.domain import ModelVersion, Platform, Target
from publisher.errors import (
    ArtifactError,
    EngineError,
    HostError,
    ModelRegistryError,
    PublisherError,
    SettingsError,
    TransferError,
    UnknownVersionError,
)
from publisher.progress import Silent
from publisher.sources.base import Fetched
from publisher.sources.mlflow import MlflowSource
from tests.contract.lying_proxy import Answer, LyingProxy, lying_proxy
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


@pytest.fixture(scope="module")
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


# Where the files are


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


# Listings and files that lie


def listing(*entries: dict[str, object]) -> Callable[[str, Answer], Answer | None]:
    def lie(line: str, truth: Answer) -> Answer | None:
        # The model's folder itself: what is listed there is what is walked.
        if not line.startswith(LISTING) or not line.endswith("mymodel"):
            return None
        real = json.loads(truth.body)["files"]
        return replace(truth, body=json.dumps({"files": real + list(entries)}).encode())

    return lie


@pytest.mark.parametrize(
    "path",
    [
        "../../../canary",
        "/tmp/canary",
        "%2e%2e/%2e%2e/canary",
        "..",
        "sub/canary",
        "a\\..\\canary",
        "a\u2028b",
        "\ud800",
        "x" * 256,
        "mlmodel",
    ],
)
def test_a_listing_with_a_hostile_path(lab: Lab, proxy: LyingProxy, tmp_path: Path, path: str) -> None:
    """A listed path that leaves its folder, or hides what it is, ends the download before the first file."""
    version = lab.register(f"runs:/{lab.run2}/mymodel", lab.run2)
    proxy.lie = listing({"path": path, "is_dir": False, "file_size": 3})
    with pytest.raises(ArtifactError) as fault:
        fetch(MlflowSource(proxy.uri, os.environ), version, tmp_path / "deep" / "work")
    assert "\n" not in fault.value.line
    assert not any(line.startswith(FILE) for line in proxy.requests)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_folder_without_end(lab: Lab, proxy: LyingProxy, tmp_path: Path) -> None:
    """A listing in which every folder holds another one is ended by its depth."""
    version = lab.register(f"runs:/{lab.run2}/mymodel", lab.run2)

    def lie(line: str, truth: Answer) -> Answer | None:
        below = line.startswith(LISTING) and "mymodel" in line
        entry = {"path": "again", "is_dir": True}
        real = json.loads(truth.body).get("files", []) if below else []
        return replace(truth, body=json.dumps({"files": [*real, entry]}).encode()) if below else None

    proxy.lie = lie
    with pytest.raises(ArtifactError, match="folders deep"):
        fetch(MlflowSource(proxy.uri, os.environ), version, tmp_path / "work")


def test_more_than_the_disk_holds(lab: Lab, proxy: LyingProxy, tmp_path: Path) -> None:
    """A listing of more bytes than the disk has free is refused before the first byte, and may be retried."""
    version = lab.register(f"runs:/{lab.run2}/mymodel", lab.run2)
    proxy.lie = listing({"path": "huge.bin", "is_dir": False, "file_size": 1 << 60})
    with pytest.raises(HostError, match="free") as fault:
        fetch(MlflowSource(proxy.uri, os.environ), version, tmp_path / "work")
    assert fault.value.retryable
    assert not any(line.startswith(FILE) for line in proxy.requests)


def test_a_negative_size(lab: Lab, proxy: LyingProxy, tmp_path: Path) -> None:
    """A listing with a size below zero is refused."""
    version = lab.register(f"runs:/{lab.run2}/mymodel", lab.run2)
    proxy.lie = listing({"path": "odd.bin", "is_dir": False, "file_size": -1})
    with pytest.raises(ArtifactError, match="its size is -1"):
        fetch(MlflowSource(proxy.uri, os.environ), version, tmp_path / "work")


class Spoilt:
    """Spoils the file MLmodel the first `times` times."""

    def __init__(self, times: int, spoil: Callable[[Answer], Answer]) -> None:
        self.left, self.spoil, self.asked = times, spoil, 0

    def __call__(self, line: str, truth: Answer) -> Answer | None:
        if not (line.startswith(FILE) and line.endswith("MLmodel")):
            return None
        self.asked += 1
        self.left -= 1
        return self.spoil(truth) if self.left >= 0 else None


def cut(truth: Answer) -> Answer:
    return replace(truth, body=truth.body[:-7], length=len(truth.body))


def shorter(truth: Answer) -> Answer:
    return replace(truth, body=truth.body[:-7])


def longer(truth: Answer) -> Answer:
    return replace(truth, body=truth.body + b"x" * 50_000_000)


def absent(truth: Answer) -> Answer:
    return replace(truth, status=404, body=b"{}")


@pytest.mark.parametrize("spoil", [cut, shorter, longer, absent])
def test_one_more_download(
    lab: Lab, proxy: LyingProxy, tmp_path: Path, spoil: Callable[[Answer], Answer]
) -> None:
    """A file that arrives spoilt once is fetched again, and the progress ends at the true size."""
    version = lab.register(f"runs:/{lab.run2}/mymodel", lab.run2)
    proxy.lie = spoilt = Spoilt(1, spoil)
    seen = Seen()
    fetched = MlflowSource(proxy.uri, os.environ).fetch(version, tmp_path / "work", seen, "subject")
    assert files(fetched.model) == files(lab.folder / "saved")
    assert spoilt.asked == 2
    assert seen.done == fetched.bytes


@pytest.mark.parametrize(
    ("spoil", "fault_and_retry"),
    [
        (cut, (TransferError, True)),
        (shorter, (ArtifactError, False)),
        (longer, (ArtifactError, False)),
        (absent, (ArtifactError, False)),
    ],
)
def test_a_file_that_stays_spoilt(
    lab: Lab,
    proxy: LyingProxy,
    tmp_path: Path,
    spoil: Callable[[Answer], Answer],
    fault_and_retry: tuple[type[PublisherError], bool],
) -> None:
    """A file that is spoilt twice ends the fetch with its name, and leaves nothing on the disk."""
    version = lab.register(f"runs:/{lab.run2}/mymodel", lab.run2)
    proxy.lie = Spoilt(99, spoil)
    kind, retryable = fault_and_retry
    with pytest.raises(kind, match="MLmodel") as fault:
        fetch(MlflowSource(proxy.uri, os.environ), version, tmp_path / "work")
    assert fault.value.retryable is retryable
    assert list((tmp_path / "work").iterdir()) == []


def test_a_folder_that_is_not_empty(lab: Lab, tmp_path: Path) -> None:
    """Files are never mixed with what a folder holds, and what it holds stays."""
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(HostError, match="not empty"):
        fetch(lab.source, lab.register(f"runs:/{lab.run2}", lab.run2), tmp_path)
    assert (tmp_path / "mine").read_text() == "mine"


# Whom a source may lead to


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


# Storages beside the server's own


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


# Discovery and records


def test_discovery_is_one_search(lab: Lab, proxy: LyingProxy) -> None:
    """All tagged versions come with one request, true-like values only, whatever their number."""
    values = {"true": True, " True ": True, "1": True, "YES": True, "on": True, "false": False, "": False}
    expected = set()
    for value, counts in values.items():
        version = lab.register(f"runs:/{lab.run2}", lab.run2, **{TAG: value})
        expected |= {version.name} if counts else set()
    lab.register(f"runs:/{lab.run2}", lab.run2)
    source = MlflowSource(proxy.uri, os.environ)
    found = list(source.discover(target(TAG)))
    assert {version.name for version in found} == expected
    assert found[0].created.tzinfo is not None
    assert len(proxy.requests) == 1


def test_discovery_goes_from_page_to_page(
    lab: Lab, proxy: LyingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More versions than one page holds are all found, once each."""
    made = {lab.register(f"runs:/{lab.run2}", lab.run2, PAGED="true").name for _ in range(5)}
    monkeypatch.setattr("publisher.sources.mlflow.PAGE", 2)
    found = [version.name for version in MlflowSource(proxy.uri, os.environ).discover(target("PAGED"))]
    assert sorted(found) == sorted(made)
    assert len(proxy.requests) == 3


@pytest.mark.parametrize("tag", ["a` OR 1=1", "it's", 'a"b', "a\nb"])
def test_a_tag_name_with_quotes(lab: Lab, tag: str) -> None:
    """A target's tag that would end the filter's quotes is a fault of the settings."""
    with pytest.raises(SettingsError):
        list(lab.source.discover(target(tag)))


def test_record_writes_what_differs(lab: Lab, proxy: LyingProxy) -> None:
    """Only changed tags are written and only present ones deleted; the last one is written last; then silence."""
    version = lab.register(f"runs:/{lab.run2}", lab.run2, keep="same", old="gone")
    source = MlflowSource(proxy.uri, os.environ)
    tags = {
        "keep": "same",
        **{f"publisher.lab.{n}": str(n) for n in range(6)},
        "publisher.lab.state": "failed",
    }
    source.record(version, tags, ["old", "never-there"])
    assert len(proxy.requests) == 8
    assert [line.split()[0] for line in proxy.requests].count("DELETE") == 1
    assert proxy.requests[-1].startswith("POST")
    now = lab.source.get(version.name, version.version).tags
    assert dict(now) == tags
    source.record(version, tags, ["old"])
    assert len(proxy.requests) == 8
    source.record(version, {"publisher.lab.state": "published"}, ["publisher.lab.0"])
    assert len(proxy.requests) == 10
    source.record(version, {"publisher.lab.0": "0", "publisher.lab.state": "failed"})
    assert lab.source.get(version.name, version.version).tags["publisher.lab.0"] == "0"


def test_the_last_tag_is_a_commit(lab: Lab, proxy: LyingProxy) -> None:
    """When any other tag cannot be written, the last one stays as it was."""
    version = lab.register(f"runs:/{lab.run2}", lab.run2)
    with pytest.raises(ModelRegistryError):
        MlflowSource(proxy.uri, os.environ).record(version, {"a{b}": "not a key", "state": "published"})
    assert lab.source.get(version.name, version.version).tags == {}


def test_long_values_are_cut(lab: Lab) -> None:
    """A value is cut to what servers before MLflow 3 take, between characters, and shows that it was."""
    version = lab.register(f"runs:/{lab.run2}", lab.run2)
    lab.source.record(version, {"reason": "ü" * 600})
    assert lab.source.get(version.name, version.version).tags["reason"] == "ü" * 499 + "…"


# The server's faults


@pytest.mark.parametrize(("name", "version"), [("nobody", "1"), ("nobody", "v1")])
def test_an_unknown_version(lab: Lab, name: str, version: str) -> None:
    """A version that is not there is told apart from a server that is not there."""
    with pytest.raises(UnknownVersionError) as fault:
        lab.source.get(name, version)
    assert not fault.value.retryable


def test_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that cannot be reached is a retryable fault that shows its address and no password."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    source = MlflowSource(f"http://someone:canary@127.0.0.1:{port}", os.environ)
    with pytest.raises(ModelRegistryError, match=f"cannot reach MLflow at http://127.0.0.1:{port}") as fault:
        list(source.discover(target(TAG)))
    assert "Connection refused" in str(fault.value)
    assert fault.value.retryable
    assert "canary" not in fault.value.line + fault.value.detail


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("stage", ["search", "listing", "file"])
def test_refused_credentials(lab: Lab, proxy: LyingProxy, tmp_path: Path, status: int, stage: str) -> None:
    """Credentials that the server refuses are named, at each stage, with the variables that hold them."""
    version = lab.register(f"runs:/{lab.run2}", lab.run2, REFUSED="true")
    begins = {"search": "GET /api/2.0/mlflow/model-versions/search", "listing": LISTING, "file": FILE}[stage]
    proxy.lie = lambda line, truth: (
        Answer(status, "text/html", b"<html>no") if line.startswith(begins) else None
    )
    source = MlflowSource(proxy.uri, os.environ)
    with pytest.raises(ModelRegistryError, match="refuses our credentials") as fault:
        list(source.discover(target("REFUSED")))
        fetch(source, version, tmp_path / "work")
    assert "MLFLOW_TRACKING_USERNAME" in fault.value.hint
    assert fault.value.retryable


def test_a_server_that_fails(lab: Lab, proxy: LyingProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's own failure is retryable, told in one line, and asked for again before it counts."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    proxy.lie = lambda line, truth: Answer(500, "text/html", b"<html>\noops")
    with pytest.raises(ModelRegistryError) as fault:
        list(MlflowSource(proxy.uri, os.environ).discover(target(TAG)))
    assert fault.value.retryable
    assert "\n" not in fault.value.line
    assert len(proxy.requests) == 2

"""MLflow 2 and 3, servers and clients: whoever registers a version, it is found, fetched and written to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from publisher.sources.mlflow import MlflowSource
from tests.contract.mlflow_lab import fetch, files, target
from tests.engines import mlflow_versions
from tests.engines.mlflow import MlflowServer, serve
from tests.engines.mlflow_versions import NEWEST_2, OLD_2, ROOT

IN_A_RUN = {"the run's root", "a model folder in the run", "runs:", "a deleted run", "a copy"}
TAG = "EXTERNAL_TARGET_AGES"


@pytest.fixture(scope="module")
def newest_2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with serve(tmp_path_factory.mktemp("newest2") / "s", python=mlflow_versions.python(NEWEST_2)) as server:
        yield server


@pytest.fixture(scope="module")
def old_2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with serve(tmp_path_factory.mktemp("old2") / "s", python=mlflow_versions.python(OLD_2)) as server:
        yield server


def check(server: MlflowServer, interpreter: Path | str, prefix: str, folder: Path) -> set[str]:
    """Register in every way, find all by the tag and fetch each; returns the ways."""
    tag = f"{TAG}_{prefix}"
    made = mlflow_versions.register(interpreter, server.uri, prefix, tag)
    source = MlflowSource(server.uri, os.environ)
    found = {(version.name, version.version): version for version in source.discover(target(tag))}
    assert set(found) == {(name, number) for name, number in made.values()}
    for way, (name, number) in made.items():
        fetched = fetch(source, found[name, number], folder / way)
        assert fetched.model.name == "mymodel", way
        assert {"MLmodel", "python_model.pkl", "requirements.txt"} <= set(files(fetched.model)), way
        assert files(fetched.client) == {"app.py": b"print('hello')\n"}, way
    return set(made)


@pytest.mark.parametrize(
    ("server", "client", "log_model"),
    [
        ("newest_2", NEWEST_2, True),
        ("newest_2", "3", False),  # its log_model wants a server of MLflow 3
        ("mlflow_server", NEWEST_2, True),
        ("mlflow_server", "3", True),
        ("old_2", OLD_2, True),
    ],
)
def test_every_way_to_register(
    request: pytest.FixtureRequest, tmp_path: Path, server: str, client: str, log_model: bool
) -> None:
    """Each way of registering, with each client, on each server, leads to the model and its client folder."""
    interpreter = sys.executable if client == "3" else mlflow_versions.python(client)
    prefix = f"{server}-{client}".replace(".", "_")
    ways = check(request.getfixturevalue(server), interpreter, prefix, tmp_path)
    assert ways == IN_A_RUN | ({"log_model"} if log_model else set())


@pytest.mark.parametrize("server", ["newest_2", "old_2"])
def test_tags_on_a_server_of_mlflow_2(request: pytest.FixtureRequest, server: str) -> None:
    """Models' tags are their versions' defaults there too, and status tags are written, read and deleted."""
    running: MlflowServer = request.getfixturevalue(server)
    source = MlflowSource(running.uri, os.environ)
    for name in ("lends-a", "lends-b"):
        running.client().create_registered_model(name, tags={"LENT": "true", "MODEL_FOLDER": "m"})
        running.client().create_model_version(name, "s3://bucket/m")
    found = {version.name: version for version in source.discover(target("LENT"))}
    assert {name: dict(version.defaults) for name, version in found.items()} == {
        "lends-a": {"LENT": "true", "MODEL_FOLDER": "m"},
        "lends-b": {"LENT": "true", "MODEL_FOLDER": "m"},
    }
    source.record(found["lends-a"], {"publisher.lab.reason": "ü" * 600, "publisher.lab.state": "failed"})
    again = source.get("lends-a", "1")
    assert again.tags["publisher.lab.state"] == "failed"
    source.record(again, {"publisher.lab.state": "published"}, ["publisher.lab.reason"])
    assert running.tags("lends-a", "1") == {"publisher.lab.state": "published"}


def test_publisher_beside_mlflow_2(mlflow_server: MlflowServer, base_layout: Path, tmp_path: Path) -> None:
    """Publisher works where MLflow 2 is installed, and with that one's own client where the sign-in needs it."""
    interpreter = mlflow_versions.python(NEWEST_2)
    made = mlflow_versions.register(interpreter, mlflow_server.uri, "beside", "BESIDE")
    (tmp_path / "publisher.toml").write_text(
        f'cache_folder = "own"\n[targets.lab]\nregistry = "oci:images"\ntag = "BESIDE"\n'
        f'base = "oci:{base_layout}"\nplatforms = ["linux/amd64"]\n'
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    environment |= {"MLFLOW_TRACKING_URI": mlflow_server.uri, "PYTHONPATH": str(ROOT)}
    program = "import sys; from publisher.cli import main; sys.exit(main())"
    for way, more in (("runs:", {}), ("log_model", {"MLFLOW_REGISTRY_URI": f"{mlflow_server.uri}/"})):
        done = subprocess.run(
            [str(interpreter), "-c", program, "publish", *made[way], "--dry-run", "--json"],
            env=environment | more,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr[-4000:]
        assert json.loads(done.stdout)["outcomes"][0]["state"] == "planned"

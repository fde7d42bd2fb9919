"""Models of MLflow 2 and of MLflow 3 beside each other: one poll publishes both."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.e2e.conftest import Workplace
from tests.e2e.published import outcomes
from tests.engines import mlflow_versions
from tests.engines.mlflow import MlflowServer
from tests.engines.mlflow_versions import NEWEST_2

AGES = ("two", "three")
TAG = "EXTERNAL_TARGET_AGES"


def test_one_poll_publishes_models_of_both(
    mlflow_server: MlflowServer, base_layout: Path, tmp_path: Path
) -> None:
    """Whatever MLflow made and registered them, versions become images; what is not asked for is told."""
    made = {
        f"{age} {way}": version
        for age, interpreter in zip(AGES, (mlflow_versions.python(NEWEST_2), sys.executable), strict=True)
        for way, version in mlflow_versions.register(interpreter, mlflow_server.uri, age, TAG).items()
    }
    client = mlflow_server.client()
    for way, value in (("two runs:", "false"), ("three runs:", "ture")):
        client.set_model_version_tag(*made.pop(way), TAG, value)
    for way in made.keys() & {
        f"{age} {way}" for age in AGES for way in ("a deleted run", "a model folder in the run")
    }:
        client.delete_model_version_tag(*made.pop(way), TAG)  # two fewer images to wait for, of each
    # A copy has no tags of its own: its model's stand for them.
    for way in ("two a copy", "three a copy"):
        name, number = made[way]
        client.delete_model_version_tag(name, number, TAG)
        client.set_registered_model_tag(name, TAG, "yes")
        client.set_registered_model_tag(name, "MODEL_EXECUTE_PATH", "client/app.py")
    workplace = Workplace(tmp_path)
    (tmp_path / "publisher.toml").write_text(
        f'mlflow_tracking_uri = "{mlflow_server.uri}"\ncache_folder = "{tmp_path / "own"}"\n'
        f'[targets.AGES]\nregistry = "oci:images"\nbase = "oci:{base_layout}"\nplatforms = ["linux/amd64"]\n'
        "bytecode = false\n"
    )
    found = outcomes(workplace.publisher("poll", "--json").stdout)
    states = {f"{name}/{number}": "published" for name, number in made.values()}
    assert {
        key: outcome["state"] for key, outcome in found.items() if outcome["state"] != "skipped"
    } == states
    reasons = sorted(outcome["reason"] for outcome in found.values() if outcome["state"] == "skipped")
    assert reasons[0].startswith(f"its tag {TAG} is 'false': not asked for")
    assert reasons[1].startswith(f"its tag {TAG} is 'ture', neither true-like")
    for name, number in made.values():
        assert mlflow_server.tags(name, number)["publisher.AGES.state"] == "published"
    again = outcomes(workplace.publisher("poll", "--json").stdout)
    assert {outcome["state"] for outcome in again.values()} == {"skipped"}

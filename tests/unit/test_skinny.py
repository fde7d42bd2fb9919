"""mlflow-skinny takes mlflow's place with what serving needs, at the versions that the whole lock has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from publisher.domain import Environment, Lock, Platform, RecordedLock, Wheel
from publisher.environments.skinny import skinny, why_whole

ASKED = Environment(
    ("cloudpickle==3.1.2", "mlflow==3.17.2", "pip", "scikit-learn==1.9.1"), "3.11.7", ("a<2",)
)


def lock(**versions: str) -> Lock:
    wheels = [
        Wheel(name.replace("_", "-"), version, f"{name}-{version}-py3-none-any.whl", "", "0" * 64)
        for name, version in versions.items()
    ]
    return Lock(Platform("linux", "amd64"), "3.11", tuple(sorted(wheels)))


def test_serving_has_all_that_it_needs() -> None:
    """numpy and pandas come to the model's own list, and pip, which only lists packages, goes."""
    whole = lock(
        mlflow="3.17.2", mlflow_skinny="3.17.2", numpy="2.4.6", pandas="3.1.1", flask="3.1.2", pip="26"
    )
    found = skinny(ASKED, whole)
    assert found.requirements == (
        "cloudpickle==3.1.2",
        "mlflow-skinny==3.17.2",
        "numpy",
        "pandas",
        "scikit-learn==1.9.1",
    )
    assert found.python == "3.11.7"


def test_versions_are_those_of_the_whole() -> None:
    """What stays is pinned to what stands beside the whole mlflow: a prediction differs by nothing else."""
    whole = lock(mlflow="3.17.2", numpy="2.4.6", pandas="3.1.1", pyarrow="25.0.1")
    assert skinny(ASKED, whole).constraints == ("a<2", "numpy==2.4.6", "pandas==3.1.1", "pyarrow==25.0.1")


@pytest.mark.parametrize(
    ("version", "flask"), [("2.9.2", True), ("2.20.4", True), ("2.21.0", False), ("3.1.0", False)]
)
def test_flask_served_until_2_21(version: str, flask: bool) -> None:
    """MLflow's scoring server was one of Flask's, which mlflow-skinny does not bring along."""
    asked = replace(ASKED, requirements=("mlflow<4,>=2",))
    found = skinny(asked, lock(mlflow=version, numpy="1", pandas="2", flask="3"))
    assert ("flask" in found.requirements) is flask
    assert f"mlflow-skinny=={version}" in found.requirements


def test_a_marker_stays() -> None:
    """MLflow is asked for where it was asked for."""
    asked = replace(ASKED, requirements=('mlflow==3.17.2; python_version >= "3.10"',))
    [line] = skinny(asked, lock(mlflow="3.17.2")).requirements
    assert line == 'mlflow-skinny==3.17.2; python_version >= "3.10"'


def test_without_mlflow_nothing_changes() -> None:
    """On a platform whose lock has no mlflow there is none to replace."""
    assert skinny(ASKED, lock(numpy="2.4.6")) is ASKED


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"lock": RecordedLock("uv.lock", {"packages": []}, Path())}, "uv.lock of the model locks"),
        ({"hashes": {"mlflow": ("0" * 64,)}, "origin": "requirements.txt"}, "requirements.txt pins hashes"),
        ({"requirements": ("my-package",)}, "another package requires it"),
        ({"requirements": ("mlflow[genai]==3.17.2",)}, "an extra of it"),
        ({"requirements": ("mlflow @ https://example.org/mlflow-3-py3-none-any.whl",)}, "a place of its own"),
        ({"conda": "dependencies: []"}, "conda makes"),
    ],
)
def test_why_mlflow_stays_whole(changes: dict[str, object], words: str) -> None:
    """Where something else decides which MLflow there is, that is told; else nothing stands against it."""
    found = why_whole(replace(ASKED, **changes))  # type: ignore[arg-type]
    assert words in found
    assert bool(found) is bool(words)

"""What an image says of the version that it was made of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from publisher.describe import by_dockerfile, describe
from publisher.domain import BaseImage, Context, ImageSpec, ModelVersion, Platform, Target
from publisher.errors import ArtifactError
from publisher.sources.base import Fetched

BASE = BaseImage(
    "docker.io/library/python:3.11-slim", "sha256:" + "b" * 64, "3.11.7", "/usr/bin/python", (2, 36)
)
TARGET = Target("T", "TAG", "quay.io/team", (Platform("linux", "amd64"),), "base")


def spec(name: str, folder: Path, target: Target = TARGET) -> ImageSpec:
    version = ModelVersion(name, "7", "runs:/1/m", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "1")
    model = folder / "model"
    model.mkdir()
    return describe(version, target, Fetched(folder, model, None, None, 0), BASE, {})


@pytest.mark.parametrize(
    "name", ["fraud", "Fraud Model", "模型 🚀", "x\nRUN evil", "a" * 300, '"q\\', "{version}"]
)
def test_labels_and_variables_have_the_real_name(name: str, tmp_path: Path) -> None:
    """Whatever the repository is called, the labels say which model and version it is, as registered."""
    made = spec(name, tmp_path)
    labels = dict(made.labels)
    assert labels["org.opencontainers.image.title"] == labels["io.github.model-publisher.model"] == name
    assert labels["org.opencontainers.image.version"] == "v7"
    assert labels["io.github.model-publisher.version"] == "7"
    assert labels["org.opencontainers.image.source"] == f"models:/{name}/7"
    assert dict(made.environment)["MODEL_NAME"] == name


def test_a_name_that_no_variable_can_hold_is_refused(tmp_path: Path) -> None:
    """An image with a NUL in a variable would be pushed and never start."""
    with pytest.raises(ArtifactError, match="holds a NUL character") as caught:
        spec("a\0b", tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("profile", "form"), [("default", "index"), ("foundry", "plain"), ("sagemaker", "docker")]
)
def test_the_profile_decides_the_form(profile: str, form: str, tmp_path: Path) -> None:
    """And where a platform puts an argument in the command's place, the entrypoint is the whole program."""
    target = replace(TARGET, profile=profile)
    made = spec("m", tmp_path, target)
    started = ("python", "/opt/publisher/serve.py", "/app/model")
    assert (made.form, made.entrypoint + made.command) == (form, started)
    assert (made.command == ()) == (profile == "sagemaker")
    version = ModelVersion("m", "7", "runs:/1/m", datetime(2026, 1, 2, tzinfo=UTC))
    assert by_dockerfile(version, target, Context(tmp_path, own=False, digest="x")).form == form

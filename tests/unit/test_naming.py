"""Names of images."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from publisher.domain import ModelVersion, Platform, Target
from publisher.errors import BuildError
from publisher.naming import image_name, repository_name
from publisher.oci.reference import Reference

NAMES = [
    "fraud",
    "Fraud",
    "fraud model",
    "Fraud Model",
    "fraud-model",
    "über",
    "模型",
    "a" * 300,
    "..",
    "-",
    "x__y",
    "x___y",
]


@pytest.mark.parametrize("name", NAMES)
def test_every_model_has_a_repository(name: str) -> None:
    """Whatever a model is called, its image has a name that registries take."""
    Reference.parse(f"registry.example.org/{repository_name(name)}:v1")


def test_no_two_models_share_one() -> None:
    """Names that differ in case, spaces or script stay apart."""
    assert len({repository_name(name) for name in NAMES}) == len(NAMES)


def test_a_plain_name_is_kept() -> None:
    """A name that is a repository name already is not touched."""
    assert repository_name("pltr_foundry_model") == "pltr_foundry_model"


def test_the_template_is_the_target_s() -> None:
    """The default is <registry>/<model>:v<version>; a template that makes no reference is an error with a hint."""
    version = ModelVersion("m", "3", "", datetime(2026, 1, 1, tzinfo=UTC))
    target = Target("T", "TAG", "quay.io/domino", (Platform("linux", "amd64"),), "base")
    assert image_name(target, version) == "quay.io/domino/m:v3"
    broken = Target("T", "TAG", "quay.io/domino", (), "base", image="{registry}/{model}:v{version}@x")
    with pytest.raises(BuildError, match="is not an image reference"):
        image_name(broken, version)

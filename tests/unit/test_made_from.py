"""By what an image of a Dockerfile is known again."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from publisher.builders.dockerfile import made_from
from publisher.describe import by_dockerfile
from publisher.domain import Context, ImageSpec, ModelVersion, Platform, Target

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.fixture
def spec() -> ImageSpec:
    version = ModelVersion("m", "1", "", datetime(2026, 1, 2, tzinfo=UTC))
    return by_dockerfile(version, Target("T", "t", "r", (AMD64,), ""), Context(Path(), own=False, digest="a"))


def test_the_same_context_for_other_platforms_is_another_image(spec: ImageSpec) -> None:
    """A target that gets a platform more must not take over the image that lacks it."""
    assert made_from(replace(spec, locks={**spec.locks, ARM64: spec.locks[AMD64]})) != made_from(spec)


def test_another_context_is_another_image(spec: ImageSpec) -> None:
    """And where it lies does not matter."""
    assert made_from(replace(spec, context=Context(Path(), own=False, digest="b"))) != made_from(spec)
    assert made_from(replace(spec, context=Context(Path("/x"), own=False, digest="a"))) == made_from(spec)


def test_another_form_is_another_image(spec: ImageSpec) -> None:
    """A target that takes no index any more must not take over the index that is there; the usual form is as it was."""
    assert (
        len(
            {made_from(spec), made_from(replace(spec, form="plain")), made_from(replace(spec, form="docker"))}
        )
        == 3
    )
    assert made_from(spec) == hashlib.sha256(b"a\nlinux/amd64").hexdigest()

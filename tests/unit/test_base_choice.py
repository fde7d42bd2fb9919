"""Which base image a model's Python gets."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from publisher.domain import Target

TABLE = {"3.11": "quay.io/b:{python}-slim", "3.12": "oci:/twelve"}


@pytest.mark.parametrize(
    ("base", "minor", "name"),
    [
        ("quay.io/b:{python}", "3.12", "quay.io/b:3.12"),
        ("quay.io/b:{python}", "", None),
        ("quay.io/b:1", "", "quay.io/b:1"),
        ("quay.io/b:1", "3.12", "quay.io/b:1"),
        (TABLE, "3.11", "quay.io/b:3.11-slim"),
        (TABLE, "3.12", "oci:/twelve"),
        (TABLE, "3.13", None),
        (TABLE, "", None),
    ],
)
def test_the_minor_version_chooses(base: str | Mapping[str, str], minor: str, name: str | None) -> None:
    """A template is filled in, a table looked up, and nothing is guessed."""
    assert Target("t", "T", "quay.io/x", (), base).base_for(minor) == name

"""Where a base image goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from publisher.baseimage import destination
from publisher.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "folder", "repository", "name"),
    [
        ("oci:bases/{python}", "bases/3.11", "/", "latest"),
        ("oci:bases:py{python}", "bases", "/", "py3.11"),
        ("oci:c:/x", "c:/x", "/", "latest"),
        ("reg.example:5000/b/python:{python}", None, "reg.example:5000/b/python", "3.11"),
        ("reg.example/python", None, "reg.example/python", "latest"),
    ],
)
def test_destination(text: str, folder: str | None, repository: str, name: str) -> None:
    """A destination is a folder or a repository, with a tag, and knows the Python that was found."""
    place = destination.parse(text, "3.11")
    assert (place.folder, str(place.repository), place.name) == (folder and Path(folder), repository, name)


@pytest.mark.parametrize(
    "text", ["oci:", "Not A Name", "reg.example/a@sha256:" + "0" * 64, "reg.example/{arch}"]
)
def test_no_destination(text: str) -> None:
    """What is no destination is told with the forms that are."""
    with pytest.raises(SettingsError) as caught:
        destination.parse(text, "3.11")
    assert "oci:DIR" in caught.value.hint

"""Mirrors and plain registries: which hosts a build asks, and buildah's registries.conf."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from publisher.builders.reach import Reach
from publisher.builders.registries_conf import merged
from publisher.errors import EngineError

REACH = Reach({"docker.io": "mirror.test:5000", "quay.io": "127.0.0.1:5000"}, frozenset({"plain.test"}))


def test_hosts() -> None:
    """Each host once, its mirror after it; what is no reference has none."""
    asked = ["python:3.11", "library/x", "quay.io/a/b", "plain.test/x", "NOT A NAME"]
    assert REACH.hosts(asked) == ["docker.io", "mirror.test:5000", "quay.io", "127.0.0.1:5000", "plain.test"]


def test_plain() -> None:
    hosts = ("plain.test", "localhost:5000", "127.0.0.1", "[::1]:5000", "docker.io", "plain.test:5000")
    assert [REACH.is_plain(host) for host in hosts] == [True, True, True, True, False, False]


def test_mirrored() -> None:
    assert str(REACH.mirrored("python:3.11")) == "mirror.test:5000/library/python:3.11"
    assert REACH.mirrored("ghcr.io/a/b") is None
    assert REACH.mirrored("NOT A NAME") is None


def written(tmp_path: Path, own: str | None, *references: str) -> dict[str, Any]:
    environment = {"HOME": str(tmp_path), "CONTAINERS_REGISTRIES_CONF": str(tmp_path / "own.conf")}
    if own is not None:
        (tmp_path / "own.conf").write_text(own)
    return tomllib.loads(merged(REACH, references, environment))


def test_registries_conf_without_a_file_of_the_users(tmp_path: Path) -> None:
    """Only what the build needs; a short name is Docker Hub's and nobody is asked."""
    said = written(tmp_path, None, "python:3.11", "plain.test/x", "ghcr.io/a/b")
    assert said == {
        "unqualified-search-registries": ["docker.io"],
        "short-name-mode": "permissive",
        "registry": [
            {"location": "docker.io", "mirror": [{"location": "mirror.test:5000", "insecure": False}]},
            {"location": "plain.test", "insecure": True},
        ],
    }


def test_registries_conf_keeps_what_the_user_has(tmp_path: Path) -> None:
    """Our mirror comes first, the user's after it; other registries, aliases and helpers stay as they are."""
    own = """
unqualified-search-registries = ["registry.test"]
credential-helpers = ["ecr-login"]
[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "his.test/hub"
[[registry]]
location = "blocked.test"
blocked = true
[aliases]
"odd\\"name" = "quay.io/a/b"
"""
    said = written(tmp_path, own, "python", "quay.io/x")
    assert said["registry"] == [
        {
            "prefix": "docker.io",
            "location": "docker.io",
            "mirror": [{"location": "mirror.test:5000", "insecure": False}, {"location": "his.test/hub"}],
        },
        {"location": "blocked.test", "blocked": True},
        {"location": "quay.io", "mirror": [{"location": "127.0.0.1:5000", "insecure": True}]},
        {"location": "127.0.0.1:5000", "insecure": True},
    ]
    assert said["aliases"] == {'odd"name': "quay.io/a/b"}
    assert said["credential-helpers"] == ["ecr-login"]
    assert said["unqualified-search-registries"] == ["docker.io"]


def test_registries_conf_of_the_user_in_home(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "containers"
    folder.mkdir(parents=True)
    (folder / "registries.conf").write_text('[[registry]]\nlocation = "mine.test"\ninsecure = true\n')
    said = tomllib.loads(merged(REACH, [], {"HOME": str(tmp_path)}))
    assert said["registry"] == [{"location": "mine.test", "insecure": True}]


def test_registries_conf_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"own\.conf cannot be read"):
        written(tmp_path, "no toml = = =", "python")

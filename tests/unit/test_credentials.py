"""Credentials: where they come from, whose they are, and that nothing tells them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from publisher.errors import SettingsError
from publisher.oci.credentials import BasicAuth, Credentials
from publisher.oci.identity import registry_host

SECRET = "canary-4410"


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def docker(folder: Path, auths: Any) -> dict[str, str]:
    """An environment whose DOCKER_CONFIG has these auths."""
    (folder / "config.json").write_text(json.dumps({"auths": auths}))
    return {"DOCKER_CONFIG": str(folder)}


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("registry.example.org", "registry.example.org"),
        ("registry.example.org:5000/team/models", "registry.example.org:5000"),
        ("https://Registry.Example.org/v2/", "registry.example.org"),
        ("[::1]:5000/x", "[::1]:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("a@b", None),
        ("https://user:pass@registry.example.org/", None),
        ("registry.example.org:port", None),
        ("bücher.example", None),
        ("evil.example#registry.example.org", None),
        ("evil.example\\registry.example.org", None),
        ("", None),
    ],
)
def test_hosts(text: str, host: str | None) -> None:
    """A key or URL stands for one host, or for none where that is open to doubt."""
    assert registry_host(text) == host


def test_environment_belongs_to_registry_url() -> None:
    """REGISTRY_USER and REGISTRY_TOKEN go to the host of REGISTRY_URL and to no other, not even by port."""
    environ = {"REGISTRY_URL": "https://r.example/team", "REGISTRY_USER": "ci", "REGISTRY_TOKEN": SECRET}
    known = Credentials.load(environ, ["other.example"])
    assert known.identity("r.example").auth == BasicAuth("ci", SECRET)
    for other in ("other.example", "r.example:5000", "sub.r.example", "r.example.evil", "docker.io"):
        assert known.identity(other).auth is None


def test_environment_belongs_to_the_only_registry() -> None:
    """Without REGISTRY_URL they go to the only registry of the settings."""
    environ = {"REGISTRY_USER": "ci", "REGISTRY_TOKEN": SECRET}
    known = Credentials.load(environ, ["r.example/team", "r.example/other"])
    assert known.identity("r.example").auth == BasicAuth("ci", SECRET)
    assert Credentials.load(environ).secrets() == frozenset()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"REGISTRY_USER": "ci", "REGISTRY_TOKEN": SECRET},
            "do not say whose they are: a.example, b.example",
        ),
        ({"REGISTRY_USER": "ci"}, "REGISTRY_USER is set, REGISTRY_TOKEN is not"),
        ({"REGISTRY_TOKEN": SECRET}, "REGISTRY_TOKEN is set, REGISTRY_USER is not"),
        (
            {"REGISTRY_USER": "ci", "REGISTRY_TOKEN": "t", "REGISTRY_URL": f"https://u:{SECRET}@a.example"},
            "REGISTRY_URL does not start with a registry's host",
        ),
    ],
)
def test_environment_faults(more: dict[str, str], words: str) -> None:
    """Half a pair, an owner in doubt or a URL with a password is a fault of the settings, told without secrets."""
    with pytest.raises(SettingsError, match=words) as caught:
        Credentials.load(more, ["a.example", "b.example"])
    assert SECRET not in caught.value.line


def test_a_layout_needs_none() -> None:
    """With a folder as the target, the environment's pair belongs to nobody."""
    environ = {"REGISTRY_URL": "oci:out", "REGISTRY_USER": "ci", "REGISTRY_TOKEN": SECRET}
    assert Credentials.load(environ, ["r.example"]).secrets() == frozenset()


@pytest.mark.parametrize(
    ("entry", "auth"),
    [
        ({"auth": packed(f"ci:{SECRET}")}, BasicAuth("ci", SECRET)),
        ({"auth": packed(f"ci:{SECRET}:with:colons")}, BasicAuth("ci", f"{SECRET}:with:colons")),
        ({"username": "ci", "password": SECRET}, BasicAuth("ci", SECRET)),
        (
            {"auth": packed("ci:"), "identitytoken": SECRET},
            BasicAuth("ci", "", SECRET),
        ),
        ({}, None),
        ({"auth": ""}, None),
    ],
)
def test_docker_entries(entry: dict[str, str], auth: BasicAuth | None, tmp_path: Path) -> None:
    """Each form of an entry in Docker's file is read; an empty one, of a credential helper, is none."""
    assert Credentials.load(docker(tmp_path, {"r.example": entry})).identity("r.example").auth == auth


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub(host: str, tmp_path: Path) -> None:
    """Docker Hub's old key serves each of its names."""
    environ = docker(tmp_path, {"https://index.docker.io/v1/": {"auth": packed(f"me:{SECRET}")}})
    assert Credentials.load(environ).identity(host).auth == BasicAuth("me", SECRET)


def test_bare_key_wins(tmp_path: Path) -> None:
    """Of two keys for a host the bare one wins, in whatever order they stand; the environment wins over both."""
    keys = {"r.example": {"auth": packed("bare:1")}, "https://r.example/v2/": {"auth": packed("url:2")}}
    for order in (keys, dict(reversed(keys.items()))):
        assert Credentials.load(docker(tmp_path, order)).identity("r.example").auth == BasicAuth("bare", "1")
    more = {"REGISTRY_URL": "r.example", "REGISTRY_USER": "ci", "REGISTRY_TOKEN": SECRET}
    assert Credentials.load(docker(tmp_path, keys) | more).identity("r.example").auth == BasicAuth(
        "ci", SECRET
    )


def test_home(tmp_path: Path) -> None:
    """Without DOCKER_CONFIG the file is in the home folder that the environment names, if it is there."""
    assert Credentials.load({"HOME": str(tmp_path)}).secrets() == frozenset()
    assert Credentials.load({}).secrets() == frozenset()
    (tmp_path / ".docker").mkdir()
    docker(tmp_path / ".docker", {"r.example": {"auth": packed(f"ci:{SECRET}")}})
    assert Credentials.load({"HOME": str(tmp_path)}).identity("r.example").auth == BasicAuth("ci", SECRET)


@pytest.mark.parametrize(
    "content",
    [
        f'{{"auths": {{"r.example": {{"auth": "{SECRET}"',
        f'["{SECRET}"]',
        f'{{"auths": "{SECRET}"}}',
        f'{{"auths": {{"r.example": "{SECRET}"}}}}',
        f'{{"auths": {{"r.example": {{"auth": "{SECRET}"}}}}}}',
        f'{{"auths": {{"r.example": {{"auth": "{packed(SECRET)}"}}}}}}',
        f'{{"auths": {{"r.example": {{"auth": ["{SECRET}"]}}}}}}',
        "\udcff",
    ],
)
def test_broken_file(content: str, tmp_path: Path) -> None:
    """A broken config.json is a fault of the settings that names the file and holds nothing of its content."""
    (tmp_path / "config.json").write_text(content, errors="surrogateescape")
    with pytest.raises(SettingsError) as caught:
        Credentials.load({"DOCKER_CONFIG": str(tmp_path)})
    assert str(tmp_path / "config.json") in caught.value.line
    for text in (SECRET, packed(SECRET)):
        assert text not in caught.value.line
    assert caught.value.__suppress_context__


def test_secrets() -> None:
    """No repr tells a secret, and a redaction gets each form of it."""
    known = Credentials({"r.example": BasicAuth("ci", SECRET, "token-8")})
    assert SECRET not in repr(known)
    assert "token-8" not in repr(known)
    assert known.secrets() == {SECRET, "token-8", packed(SECRET), packed("token-8"), packed(f"ci:{SECRET}")}

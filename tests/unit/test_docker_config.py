"""Which of several files is asked first, and keys that name a namespace."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from publisher.errors import SettingsError
from publisher.oci.credentials import BasicAuth, Credentials

SECRET = "canary-7702"


def auths(**users: str) -> str:
    """A document with an entry for each key; ``__`` stands for a slash, ``_`` for a dot."""
    entries = {
        key.replace("__", "/").replace("_", "."): {
            "auth": base64.b64encode(f"{user}:{SECRET}".encode()).decode()
        }
        for key, user in users.items()
    }
    return json.dumps({"auths": entries})


def written(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def user(environ: dict[str, str], name: str = "team/model", host: str = "r.example") -> str | None:
    auth = Credentials.load(environ).identity(host, name).auth
    return auth.username if auth else None


def test_order(tmp_path: Path) -> None:
    """Each place is asked when those before it know nothing: the variable, Docker's file, podman's two."""
    environ = {"HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    assert user(environ) is None
    written(tmp_path / "home/.config/containers/auth.json", auths(r_example="kept"))
    assert user(environ) == "kept"
    written(tmp_path / "run/containers/auth.json", auths(r_example="podman"))
    assert user(environ) == "podman"
    written(tmp_path / "home/.docker/config.json", auths(r_example="docker"))
    assert user(environ) == "docker"
    written(tmp_path / "other/config.json", auths(r_example="elsewhere"))
    assert user(environ | {"DOCKER_CONFIG": str(tmp_path / "other")}) == "elsewhere"
    environ["DOCKER_AUTH_CONFIG"] = auths(r_example="variable", other_example="variable")
    assert user(environ) == "variable"
    assert user(environ | {"GITLAB_CI": "true"}) == "docker"
    assert user(environ | {"GITLAB_CI": "true"}, host="other.example") == "variable"


def test_registry_auth_file(tmp_path: Path) -> None:
    """REGISTRY_AUTH_FILE is podman's way to say: this file and no other."""
    written(tmp_path / ".docker/config.json", auths(r_example="docker", other_example="docker"))
    path = written(tmp_path / "auth.json", auths(r_example="explicit"))
    environ = {"HOME": str(tmp_path), "REGISTRY_AUTH_FILE": path}
    assert user(environ) == "explicit"
    assert user(environ, host="other.example") is None


def test_namespaces(tmp_path: Path) -> None:
    """The most exact key that leads to a repository wins; a namespace's key serves no other namespace."""
    path = written(
        tmp_path / "auth.json", auths(r_example="host", r_example__team="team", r_example__team__a="exact")
    )
    environ = {"REGISTRY_AUTH_FILE": path}
    assert user(environ, "team/a") == "exact"
    assert user(environ, "team/a/deeper") == "exact"
    assert user(environ, "team/ab") == "team"
    assert user(environ, "teams") == "host"
    alone = {"REGISTRY_AUTH_FILE": written(tmp_path / "alone.json", auths(r_example__team="team"))}
    assert user(alone, "other") is None


def test_namespaces_in_dockers_file(tmp_path: Path) -> None:
    """`docker login host/namespace` is a login to the host, unless there is another for it."""
    written(tmp_path / "config.json", auths(r_example__team="team"))
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    assert user(environ, "other") == "team"
    written(tmp_path / "config.json", auths(r_example__team="team", r_example__x="x"))
    assert user(environ, "other") is None
    assert user(environ, "x") == "x"


def test_the_environment_wins(tmp_path: Path) -> None:
    """REGISTRY_USER goes before a namespaced key of a file."""
    path = written(tmp_path / "auth.json", auths(r_example__team="team"))
    environ = {"REGISTRY_AUTH_FILE": path, "REGISTRY_URL": "r.example"}
    own = {"REGISTRY_USER": "ci", "REGISTRY_TOKEN": SECRET}
    assert user(environ | own) == "ci"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"auths": {"r.example": {"auth": "%"}}}',
        '{"credHelpers": ["x"]}',
        '{"credsStore": {"a": 1}}',
    ],
)
def test_broken_variable(text: str) -> None:
    """What cannot be read is a fault that names its place, and tells nothing of its content."""
    with pytest.raises(SettingsError, match=r"^DOCKER_AUTH_CONFIG"):
        Credentials.load({"DOCKER_AUTH_CONFIG": text})


def test_secrets_of_all_places(tmp_path: Path) -> None:
    """Every entry's secret is known to a redaction, also one that is never used."""
    written(tmp_path / "config.json", auths(r_example__team="team"))
    known = Credentials.load({"DOCKER_CONFIG": str(tmp_path)})
    assert {SECRET, *BasicAuth("team", SECRET).secrets()} <= known.secrets()

"""Docker's credential helpers: real programs on a PATH of the test's own, well-behaved and not."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from publisher.oci.credential_helpers import HelperError, ask
from publisher.oci.credentials import BasicAuth, Credentials

SECRET = "canary-3391"
Helpers = Callable[[str, str], dict[str, str]]


@pytest.fixture
def helper(tmp_path: Path) -> Helpers:
    """Write ``docker-credential-NAME`` as a shell script; the environment to call it with."""

    def write(name: str, script: str) -> dict[str, str]:
        path = tmp_path / "bin" / f"docker-credential-{name}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return {"PATH": f"{path.parent}:/usr/bin:/bin"}

    return write


def says(user: str, secret: str = SECRET) -> str:
    return f"cat > /dev/null; echo '{json.dumps({'ServerURL': 'x', 'Username': user, 'Secret': secret})}'"


def test_get(helper: Helpers, tmp_path: Path) -> None:
    """The helper is asked to `get` the server on its standard input, and nothing is in its arguments."""
    log = tmp_path / "log"
    environ = helper("mine", f'echo "$@" > {log}; cat >> {log}; echo \'{{"Username": "u", "Secret": "s"}}\'')
    assert ask("mine", "r.example:5000", environ) == BasicAuth("u", "s")
    assert log.read_text() == "get\nr.example:5000"
    ask("mine", "docker.io", environ)
    assert log.read_text() == "get\nhttps://index.docker.io/v1/"


def test_identity_token(helper: Helpers) -> None:
    """The user `<token>` says that the secret is an identity token."""
    assert ask("t", "r.example", helper("t", says("<token>"))) == BasicAuth("<token>", identity_token=SECRET)


@pytest.mark.parametrize(
    "script",
    [
        "echo credentials not found in native keychain; exit 1",
        says("", ""),
    ],
)
def test_nothing_known(helper: Helpers, script: str) -> None:
    """A helper that knows nothing of a host is no fault."""
    assert ask("empty", "r.example", helper("empty", script)) is None


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (f"echo nonsense {SECRET}", "does not answer with a user and a secret"),
        (f"echo '[\"{SECRET}\"]'", "does not answer with a user and a secret"),
        (f'echo \'{{"Username": 1, "Secret": "{SECRET}"}}\'', "does not answer with a user and a secret"),
        ("echo the session has expired; exit 1", "fails with exit code 1: the session has expired"),
        (f'echo \'{{"Secret": "{SECRET}"}}\'; exit 3', "fails with exit code 3$"),
        (f"echo {SECRET} >&2; exit 2", "fails with exit code 2$"),
        ("yes", "answers without end"),
        ("kill -9 $$", "exit code -9"),
    ],
)
def test_misbehaved(helper: Helpers, script: str, words: str) -> None:
    """Nonsense, a failure and an endless answer are told by the helper's name, without what it said as an answer."""
    environ = helper("bad", script)
    start = time.monotonic()
    with pytest.raises(HelperError, match=words) as caught:
        ask("bad", "r.example", environ)
    assert time.monotonic() - start < 20
    assert "docker-credential-bad" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "script", ["sleep 73.391", "sleep 73.391 & exec sleep 73.391", "sleep 73.391 & exit 0"]
)
def test_hangs(helper: Helpers, script: str) -> None:
    """A helper that hangs, or leaves a child that holds its output, ends with what it started."""
    environ = helper("slow", script)
    start = time.monotonic()
    with pytest.raises(HelperError, match="no answer within 1 seconds"):
        ask("slow", "r.example", environ, seconds=1.0)
    assert time.monotonic() - start < 20
    time.sleep(0.1)
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [line for line in running if b"73.391" in line]


@pytest.mark.parametrize("name", ["missing", "../evil", "/bin/sh", "a b", "-x", "", "x;id", "a\nb"])
def test_absent(name: str, tmp_path: Path) -> None:
    """A helper that is not there, and a name that is a path, run nothing."""
    with pytest.raises(HelperError, match="is not on the PATH"):
        ask(name, "r.example", {"PATH": str(tmp_path)})


@pytest.mark.parametrize("path", [".", "", "bin", ":"])
def test_relative_path(helper: Helpers, tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH that means the current folder finds no helper there."""
    helper("here", says("u"))
    monkeypatch.chdir(tmp_path / "bin")
    with pytest.raises(HelperError, match="is not on the PATH"):
        ask("here", "r.example", {"PATH": path})


def config(folder: Path, environ: dict[str, str], document: object) -> Credentials:
    (folder / "config.json").write_text(json.dumps(document))
    return Credentials.load({**environ, "DOCKER_CONFIG": str(folder)})


def test_which_helper(helper: Helpers, tmp_path: Path) -> None:
    """A host's own helper goes before the store; an empty name turns the store off; an entry is the last resort."""
    environ = helper("store", says("store")) | helper("own", says("own")) | helper("none", says("", ""))
    packed = "ZW50cnk6cHc="  # entry:pw
    document = {
        "credsStore": "store",
        "credHelpers": {"own.example": "own", "off.example": "", "none.example": "none"},
        "auths": {"off.example": {"auth": packed}, "none.example": {"auth": packed}, "r.example": {}},
    }
    known = config(tmp_path, environ, document)
    for host, user in {
        "own.example": "own",
        "r.example": "store",
        "off.example": "entry",
        "none.example": "entry",
    }.items():
        auth = known.identity(host, "team/model").auth
        assert auth
        assert auth.username == user


def test_asked_once(helper: Helpers, tmp_path: Path) -> None:
    """A helper is asked once for a host, and not at all for a host that nobody uses."""
    log = tmp_path / "log"
    environ = helper("counted", f"echo x >> {log}; " + says("u"))
    known = config(tmp_path, environ, {"credsStore": "counted"})
    assert not log.exists()
    for name in ("a", "b"):
        assert known.identity("r.example", name).auth == BasicAuth("u", SECRET)
    assert log.read_text() == "x\n"
    assert SECRET in known.secrets()


def test_fault_is_kept_for_later(tmp_path: Path) -> None:
    """A store that is missing, as beside many copied files, is no fault until a registry asks who we are."""
    known = config(tmp_path, {"PATH": os.environ["PATH"]}, {"credsStore": "desktop-7"})
    identity = known.identity("docker.io", "library/python")
    assert identity.auth is None
    assert identity.fault == "the credential helper docker-credential-desktop-7 is not on the PATH"


def test_each_secret_is_told(helper: Helpers, tmp_path: Path) -> None:
    """Whoever filters texts hears of a secret as soon as it is known, also of one that a helper gives late."""
    environ = helper("late", says("<token>"))
    packed = "ZW50cnk6Y2FuYXJ5LTEx"  # entry:canary-11
    (tmp_path / "config.json").write_text(
        json.dumps({"credHelpers": {"r.example": "late"}, "auths": {"other.example": {"auth": packed}}})
    )
    heard: list[str] = []
    known = Credentials.load({**environ, "DOCKER_CONFIG": str(tmp_path)}, learned=heard.append)
    assert heard == ["canary-11"]
    known.identity("r.example")
    assert heard == ["canary-11", SECRET]

"""Status tags and the server's faults: MlflowSource against a real MLflow server."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from publisher.errors import (
    ModelRegistryError,
    UnknownVersionError,
)
from publisher.sources.mlflow import MlflowSource
from tests.contract.lying_proxy import Answer, LyingProxy
from tests.contract.mlflow_lab import FILE, LISTING, TAG, Lab, fetch, target


def test_record_writes_what_differs(lab: Lab, proxy: LyingProxy) -> None:
    """Only changed tags are written and only present ones deleted, these after the last is written; then silence."""
    version = lab.register(f"runs:/{lab.run2}", lab.run2, keep="same", old="gone")
    source = MlflowSource(proxy.uri, os.environ)
    tags = {
        "keep": "same",
        **{f"publisher.lab.{n}": str(n) for n in range(6)},
        "publisher.lab.state": "failed",
    }
    source.record(version, tags, ["old", "never-there"])
    assert len(proxy.requests) == 8
    assert [line.split()[0] for line in proxy.requests] == [*["POST"] * 7, "DELETE"]
    now = lab.source.get(version.name, version.version).tags
    assert dict(now) == tags
    source.record(version, tags, ["old"])
    assert len(proxy.requests) == 8
    source.record(version, {"publisher.lab.state": "published"}, ["publisher.lab.0"])
    assert len(proxy.requests) == 10
    source.record(version, {"publisher.lab.0": "0", "publisher.lab.state": "failed"})
    assert lab.source.get(version.name, version.version).tags["publisher.lab.0"] == "0"


def test_the_last_tag_is_a_commit(lab: Lab, proxy: LyingProxy) -> None:
    """When any other tag cannot be written, the last one stays as it was."""
    version = lab.register(f"runs:/{lab.run2}", lab.run2)
    with pytest.raises(ModelRegistryError):
        MlflowSource(proxy.uri, os.environ).record(version, {"a{b}": "not a key", "state": "published"})
    assert lab.source.get(version.name, version.version).tags == {}


def test_long_values_are_cut(lab: Lab) -> None:
    """A value is cut to what servers before MLflow 3 take, between characters, and shows that it was."""
    version = lab.register(f"runs:/{lab.run2}", lab.run2)
    lab.source.record(version, {"reason": "ü" * 600})
    assert lab.source.get(version.name, version.version).tags["reason"] == "ü" * 499 + "…"


@pytest.mark.parametrize(("name", "version"), [("never-registered", "1"), ("never-registered", "v1")])
def test_an_unknown_version(lab: Lab, name: str, version: str) -> None:
    """A version that is not there is told apart from a server that is not there."""
    with pytest.raises(UnknownVersionError) as fault:
        lab.source.get(name, version)
    assert not fault.value.retryable


def test_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that cannot be reached is a retryable fault that shows its address and no password."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    source = MlflowSource(f"http://someone:canary@127.0.0.1:{port}", os.environ)
    with pytest.raises(ModelRegistryError, match=f"cannot reach MLflow at http://127.0.0.1:{port}") as fault:
        list(source.discover(target(TAG)))
    assert "Connection refused" in str(fault.value)
    assert fault.value.retryable
    assert "canary" not in fault.value.line + fault.value.detail


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("stage", ["search", "listing", "file"])
def test_refused_credentials(lab: Lab, proxy: LyingProxy, tmp_path: Path, status: int, stage: str) -> None:
    """Credentials that the server refuses are named, at each stage, with the variables that hold them."""
    version = lab.register(f"runs:/{lab.run2}", lab.run2, REFUSED="true")
    begins = {"search": "GET /api/2.0/mlflow/model-versions/search", "listing": LISTING, "file": FILE}[stage]
    proxy.lie = lambda line, truth: (
        Answer(status, "text/html", b"<html>no") if line.startswith(begins) else None
    )
    source = MlflowSource(proxy.uri, os.environ)
    with pytest.raises(ModelRegistryError, match="refuses our credentials") as fault:
        list(source.discover(target("REFUSED")))
        fetch(source, version, tmp_path / "work")
    assert "MLFLOW_TRACKING_USERNAME" in fault.value.hint
    assert fault.value.retryable


def test_a_server_that_fails(lab: Lab, proxy: LyingProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's own failure is retryable, told in one line, and asked for again before it counts."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    proxy.lie = lambda line, truth: Answer(500, "text/html", b"<html>\noops")
    with pytest.raises(ModelRegistryError) as fault:
        list(MlflowSource(proxy.uri, os.environ).discover(target(TAG)))
    assert fault.value.retryable
    assert "\n" not in fault.value.line
    assert len(proxy.requests) == 2

"""Listings and files that lie: a real proxy in front of the MLflow server changes its answers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from publisher.errors import (
    ArtifactError,
    HostError,
    PublisherError,
    TransferError,
)
from publisher.sources.mlflow import MlflowSource
from tests.contract.lying_proxy import Answer, LyingProxy
from tests.contract.mlflow_lab import FILE, LISTING, Lab, Seen, fetch, files


def listing(*entries: dict[str, object]) -> Callable[[str, Answer], Answer | None]:
    def lie(line: str, truth: Answer) -> Answer | None:
        # The model's folder itself: what is listed there is what is walked.
        if not line.startswith(LISTING) or not line.endswith("mymodel"):
            return None
        real = json.loads(truth.body)["files"]
        return replace(truth, body=json.dumps({"files": real + list(entries)}).encode())

    return lie


@pytest.mark.parametrize(
    "path",
    [
        "../../../canary",
        "/tmp/canary",
        "%2e%2e/%2e%2e/canary",
        "..",
        "sub/canary",
        "a\\..\\canary",
        "a\u2028b",
        "\ud800",
        "x" * 256,
        "mlmodel",
    ],
)
def test_a_listing_with_a_hostile_path(lab: Lab, proxy: LyingProxy, tmp_path: Path, path: str) -> None:
    """A listed path that leaves its folder, or hides what it is, ends the download before the first file."""
    version = lab.register(f"runs:/{lab.run2}/mymodel", lab.run2)
    proxy.lie = listing({"path": path, "is_dir": False, "file_size": 3})
    with pytest.raises(ArtifactError) as fault:
        fetch(MlflowSource(proxy.uri, os.environ), version, tmp_path / "deep" / "work")
    assert "\n" not in fault.value.line
    assert not any(line.startswith(FILE) for line in proxy.requests)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_folder_without_end(lab: Lab, proxy: LyingProxy, tmp_path: Path) -> None:
    """A listing in which every folder holds another one is ended by its depth."""
    version = lab.register(f"runs:/{lab.run2}/mymodel", lab.run2)

    def lie(line: str, truth: Answer) -> Answer | None:
        below = line.startswith(LISTING) and "mymodel" in line
        entry = {"path": "again", "is_dir": True}
        real = json.loads(truth.body).get("files", []) if below else []
        return replace(truth, body=json.dumps({"files": [*real, entry]}).encode()) if below else None

    proxy.lie = lie
    with pytest.raises(ArtifactError, match="folders deep"):
        fetch(MlflowSource(proxy.uri, os.environ), version, tmp_path / "work")


def test_more_than_the_disk_holds(lab: Lab, proxy: LyingProxy, tmp_path: Path) -> None:
    """A listing of more bytes than the disk has free is refused before the first byte, and may be retried."""
    version = lab.register(f"runs:/{lab.run2}/mymodel", lab.run2)
    proxy.lie = listing({"path": "huge.bin", "is_dir": False, "file_size": 1 << 60})
    with pytest.raises(HostError, match="free") as fault:
        fetch(MlflowSource(proxy.uri, os.environ), version, tmp_path / "work")
    assert fault.value.retryable
    assert not any(line.startswith(FILE) for line in proxy.requests)


def test_a_negative_size(lab: Lab, proxy: LyingProxy, tmp_path: Path) -> None:
    """A listing with a size below zero is refused."""
    version = lab.register(f"runs:/{lab.run2}/mymodel", lab.run2)
    proxy.lie = listing({"path": "odd.bin", "is_dir": False, "file_size": -1})
    with pytest.raises(ArtifactError, match="its size is -1"):
        fetch(MlflowSource(proxy.uri, os.environ), version, tmp_path / "work")


class Spoilt:
    """Spoils the file MLmodel the first `times` times."""

    def __init__(self, times: int, spoil: Callable[[Answer], Answer]) -> None:
        self.left, self.spoil, self.asked = times, spoil, 0

    def __call__(self, line: str, truth: Answer) -> Answer | None:
        if not (line.startswith(FILE) and line.endswith("MLmodel")):
            return None
        self.asked += 1
        self.left -= 1
        return self.spoil(truth) if self.left >= 0 else None


def cut(truth: Answer) -> Answer:
    return replace(truth, body=truth.body[:-7], length=len(truth.body))


def shorter(truth: Answer) -> Answer:
    return replace(truth, body=truth.body[:-7])


def longer(truth: Answer) -> Answer:
    return replace(truth, body=truth.body + b"x" * 50_000_000)


def absent(truth: Answer) -> Answer:
    return replace(truth, status=404, body=b"{}")


@pytest.mark.parametrize("spoil", [cut, shorter, longer, absent])
def test_one_more_download(
    lab: Lab, proxy: LyingProxy, tmp_path: Path, spoil: Callable[[Answer], Answer]
) -> None:
    """A file that arrives spoilt once is fetched again, and the progress ends at the true size."""
    version = lab.register(f"runs:/{lab.run2}/mymodel", lab.run2)
    proxy.lie = spoilt = Spoilt(1, spoil)
    seen = Seen()
    fetched = MlflowSource(proxy.uri, os.environ).fetch(version, tmp_path / "work", seen, "subject")
    assert files(fetched.model) == files(lab.folder / "saved")
    assert spoilt.asked == 2
    assert seen.done == fetched.bytes


@pytest.mark.parametrize(
    ("spoil", "fault_and_retry"),
    [
        (cut, (TransferError, True)),
        (shorter, (ArtifactError, False)),
        (longer, (ArtifactError, False)),
        (absent, (ArtifactError, False)),
    ],
)
def test_a_file_that_stays_spoilt(
    lab: Lab,
    proxy: LyingProxy,
    tmp_path: Path,
    spoil: Callable[[Answer], Answer],
    fault_and_retry: tuple[type[PublisherError], bool],
) -> None:
    """A file that is spoilt twice ends the fetch with its name, and leaves nothing on the disk."""
    version = lab.register(f"runs:/{lab.run2}/mymodel", lab.run2)
    proxy.lie = Spoilt(99, spoil)
    kind, retryable = fault_and_retry
    with pytest.raises(kind, match="MLmodel") as fault:
        fetch(MlflowSource(proxy.uri, os.environ), version, tmp_path / "work")
    assert fault.value.retryable is retryable
    assert list((tmp_path / "work").iterdir()) == []


def test_a_folder_that_is_not_empty(lab: Lab, tmp_path: Path) -> None:
    """Files are never mixed with what a folder holds, and what it holds stays."""
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(HostError, match="not empty"):
        fetch(lab.source, lab.register(f"runs:/{lab.run2}", lab.run2), tmp_path)
    assert (tmp_path / "mine").read_text() == "mine"

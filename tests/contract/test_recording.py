"""What becomes of a version, as it stands in a real MLflow server when two publishers are at it."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from publisher import status
from publisher.domain import Status
from publisher.errors import BuildError
from publisher.recording import Record
from publisher.running import Running
from publisher.sources.mlflow import MlflowSource
from tests.contract.mlflow_lab import Lab, target

LAB = target("EXTERNAL_TARGET_LAB")
DIGEST = "sha256:" + "a" * 64


def record(lab: Lab, name: str, notes: list[str]) -> Record:
    """A publisher of its own: its source knows nothing of what others write."""
    source = MlflowSource(lab.server.uri, os.environ)
    return Record(
        source.get(name, "1"),
        LAB,
        source,
        Running(),
        lambda: datetime.now(UTC).replace(microsecond=0),
        notes.append,
    )


def now(lab: Lab, name: str) -> Status | None:
    return status.read(lab.source.get(name, "1").tags, LAB.name)


@pytest.mark.parametrize("other_ends", [True, False])
def test_a_late_failure_hides_no_success(lab: Lab, other_ends: bool) -> None:
    """Of two at one version one ends well and the other one fails after it: the status stays published."""
    name = lab.register(lab.root(lab.run2), lab.run2).name
    notes: list[str] = []
    ours, other = record(lab, name, notes), record(lab, name, notes)
    ours.claim("image:v1", "")
    other.claim("image:v1", "")
    if other_ends:
        other.published(DIGEST, "", lambda known: known)
    ours.failed(BuildError("out of luck"))
    found = now(lab, name)
    assert found
    assert (found.state, found.digest) == (("published", DIGEST) if other_ends else ("failed", ""))
    assert notes == (["another publisher has published it meanwhile: its status stays"] if other_ends else [])
    assert ours.running.claims == {}

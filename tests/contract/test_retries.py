"""Retries, from a fault to its end: a real MLflow, a registry that is not there, and a clock of the test's own."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from publisher import status, wiring
from publisher.decide import next_try
from publisher.domain import Outcome, Status
from publisher.errors import DeadlineError
from publisher.progress import Silent, subject_of
from publisher.settings import load
from tests import small
from tests.contract.lying_proxy import Answer, lying_proxy
from tests.engines.mlflow import MlflowServer
from tests.models import Registered

ARTIFACTS = "/mlflow-artifacts/artifacts"
THEN = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Site:
    """A publisher that is started anew for each poll, on an empty disk, at a moment that the test says."""

    def __init__(self, server: MlflowServer, folder: Path, target: str, **variables: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:  # nobody listens there from now on
            host = f"127.0.0.1:{listener.getsockname()[1]}"
        self.server, self.folder, self.target, self.starts = server, folder, target, 0
        self.variables = {
            "MLFLOW_TRACKING_URI": server.uri,
            f"PUBLISHER_TARGETS__{target}__REGISTRY": f"{host}/x",
            f"PUBLISHER_TARGETS__{target}__BASE": f"{host}/base/python:3.11",
            **variables,
        }

    def poll(self, moment: datetime, version: Registered) -> Outcome:
        self.starts += 1
        folder = str(self.folder / str(self.starts))
        settings = load({"cache_folder": folder}, self.variables)
        with wiring.connect(settings, dict(os.environ), Silent()) as app:
            then = replace(app, stages=replace(app.stages, now=lambda: moment))
            [outcome] = [each for each in then.poll() if each.version.name == version.name]
        return outcome

    def status(self, version: Registered) -> Status:
        found = status.read(self.server.tags(version.name, version.version), self.target)
        assert found
        return found


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_waits_grow_and_survive_every_restart(mlflow_server: MlflowServer, tmp_path: Path) -> None:
    """A registry that is away: each failure is counted in MLflow, and nobody tries before the time it names."""
    version = small.register(mlflow_server, "retried", "RETRY")
    site, moment, waits = Site(mlflow_server, tmp_path, "RETRY"), THEN, []
    for attempt in (1, 2, 3, 4):
        outcome = site.poll(moment, version)
        assert outcome.state == "failed"
        found = site.status(version)
        assert (found.state, found.attempts) == ("failed", attempt)
        assert found.next_try
        assert found.next_try > moment
        waits.append((found.next_try - moment).total_seconds())
        early = site.poll(found.next_try - timedelta(seconds=1), version)
        assert (early.state, site.status(version).attempts) == ("skipped", attempt)
        assert early.reason.startswith("next try at ")
        moment = found.next_try
    assert [round(wait / 60 / 2**n, 2) for n, wait in enumerate(waits)] == pytest.approx([0.9] * 4, abs=0.11)
    subject = subject_of(outcome.version, "RETRY")
    due = next_try(1, THEN, True, of=subject)
    assert due
    assert waits[0] == pytest.approx((due - THEN).total_seconds(), abs=1)


def test_a_deadline_ends_a_publication_and_names_the_stage(
    mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    """Files that come too slowly: a retryable failure before the next stage, which says in which the time went."""
    version = small.register(mlflow_server, "late", "LATE")

    def slowly(line: str, _: Answer) -> None:
        if ARTIFACTS in line:
            time.sleep(1.2)

    with lying_proxy(mlflow_server.uri) as front:
        front.lie = slowly
        late = {"MLFLOW_TRACKING_URI": front.uri, "PUBLISHER_TARGETS__LATE__DEADLINE": "1s"}
        outcome = Site(mlflow_server, tmp_path, "LATE", **late).poll(THEN, version)
    assert (outcome.state, outcome.exit_code) == ("failed", DeadlineError.exit_code)
    assert "deadline of 1s: its time was over in the stage fetch" in outcome.reason
    found = status.read(mlflow_server.tags(version.name, version.version), "LATE")
    assert found
    assert found.next_try
    assert found.reason == outcome.reason


def test_mlflow_that_goes_away_in_the_middle_counts_no_attempt(
    mlflow_server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files cannot be had, and it can still be written to: begun and given up, and tried by the next poll."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    version = small.register(mlflow_server, "gone", "GONE")
    with lying_proxy(mlflow_server.uri) as front:
        front.lie = lambda line, _: Answer(503, "text/html", b"later") if ARTIFACTS in line else None
        site = Site(mlflow_server, tmp_path, "GONE", MLFLOW_TRACKING_URI=front.uri)
        assert site.poll(THEN, version).state == "failed"
        assert (site.status(version).state, site.status(version).attempts) == ("stopped", 0)
        front.lie = None
        site.poll(THEN + timedelta(seconds=1), version)
    assert (site.status(version).state, site.status(version).attempts) == ("failed", 1)

"""The health file: who reads it learns whether polls go on."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from publisher.cli import main
from publisher.domain import ModelVersion, Outcome
from publisher.health import Health, check

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_good_poll_is_told_with_its_time(tmp_path: Path) -> None:
    """The file has the moment and the outcomes, and is well for as long as asked."""
    path = tmp_path / "health"
    Health(path, now=lambda: NOW).polled({"published": 2, "skipped": 40}, 3.25)
    said = json.loads(path.read_text())
    assert said["polled"] == "2026-01-02T12:00:00+00:00"
    assert said["outcomes"] == {"published": 2, "skipped": 40}
    assert check(path, HOUR, NOW + HOUR) == ""
    assert check(path, HOUR, NOW + timedelta(hours=1, seconds=5)) == "the last good poll was 1h5s ago"
    assert list(tmp_path.iterdir()) == [path]


def test_polls_that_fail_make_it_old(tmp_path: Path) -> None:
    """A skipped poll leaves the time of the last good one, and adds why."""
    path = tmp_path / "health"
    health = Health(path, now=lambda: NOW)
    health.skipped("cannot reach MLflow")
    assert check(path, HOUR, NOW) == "no good poll yet; cannot reach MLflow"
    health.polled({}, 0.1)
    health.skipped("cannot reach MLflow")
    assert check(path, HOUR, NOW) == ""
    assert check(path, HOUR, NOW + 2 * HOUR) == "the last good poll was 2h ago; cannot reach MLflow"


def test_a_long_poll_is_alive_while_versions_are_done(tmp_path: Path) -> None:
    """The probe does not kill a publisher in the middle of its work."""
    path, moment = tmp_path / "health", NOW
    health = Health(path, now=lambda: moment)
    health.polled({}, 0.1)
    moment = NOW + 2 * HOUR
    health.done(Outcome(ModelVersion("m", "1", "", NOW), "T", "published", ""))
    assert check(path, HOUR, NOW + 2 * HOUR) == ""


def test_what_cannot_be_read_is_not_well(tmp_path: Path) -> None:
    """No file, and a file of something else, are told as such; a folder that is gone ends no poll."""
    assert "cannot be read" in check(tmp_path / "none", HOUR, NOW)
    for text in ("", "[]", '{"polled": "yesterday"}', '{"polled": 5}', "\x00"):
        (tmp_path / "odd").write_text(text)
        assert "is not what" in check(tmp_path / "odd", HOUR, NOW)
    Health(tmp_path / "gone" / "health").polled({}, 0.1)


def test_one_variable_names_the_file_for_both_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """PUBLISHER_HEALTH is no unknown setting; `publisher health` reads the file that it names."""
    path = tmp_path / "health.json"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PUBLISHER_HEALTH", str(path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("REGISTRY_URL", "127.0.0.1:9/x")
    monkeypatch.setenv("PUBLISHER_CACHE_FOLDER", str(tmp_path / "cache"))
    assert main(["targets"]) == 0
    Health(path).polled({}, 0.1)
    assert main(["health"]) == 0
    assert "well" in capsys.readouterr().out
    monkeypatch.delenv("PUBLISHER_HEALTH")
    assert main(["health"]) == 2

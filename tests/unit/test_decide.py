"""Each situation, its action and its reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from publisher import __version__
from publisher.decide import decide, next_try
from publisher.domain import ModelVersion, Platform, Registration, Status, Target
from publisher.status import fingerprint

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
TARGET = Target("lab", "EXTERNAL_TARGET_LAB", "r.example.org", (Platform("linux", "amd64"),), "python:3.11")
VERSION = ModelVersion("m", "3", "runs:/1/m", NOW, "1", {TARGET.tag: "true"})
SAME = fingerprint(VERSION, TARGET)
DIGEST = "sha256:" + "a" * 64
PUBLISHED = Status("published", image="r/m:v3", digest=DIGEST, fingerprint=SAME)
FAILED = Status("failed", "no wheel for linux/arm64", fingerprint=SAME, attempts=2, release=__version__)
PUBLISHING = Status("publishing", fingerprint=SAME)


def test_never_published() -> None:
    """A version without a status is published."""
    assert decide(VERSION, TARGET, None, NOW).action == "publish"


@pytest.mark.parametrize(
    ("own", "models", "said"),
    [
        ("true", None, ""),
        (" YES ", None, ""),
        ("1", "false", ""),
        (None, "On", ""),
        (None, None, "it has no tag EXTERNAL_TARGET_LAB: not asked for"),
        ("False", "true", "its tag EXTERNAL_TARGET_LAB is 'False': not asked for"),
        (None, "0", "the tag EXTERNAL_TARGET_LAB of its model is '0': not asked for"),
        ("", "true", "its tag EXTERNAL_TARGET_LAB is empty, neither true-like"),
        ("ture", None, "its tag EXTERNAL_TARGET_LAB is 'ture', neither true-like (true, 1, yes, on) nor"),
        (None, "x" * 99, f"of its model is '{'x' * 39}…', neither"),
        ("a\nb", None, "is 'a\\nb', neither"),
    ],
)
def test_the_value_of_its_tag(own: str | None, models: str | None, said: str) -> None:
    """A true-like value asks; a false-like one, another one and none are told apart; the version's own wins."""
    version = replace(
        VERSION,
        tags={} if own is None else {TARGET.tag: own},
        defaults={} if models is None else {TARGET.tag: models},
    )
    decision = decide(version, TARGET, None, NOW)
    assert decision.action == ("skip" if said else "publish")
    assert said in decision.reason
    assert decide(version, TARGET, PUBLISHED, NOW).action == "skip"
    assert decide(version, TARGET, None, NOW, explicit=True).action == "publish"


@pytest.mark.parametrize(
    ("registration", "said"),
    [("pending", "not finished its registration"), ("failed", "registration in MLflow failed")],
)
def test_registration(registration: Registration, said: str) -> None:
    """A version that MLflow has not registered is not published, and the reason tells which of the two it is."""
    decision = decide(replace(VERSION, registration=registration), TARGET, None, NOW)
    assert decision.action == "skip"
    assert said in decision.reason


def test_published() -> None:
    """What is published is left alone, and the reason says as what."""
    decision = decide(VERSION, TARGET, PUBLISHED, NOW)
    assert (decision.action, decision.reason) == ("skip", f"published as r/m:v3@{DIGEST}")


def test_published_and_changed() -> None:
    """What is published is not replaced when settings change; the reason says how to."""
    decision = decide(VERSION, replace(TARGET, base="python:3.12"), PUBLISHED, NOW)
    assert decision.action == "skip"
    assert "'publisher publish m 3 --force'" in decision.reason


def test_published_without_a_digest() -> None:
    """A status that says published and not as what is no proof: it is looked at again."""
    assert decide(VERSION, TARGET, replace(PUBLISHED, digest=""), NOW).action == "publish"


def test_failed_for_good() -> None:
    """A permanent failure is not tried again while nothing changes, and its reason is told again."""
    decision = decide(VERSION, TARGET, FAILED, NOW)
    assert decision.action == "skip"
    assert decision.reason.endswith("change: no wheel for linux/arm64")
    assert decide(VERSION, TARGET, replace(FAILED, reason=""), NOW).reason.endswith("not recorded")


@pytest.mark.parametrize(
    ("wrote", "runs", "action"),
    [
        ("0.1.0", "0.2.0", "publish"),
        ("0.9.0", "0.10.0", "publish"),
        ("", "0.2.0", "publish"),
        ("0.2.0", "0.2.0", "skip"),
        ("0.3.0", "0.2.0", "skip"),
        ("nonsense", "0.2.0", "skip"),
        ("9" * 5000, "0.2.0", "skip"),
    ],
)
def test_failed_for_good_with_an_older_publisher(wrote: str, runs: str, action: str) -> None:
    """A newer publisher tries once what an older one could not; two side by side do not take turns."""
    decision = decide(VERSION, TARGET, replace(FAILED, release=wrote), NOW, release=runs)
    assert decision.action == action
    waiting = replace(FAILED, release=wrote, next_try=NOW + timedelta(hours=1))
    assert decide(VERSION, TARGET, waiting, NOW, release=runs).action == "skip"


@pytest.mark.parametrize("where", ["tags", "defaults"])
@pytest.mark.parametrize("retry", [None, NOW + timedelta(hours=1)])
def test_failed_and_changed(retry: datetime | None, where: str) -> None:
    """A failure is tried again at once when the tags of the version or of its model have changed since."""
    changed = replace(VERSION, **{where: {TARGET.tag: "true", "MODEL_FOLDER": "other"}})
    decision = decide(changed, TARGET, replace(FAILED, next_try=retry), NOW)
    assert decision.action == "publish"
    assert "changed since" in decision.reason


def test_failed_and_not_due() -> None:
    """A retryable failure waits for its time, which the reason tells."""
    decision = decide(VERSION, TARGET, replace(FAILED, next_try=NOW + timedelta(seconds=1)), NOW)
    assert decision.action == "skip"
    assert decision.reason == "next try at 2026-01-02 12:00:01 UTC: no wheel for linux/arm64"


def test_failed_and_due() -> None:
    """A retryable failure is tried again when its time has come, and the attempt is counted."""
    decision = decide(VERSION, TARGET, replace(FAILED, next_try=NOW), NOW)
    assert (decision.action, decision.reason) == ("publish", "attempt 3")


@pytest.mark.parametrize("age", [timedelta(0), timedelta(minutes=59), timedelta(minutes=-5)])
def test_another_publisher(age: timedelta) -> None:
    """What another publisher began within the hour is left to it, whichever clock is ahead."""
    decision = decide(VERSION, TARGET, replace(PUBLISHING, updated=NOW - age), NOW)
    assert decision.action == "skip"
    assert "another publisher is at it since" in decision.reason


@pytest.mark.parametrize("updated", [None, NOW - timedelta(hours=1), NOW + timedelta(days=400)])
def test_a_publisher_that_stopped(updated: datetime | None) -> None:
    """A beginning that is an hour old, has no time or lies far ahead is nobody's any more."""
    decision = decide(VERSION, TARGET, replace(PUBLISHING, updated=updated), NOW)
    assert (decision.action, decision.reason) == ("publish", "a publisher stopped in the middle")


@pytest.mark.parametrize(
    "status", [None, PUBLISHED, FAILED, replace(FAILED, next_try=NOW), replace(PUBLISHING, updated=NOW)]
)
@pytest.mark.parametrize("how", [{"explicit": True}, {"force": True}, {"explicit": True, "force": True}])
def test_asked_for(status: Status | None, how: dict[str, bool]) -> None:
    """A version that a person asks for is always acted upon, and the reason says that it was asked for."""
    decision = decide(VERSION, TARGET, status, NOW, **how)
    assert decision.action == "publish"
    assert ("--force" in decision.reason) is ("force" in how)
    assert "asked for" in decision.reason


def test_waits_double_up_to_an_hour() -> None:
    """Waits are 1, 2, 4 … 32 and then always 60 minutes, up to a fifth less, the same at each call."""
    minutes = {0: 1, 1: 1, 2: 2, 3: 4, 4: 8, 5: 16, 6: 32, 7: 60, 8: 60, 999_999: 60}
    for attempts, longest in minutes.items():
        wait = next_try(attempts, NOW, True, of="m v3 → lab")
        assert wait is not None
        assert timedelta(minutes=longest * 0.8) <= wait - NOW <= timedelta(minutes=longest)
        assert wait == next_try(attempts, NOW, True, of="m v3 → lab")


def test_a_fleet_does_not_come_back_at_once() -> None:
    """A hundred versions that failed together are due at a hundred times, spread over the fifth."""
    waits = [next_try(7, NOW, True, of=f"m v{number} → lab") for number in range(100)]
    due = sorted((wait - NOW).total_seconds() for wait in waits if wait)
    assert len(set(due)) == 100
    assert due[-1] - due[0] > 600
    assert max(after - before for before, after in pairwise(due)) < 60


def test_stopped() -> None:
    """What a publisher had begun and gave up is taken up at once, and the reason says why it ended."""
    stopped = Status("stopped", "the publisher was asked to end", fingerprint=SAME, updated=NOW)
    decision = decide(VERSION, TARGET, stopped, NOW)
    assert decision.action == "publish"
    assert decision.reason == "begun and given up: the publisher was asked to end"


def test_no_second_try() -> None:
    """What cannot succeed later has no next try."""
    assert next_try(1, NOW, False, of="m v3 → lab") is None


def test_claimed_by_a_process_that_is_gone() -> None:
    """Where it is known that the publisher of a fresh claim is gone, nobody waits for the claim's age."""
    claimed = replace(PUBLISHING, claim="x-y", updated=NOW - timedelta(minutes=1))
    assert decide(VERSION, TARGET, claimed, NOW).action == "skip"
    assert decide(VERSION, TARGET, claimed, NOW, abandoned=True).action == "publish"


def test_what_was_withdrawn_is_left_alone() -> None:
    """Whatever changed since: only a person brings it back, and the reason says how."""
    status = Status("withdrawn", digest=DIGEST, fingerprint="another", updated=NOW)
    decision = decide(VERSION, TARGET, status, NOW + timedelta(days=99))
    assert decision.action == "skip"
    assert "withdrawn since 2026-01-02 12:00:00 UTC" in decision.reason
    assert "'publisher retry m 3'" in decision.reason
    assert decide(VERSION, TARGET, status, NOW, explicit=True).action == "publish"

"""Status tags and the fingerprint."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from publisher.domain import ModelVersion, Platform, Status, Target
from publisher.status import fingerprint, key, read, stale, to_tags

DIGEST = "sha256:" + "a" * 64
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
FULL = Status(
    state="failed",
    reason="no wheel for linux/arm64",
    image="registry.example.org/m:v3",
    digest=DIGEST,
    fingerprint="0123456789abcdef",
    attempts=3,
    claim="0123456789abcdef-abcdefgh",
    updated=NOON,
    next_try=NOON + timedelta(minutes=4),
    release="0.1.0",
    tags=("latest", "prod"),
    tagging="fedcba9876543210",
    proof="binaries ok for linux/amd64",
)
TARGET = Target("lab", "EXTERNAL_TARGET_LAB", "r.example.org", (Platform("linux", "amd64"),), "python:3.11")
VERSION = ModelVersion("m", "3", "runs:/1/m", NOON, "1", {"MODEL_FOLDER": "mymodel", "owner": "ann"})


def test_a_status_survives_its_tags() -> None:
    """What is written is read back, every field of it."""
    assert read(to_tags(FULL, "lab"), "lab") == FULL


def test_the_keys_are_as_documented() -> None:
    """The tags have the documented names, times are ISO 8601 in UTC, and the state comes last."""
    tags = to_tags(replace(FULL, updated=NOON.astimezone(timezone(timedelta(hours=2)))), "lab")
    assert {k.removeprefix("publisher.lab.") for k in tags} == {field.name for field in fields(Status)}
    assert tags["publisher.lab.updated"] == "2026-01-02T12:00:00Z"
    assert list(tags)[-1] == "publisher.lab.state"


def test_what_is_not_said_has_no_tag() -> None:
    """Empty fields make no tags, for MLflow shows each of them."""
    assert to_tags(Status("publishing"), "lab") == {"publisher.lab.state": "publishing"}


def test_a_reason_is_one_line() -> None:
    """Line breaks of a reason become spaces."""
    assert to_tags(Status("failed", "a\n  b\tc"), "lab")["publisher.lab.reason"] == "a b c"


def test_targets_are_apart() -> None:
    """One target's tags say nothing of another's."""
    assert read(to_tags(FULL, "lab"), "live") is None


@pytest.mark.parametrize("tags", [{}, {"publisher.lab.state": "dancing"}, {"publisher.lab.reason": "x"}])
def test_no_status(tags: dict[str, str]) -> None:
    """Without a state that we know there is no status."""
    assert read(tags, "lab") is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attempts", "many"),
        ("attempts", "-1"),
        ("attempts", "9" * 400),
        ("attempts", "²"),
        ("updated", "yesterday"),
        ("updated", "2026-01-02T12:00:00"),
        ("updated", "0001-01-01T00:00:00+14:00"),
        ("next_try", "99999-01-01T00:00:00Z"),
        ("digest", "sha256:short"),
    ],
)
def test_unreadable_values_count_as_absent(field: str, value: str) -> None:
    """A value that cannot be read is as if it were not there, and the others stay."""
    expected = replace(FULL, **{field: getattr(Status("failed"), field)})
    assert read({**to_tags(FULL, "lab"), key("lab", field): value}, "lab") == expected


def test_stale_keys() -> None:
    """What the new status no longer says is to be deleted; other tags and other targets are not touched."""
    have = {**to_tags(FULL, "lab"), **to_tags(FULL, "live"), "MODEL_FOLDER": "m"}
    now = Status("published", image=FULL.image, digest=DIGEST, updated=NOON)
    unsaid = ("reason", "fingerprint", "attempts", "claim", "next_try", "release", "tags", "tagging", "proof")
    gone = {key("lab", field) for field in unsaid}
    assert set(stale(have, now, "lab")) == gone


@pytest.mark.parametrize("state", ["publishing", "failed", "stopped"])
def test_extra_tags_outlive_an_attempt(state: str) -> None:
    """What the published image is also called stays told while another attempt runs, and when it has failed."""
    gone = stale(to_tags(FULL, "lab"), Status(state), "lab")  # type: ignore[arg-type]
    assert key("lab", "digest") in gone
    assert not {key("lab", "tags"), key("lab", "tagging")} & set(gone)


@pytest.mark.parametrize("written", ["prod  latest", " latest,x prod\n", "latest prod " + "x" * 129])
def test_names_that_are_no_tags_are_not_read(written: str) -> None:
    """Anybody may write the list of extra tags; only what can be a tag counts."""
    found = read({key("lab", "state"): "published", key("lab", "tags"): written}, "lab")
    assert found
    assert set(found.tags) <= {"latest", "prod"}


def test_the_fingerprint_is_stable() -> None:
    """The same version and target give the same 16 hex digits, here and in every release."""
    assert fingerprint(VERSION, TARGET) == fingerprint(replace(VERSION, tags=dict(VERSION.tags)), TARGET)
    assert fingerprint(VERSION, TARGET) == "2719be2df324e82f"


@pytest.mark.parametrize(
    "change",
    [
        {"registry": "other.example.org"},
        {"platforms": (Platform("linux", "arm64"),)},
        {"base": "python:3.12"},
        {"builder": "buildx"},
        {"image": "{registry}/x:v{version}"},
        {"python": "3.12"},
        {"resolve": "latest"},
        {"user": "1:1"},
        {"bytecode": False},
        {"index": "https://pypi.example.org/simple"},
        {"constraints": "constraints.txt"},
        {"sdist": "refuse"},
        {"conda": "pip"},
        {"templates": "builtin"},
        {"trust_dockerfiles": True},
        {"proof": "required"},
        {"emulate": True},
        {"profile": "foundry"},
        {"slim": True},
        {"base": {"3.11": "python:3.11"}},
    ],
)
def test_settings_that_matter(change: dict[str, object]) -> None:
    """A setting that decides what is published changes the fingerprint."""
    assert fingerprint(VERSION, replace(TARGET, **change)) != fingerprint(VERSION, TARGET)  # type: ignore[arg-type]


def test_no_setting_is_forgotten() -> None:
    """Every setting of a target is told by one of the two tests around this one to matter or not to."""
    tests = test_settings_that_matter, test_settings_that_do_not_matter
    told = [change for test in tests for change in test.pytestmark[0].args[1]]  # type: ignore[attr-defined]
    assert {key for change in told for key in change} == {each.name for each in fields(Target)}


@pytest.mark.parametrize(
    "change",
    [
        {"cache": "x"},
        {"insecure": True},
        {"ca_file": "ca.pem"},
        {"token_realms": ("auth.example.org",)},
        {"chunk_size": 1 << 20},
        {"engine_cache": True},
        {"job_template": "large"},
        {"api_path": "/hub"},
        {"deadline": timedelta(hours=2)},
        {"tag": "T"},
        {"tags": ("{alias}",)},
        {"name": "live"},
    ],
)
def test_settings_that_do_not_matter(change: dict[str, object]) -> None:
    """A setting that changes no image leaves the fingerprint as it is."""
    assert fingerprint(VERSION, replace(TARGET, **change)) == fingerprint(VERSION, TARGET)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changed",
    [
        replace(VERSION, source="runs:/2/m"),
        replace(VERSION, run_id="2"),
        replace(VERSION, tags={"MODEL_FOLDER": "other"}),
        replace(VERSION, tags={**VERSION.tags, "MODEL_EXECUTE_PATH": "app.py"}),
    ],
)
def test_a_version_that_changed(changed: ModelVersion) -> None:
    """Where the files are and the MODEL_ tags change the fingerprint."""
    assert fingerprint(changed, TARGET) != fingerprint(VERSION, TARGET)


def test_tags_that_do_not_matter() -> None:
    """People's own tags, and our status tags, leave the fingerprint as it is."""
    told = replace(VERSION, tags={**VERSION.tags, **to_tags(FULL, "lab"), "owner": "bob"})
    assert fingerprint(told, TARGET) == fingerprint(VERSION, TARGET)

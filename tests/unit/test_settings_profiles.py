"""A profile gives what settings leave out, and settings that it does not take are told before anything begins."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from publisher.checks.profiles import NAMES
from publisher.cli.targets import target_json
from publisher.domain import ModelVersion, Platform, Target
from publisher.status import fingerprint
from tests.unit.test_settings import _empty_folder, faults, target, target_fault

__all__ = ["_empty_folder"]
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.mark.parametrize(
    ("profile", "platforms", "user"),
    [
        ("default", (AMD64, ARM64), "10001:10001"),
        ("foundry", (AMD64,), "5001:5001"),
        ("kserve", (AMD64, ARM64), "10001:10001"),
        ("sagemaker", (AMD64,), "10001:10001"),
        ("openshift", (AMD64, ARM64), "10001:0"),
    ],
)
def test_defaults(profile: str, platforms: tuple[Platform, ...], user: str) -> None:
    """From the file or a variable, and `publisher targets` shows what they came to."""
    variables = {"REGISTRY_URL": "quay.io/a", "PUBLISHER_TARGETS__PLTR_FOUNDRY__PROFILE": profile}
    for found in (target("", variables), target(f'profile = "{profile}"')):
        assert (found.profile, found.platforms, found.user) == (profile, platforms, user)
        shown = target_json(found, {})
        assert (shown["user"], shown["platforms"]) == (user, list(map(str, platforms)))


def test_what_is_set_wins() -> None:
    """By the file, and a variable over that."""
    assert target('profile = "foundry"\nuser = "7000"').user == "7000"
    assert target('profile = "sagemaker"\nplatforms = ["linux/arm64"]').platforms == (ARM64,)
    found = target('profile = "openshift"\nuser = "7000"', {"PUBLISHER_TARGETS__DEMO__USER": "8000"})
    assert found.user == "8000"
    found = target('profile = "foundry"', {"PUBLISHER_TARGETS__DEMO__PROFILE": "openshift"})
    assert (found.platforms, found.user) == ((AMD64, ARM64), "10001:0")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'profile = "foundry"\nplatforms = ["linux/arm64"]',
            "targets.demo.platforms: linux/arm64 does not run there",
        ),
        (
            'profile = "sagemaker"\nplatforms = ["linux/amd64", "linux/arm64"]',
            "targets.demo.platforms: an image for linux/amd64, linux/arm64 needs an index",
        ),
        (
            'profile = "foundry"\ntags = ["latest"]',
            "targets.demo.tags: the profile foundry takes no image with the tag",
        ),
        (
            'profile = "foundry"\nimage = "{registry}/{model}-v{version}:latest"',
            "targets.demo.image: the profile foundry takes no image with the tag latest",
        ),
        (
            'profile = "fondry"',
            "targets.demo.profile: expected default, foundry, kserve, sagemaker, openshift, or the path of a file",
        ),
        ('profile = "none.toml"', "none.toml cannot be read: No such file"),
        ("profile = 5", "targets.demo.profile"),
    ],
)
def test_what_a_profile_does_not_take(text: str, expected: str) -> None:
    """The key is named as it was written, with what to change; nothing is built first."""
    found = target_fault(text)
    assert expected.split(":", maxsplit=1)[0] in found
    assert expected.partition(": ")[2] in found


def test_a_profile_of_the_site_lies_beside_its_settings(tmp_path: Path) -> None:
    """Its path is relative to the file, its defaults and rules count, and its faults are told with all others."""
    (tmp_path / "edge.toml").write_text(
        'title = "edge"\nplatforms = ["linux/arm64"]\n[defaults]\nuser = "1500"\n'
    )
    found = target('profile = "edge.toml"\nplatforms = ["linux/arm64"]')
    assert (found.profile, found.user) == (str(tmp_path / "edge.toml"), "1500")
    assert "linux/amd64 does not run there" in target_fault('profile = "edge.toml"')
    (tmp_path / "edge.toml").write_text('title = "edge"\n[defaults]\nuser = "root"\nplatforms = ["x"]\n')
    told = faults(text='[targets.demo]\nregistry = "quay.io/team"\nprofile = "edge.toml"\n')
    assert len(told) == 2
    assert [text.partition(":")[0] for text in sorted(told)] == [
        f"defaults.{key} in the profile {tmp_path / 'edge.toml'}" for key in ("platforms", "user")
    ]


def test_another_profile_is_another_image() -> None:
    """And a target without one is what it was before there were any."""
    version = ModelVersion("m", "1", "s", datetime(2026, 1, 1, tzinfo=UTC))
    targets = [Target("T", "t", "r", (AMD64,), "b", profile=name) for name in NAMES]
    assert len({fingerprint(version, each) for each in targets}) == len(NAMES)
    assert fingerprint(version, targets[0]) == fingerprint(version, Target("T", "t", "r", (AMD64,), "b"))

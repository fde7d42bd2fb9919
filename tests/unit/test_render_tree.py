"""The tree that `publisher render` prints."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from publisher.cli.render import tree
from publisher.context_folder import RenderedContext
from publisher.domain import ModelVersion, Platform, SourceFile, Target

VERSION = ModelVersion("m", "3", "models:/m-1", datetime(2026, 11, 22, tzinfo=UTC))
TARGET = Target("DEMO", "T", "quay.io/a", (Platform("linux", "arm64"),), "b")


def rendered(*files: SourceFile, target: Target = TARGET, image: str = "quay.io/a/m:v3") -> RenderedContext:
    return RenderedContext(VERSION, target, image, Path("/d"), "version", files, ())


def test_folders_come_first_and_have_the_size_of_what_is_in_them() -> None:
    found = rendered(
        SourceFile("Dockerfile", 10),
        SourceFile("a/b/deep", 1500),
        SourceFile("a/near", 500),
        SourceFile("z", 1),
    )
    assert tree(found) == [
        "a/  2.0 kB",
        "  b/  1.5 kB",
        "    deep  1.5 kB",
        "  near  500 B",
        "Dockerfile  10 B",
        "z  1 B",
    ]


def test_of_many_files_the_first_are_shown() -> None:
    found = rendered(*(SourceFile(f"a/{number:03}", 1) for number in range(100)), SourceFile("b", 1))
    assert tree(found) == [
        "a/  100 B",
        *(f"  {number:03}  1 B" for number in range(12)),
        "  … 88 more",
        "b  1 B",
    ]


def test_the_command_without_a_script() -> None:
    """A version that brings a Dockerfile alone is built by buildx; a target that is a folder names no registry."""
    assert rendered(SourceFile("Dockerfile", 1)).command == [
        *("docker", "buildx", "build", "--platform", "linux/arm64", "--tag", "quay.io/a/m:v3", "."),
    ]
    disk = Target("DISK", "T", "oci:images", TARGET.platforms, "b")
    assert "m:v3" in rendered(target=disk, image="oci:images/m:v3").command

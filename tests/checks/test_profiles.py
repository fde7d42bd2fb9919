"""Profiles are data: each packaged one can be read and names its sources, and a site's own says what is wrong with it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from publisher.checks import profiles
from publisher.checks.profile import before
from publisher.checks.profiles import NAMES, named
from publisher.domain import BaseImage, Context, ImageSpec, Lock, Platform
from publisher.errors import SettingsError

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
GOOD = "r.example.org/team/model:v1"


def spec(*platforms: Platform, **changes: object) -> ImageSpec:
    made = ImageSpec(
        base=BaseImage("b", "sha256:0", "3.11.2", "/usr/bin/python3", (2, 36)),
        locks={each: Lock(each, "3.11", ()) for each in platforms or (AMD64,)},
        files=(),
        entrypoint=("python",),
        command=("serve.py",),
        environment=(),
        labels=(),
        created=datetime(2026, 1, 2, tzinfo=UTC),
        user="5001:5001",
        workdir="/app",
        ports=(8080,),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def said(profile: str, of: ImageSpec, image: str = GOOD) -> list[str]:
    verdict = before(of, image, named(profile))
    assert verdict.check == "profile"
    assert (verdict.state == "failed") == bool(verdict.findings)
    assert all(finding.remedy.endswith(".") for finding in verdict.findings)
    return [finding.text for finding in verdict.findings]


@pytest.mark.parametrize("name", NAMES)
def test_each_packaged_profile_is_whole(name: str) -> None:
    """It can be read, says what it is for and where that is documented, and takes an ordinary image."""
    profile = named(name)
    assert profile.name == name
    assert profile.title
    assert all(source.startswith("https://") for source in profile.sources)
    assert profile.sources
    assert said(name, spec(AMD64)) == []


def test_the_packaged_files_are_the_names() -> None:
    """A file that nobody can name, or a name without a file, would be found by a user."""
    folder = Path(profiles.__file__).parents[1] / "profiles"
    assert sorted(path.stem for path in folder.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("name", ["default", "kserve", "openshift"])
def test_an_index_is_taken_by_clusters(name: str) -> None:
    """Nodes of both architectures take their own from one tag."""
    assert said(name, spec(AMD64, ARM64)) == []


@pytest.mark.parametrize(
    ("name", "of", "image", "expected"),
    [
        (
            "foundry",
            spec(ARM64),
            GOOD,
            "linux/arm64 does not run there: the profile foundry takes linux/amd64",
        ),
        ("sagemaker", spec(AMD64, ARM64), GOOD, "linux/amd64, linux/arm64 needs an index, and the profile"),
        (
            "foundry",
            spec(user="0"),
            GOOD,
            "it runs as the user '0', and the profile foundry takes any number but 0",
        ),
        (
            "kserve",
            spec(user="model"),
            GOOD,
            "it runs as the user 'model', and the profile kserve takes a number",
        ),
        ("openshift", spec(user=""), GOOD, "it runs as root, because it names no user"),
        ("foundry", spec(ports=(80,)), GOOD, "it exposes the port 80"),
        ("kserve", spec(ports=(9000,)), GOOD, "it exposes 9000, and the profile kserve asks at 8080"),
        ("foundry", spec(), "r.example.org/m-v1:latest", "takes no image with the tag latest"),
        ("foundry", spec(), "oci:/images/m-v1:latest", "takes no image with the tag latest"),
    ],
)
def test_what_is_refused_before_the_build(name: str, of: ImageSpec, image: str, expected: str) -> None:
    """Platforms, user, ports and tag are known before minutes are spent."""
    assert any(expected in text for text in said(name, of, image)), said(name, of, image)


def test_the_default_profile_refuses_nothing() -> None:
    """What works today goes on to work."""
    assert said("default", spec(AMD64, ARM64, user="", ports=(80,)), "r.example.org/m-v1:latest") == []


def test_a_dockerfile_of_the_version_is_asked_afterwards() -> None:
    """Its spec has no user, and that says nothing about the image."""
    own = spec(user="", context=Context(Path(), own=False, digest="x"))
    assert said("foundry", own) == []
    assert said("foundry", replace(own, context=Context(Path(), own=True, digest="x"))) != []


def test_a_profile_of_the_site(tmp_path: Path) -> None:
    """One uid or a range of them, limits as people write them, defaults for its targets."""
    path = tmp_path / "ours.toml"
    path.write_text(
        'title = "ours"\nplatforms = ["linux/arm64"]\nuser = "1000-1999"\nlargest_image = "2GB"\n'
        'refused_tags = ["latest", "dev"]\n[defaults]\nuser = "1500"\n'
    )
    profile = named(str(path))
    assert (profile.largest_image, profile.uids) == (2_000_000_000, range(1000, 2000))
    assert profile.defaults.user == "1500"
    texts = said(str(path), spec(AMD64, user="2000"))
    assert len(texts) == 2
    assert said(str(path), spec(ARM64, user="1999:5")) == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("title = ", "is not a TOML file"),
        ("", "title: Field required"),
        ('title = "t"\nshell = true', "shell: Extra inputs are not permitted"),
        ('title = "t"\nuser = "root"', "user: expected any, numeric, a uid, or a range"),
        ('title = "t"\nuser = "9-3"', "user: expected any, numeric, a uid, or a range"),
        ('title = "t"\nports = [0, 70000]', "ports.0"),
        ('title = "t"\nplatforms = ["x86"]', "platforms.0: 'x86' is not a platform"),
        ('title = "t"\nplatforms = []', "platforms"),
        ('title = "t"\nlargest_layer = "big"', "largest_layer: expected a size such as 512MiB or 2GB"),
        ('title = "t"\nfiles = ["bin/sh"]', "files.0: expected an absolute path"),
        ('title = "t"\n[defaults]\nregistry = "evil.example.org"', "defaults.registry: Extra inputs"),
        ("\udcff", "is not a TOML file"),
    ],
)
def test_a_profile_that_is_none(tmp_path: Path, content: str, expected: str) -> None:
    """The file and the key are named, and what is expected."""
    path = tmp_path / "ours.toml"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingsError, match=re.escape(expected)) as caught:
        named(str(path))
    assert str(path) in str(caught.value)


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        named(str(tmp_path / "none.toml"))
    with pytest.raises(SettingsError, match=r"expected default, foundry.*, got 'fondry'"):
        named("fondry")


def test_the_documents_example_is_one_and_shows_every_key(tmp_path: Path) -> None:
    """And each packaged profile has a part of the page."""
    page = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text("utf-8")
    example = page.rpartition("```toml\n")[2].partition("```")[0]
    (tmp_path / "edge.toml").write_text(example)
    shown = named(str(tmp_path / "edge.toml"))
    assert shown.model_fields_set == set(profiles.Profile.model_fields)
    assert shown.defaults.model_fields_set == set(profiles.Defaults.model_fields)
    for name in NAMES:
        assert f"\n## {name}\n" in page
        assert all(source in page for source in named(name).sources[:2] if name != "default")

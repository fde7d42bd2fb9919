"""Resolving against the real package index, through the real uv."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from publisher.domain import BaseImage, Environment, Lock, Platform
from publisher.environments.lock import Resolver
from publisher.errors import IndexUnavailableError, ResolutionError

BASE = BaseImage("base", "sha256:" + "0" * 64, "3.11.2", "/usr/bin/python3.11", (2, 36))
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def lock(folder: Path, *requirements: str, platform: Platform = AMD64, when: datetime | None = None) -> Lock:
    resolver = Resolver.load(folder, dict(os.environ))
    return resolver.lock(Environment(requirements), platform, BASE, registered=when)


def test_a_version_locks_to_what_was_there(tmp_path: Path) -> None:
    """As of a day in the past the index gives the packages of that day, on every later day."""
    found = lock(tmp_path, "idna", when=datetime(2025, 1, 2, 12, tzinfo=UTC))
    assert [(w.name, w.version) for w in found.wheels] == [("idna", "3.10")]
    assert found.wheels[0].pure
    assert len(found.wheels[0].sha256) == 64
    newest = lock(tmp_path, "idna")
    assert newest.wheels[0].version != "3.10"


def test_versions_of_one_day_share_a_lock(tmp_path: Path) -> None:
    """Morning and evening of a day give the same lock, and the second one asks nobody."""
    morning = lock(tmp_path, "idna", when=datetime(2025, 1, 2, 0, 1, tzinfo=UTC))
    offline = Resolver.load(
        tmp_path, {**os.environ, "UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "none")}
    )
    evening = offline.lock(
        Environment(("idna",)), AMD64, BASE, registered=datetime(2025, 1, 2, 23, tzinfo=UTC)
    )
    assert evening == morning


def test_a_package_of_that_very_day_is_found(tmp_path: Path) -> None:
    """packaging 25.0 was uploaded on 2025-04-19 at 11:48: a version registered that evening may require it."""
    evening = lock(tmp_path, "packaging==25.0", when=datetime(2025, 4, 19, 20, tzinfo=UTC))
    assert evening.wheels[0].version == "25.0"
    with pytest.raises(ResolutionError):
        lock(tmp_path, "packaging==25.0", when=datetime(2025, 4, 19, 9, tzinfo=UTC))


def test_each_platform_has_its_own_machine_code(tmp_path: Path) -> None:
    """Platforms share pure wheels and differ in native ones, and their manylinux level fits the base's glibc."""
    day = datetime(2025, 6, 1, tzinfo=UTC)
    one, other = (lock(tmp_path, "numpy==2.2.6", "six", platform=p, when=day) for p in (AMD64, ARM64))
    names = [wheel.filename for found in (one, other) for wheel in found.wheels if wheel.name == "numpy"]
    assert "x86_64" in names[0]
    assert "aarch64" in names[1]
    assert {w for w in one.wheels if w.name == "six"} == {w for w in other.wheels if w.name == "six"}
    assert one.digest != other.digest


@pytest.mark.parametrize(
    ("requirements", "told"),
    [
        (("numpy==1.24.4", "pandas==3.0.0"), "numpy"),
        (("intel-openmp==2024.2.1",), "intel-openmp"),
        (("no-such-package-of-ours-4711",), "no-such-package-of-ours-4711"),
        (("idna==9999",), "idna"),
    ],
)
def test_what_cannot_be_is_explained(tmp_path: Path, requirements: tuple[str, ...], told: str) -> None:
    """A conflict, a wheel that arm64 lacks, a package or version that is not: uv's words and the platform."""
    with pytest.raises(ResolutionError) as caught:
        lock(tmp_path, *requirements, platform=ARM64)
    assert told in str(caught.value)
    assert "linux/arm64" in str(caught.value)
    assert "\n" not in caught.value.line


def test_an_index_that_is_away_is_no_fault_of_the_version(tmp_path: Path) -> None:
    """An unreachable index is told as such, may be tried again, and its credentials are not shown."""
    environ = {
        **os.environ,
        "UV_DEFAULT_INDEX": "http://user:canary@127.0.0.1:9/simple",
        "UV_HTTP_RETRIES": "0",
    }
    environ["UV_CACHE_DIR"] = str(tmp_path / "uv")
    with pytest.raises(IndexUnavailableError) as caught:
        Resolver.load(tmp_path, environ).lock(Environment(("idna",)), AMD64, BASE, registered=None)
    assert "canary" not in str(caught.value) + caught.value.detail + caught.value.hint

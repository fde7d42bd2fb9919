"""A lock that the model brings along is what is installed: uv.lock by the real uv, pylock.toml, and direct wheels."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uv

from publisher.domain import BaseImage, Lock, Platform
from publisher.environments import read
from publisher.environments.lock import Resolver
from publisher.errors import RequirementsError, ResolutionError
from tests import wheels

BASE = BaseImage("base", "sha256:" + "0" * 64, "3.11.2", "/usr/bin/python3.11", (2, 36))
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
DAY = datetime(2025, 6, 2, 12, tzinfo=UTC)
PROJECT = """
[project]
name = "trainer"
version = "0.1"
requires-python = ">=3.10"
dependencies = [{}]
[dependency-groups]
dev = ["attrs"]
"""


def lock(model: Path, cache: Path, platform: Platform = AMD64) -> Lock:
    environment = read(model, serve=False)
    return Resolver.load(cache, dict(os.environ)).lock(environment, platform, BASE, registered=DAY)


def project(model: Path, *dependencies: str, more: str = "") -> Path:
    """A model as MLflow logs it from a uv project: the project's two files beside its own."""
    model.mkdir()
    (model / "MLmodel").write_text("flavors: {}\n")
    (model / "pyproject.toml").write_text(PROJECT.format(", ".join(f'"{d}"' for d in dependencies)) + more)
    command = [uv.find_uv_bin(), "lock", "--quiet", "--exclude-newer", "2025-05-01T00:00:00Z"]
    subprocess.run(command, cwd=model, check=True)
    return model


def versions(found: Lock) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in found.wheels}


def test_a_uv_lock_is_what_is_installed(tmp_path: Path) -> None:
    """Its versions and hashes, by each platform's markers; no development group; pip is resolved beside it."""
    model = project(tmp_path / "model", "idna<3.10", "numpy", "colorama; sys_platform == 'win32'")
    # MLflow's export of the same project, with one pin that somebody changed by hand and one package more.
    (model / "requirements.txt").write_text("idna==3.10\nnumpy\nsix\n")
    one, other = lock(model, tmp_path / "cache"), lock(model, tmp_path / "cache", ARM64)
    assert versions(one) == versions(other)
    assert versions(one)["idna"] == "3.9"
    assert {"six", "pip"} <= versions(one).keys()
    assert not {"colorama", "attrs", "trainer"} & versions(one).keys()
    text = (model / "uv.lock").read_text()
    assert all(wheel.sha256 in text for wheel in one.wheels if wheel.name in ("idna", "numpy"))
    names = {wheel.filename for found in (one, other) for wheel in found.wheels if wheel.name == "numpy"}
    assert len(names) == 2
    environment = read(model, serve=False)
    assert environment.origin == "uv.lock"
    assert environment.notes == (
        "requirements.txt disagrees with uv.lock, which is taken: idna==3.10 (locked: 3.9)",
    )


def test_a_lock_without_a_wheel_for_a_platform_says_so(tmp_path: Path) -> None:
    """Package, platform and what there is, before anything is asked of an index: there is none here."""
    model = project(tmp_path / "model", "intel-openmp==2024.2.1")
    resolver = Resolver.load(tmp_path / "cache", {**os.environ, "UV_DEFAULT_INDEX": "http://127.0.0.1:9/"})
    with pytest.raises(ResolutionError) as caught:
        resolver.lock(read(model, serve=False), ARM64, BASE, registered=DAY)
    assert "uv.lock has no wheel of intel-openmp 2024.2.1 for linux/arm64" in str(caught.value)
    assert "manylinux1_x86_64.whl" in str(caught.value)


def test_a_project_of_folders_is_refused(tmp_path: Path) -> None:
    """A dependency in a folder beside the project is not in the model; the project itself is not installed."""
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "pyproject.toml").write_text('[project]\nname = "beside"\nversion = "1.0"\n')
    source = '[tool.uv.sources]\nbeside = { path = "../beside" }\n'
    model = project(tmp_path / "model", "beside", more=source)
    with pytest.raises(ResolutionError) as caught:
        lock(model, tmp_path / "cache")
    assert "uv.lock takes beside from a folder of the author's machine" in str(caught.value)


def test_a_uv_lock_of_another_project_is_told(tmp_path: Path) -> None:
    """A lock and a pyproject.toml that do not belong together end in one line of uv's own."""
    model = project(tmp_path / "model", "idna")
    text = (model / "pyproject.toml").read_text()
    (model / "pyproject.toml").write_text(text.replace("trainer", "another"))
    with pytest.raises(RequirementsError) as caught:
        read(model)
    assert "uv.lock cannot be used" in str(caught.value)
    assert "\n" not in caught.value.line


PYLOCK = """
lock-version = "1.0"
created-by = "somebody"
requires-python = ">=3.10"
[[packages]]
name = "mine"
version = "1.0"
wheels = [{{ name = "{name}", {place}, hashes = {{ {kind} = "{digest}" }} }}]
[[packages]]
name = "elsewhere"
version = "1.0"
marker = "sys_platform == 'darwin'"
vcs = {{ type = "git", url = "https://example.org/x.git", commit-id = "abc" }}
"""


@pytest.mark.parametrize(
    ("place", "kind", "told"),
    [
        ('path = "wheels/{name}"', "sha256", ""),
        ('url = "https://example.org/{name}"', "sha256", ""),
        ('path = "../{name}"', "sha256", "is not a file inside the model's folder"),
        ('path = "/etc/{name}"', "sha256", "is not a file inside the model's folder"),
        ('path = "missing/{name}"', "sha256", "is not a file inside the model's folder"),
        ('url = "http://example.org/{name}"', "sha256", "is not had over HTTPS"),
        ('url = "file:///etc/{name}"', "sha256", "is not had over HTTPS"),
        ('url = "https://example.org/{name}"', "md5", "its files have no SHA-256"),
    ],
)
def test_a_pylock_is_what_is_installed(tmp_path: Path, place: str, kind: str, told: str) -> None:
    """Files over HTTPS or inside the model, with SHA-256; what is for another system does not matter."""
    (tmp_path / "wheels").mkdir()
    wheel = wheels.make(tmp_path / "wheels", "mine", {"mine/__init__.py": b""})
    known = wheels.locked(wheel)
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    (tmp_path / "pylock.toml").write_text(
        PYLOCK.format(name=wheel.name, place=place.format(name=wheel.name), kind=kind, digest=known.sha256)
    )
    if told:
        with pytest.raises(ResolutionError) as caught:
            lock(tmp_path, tmp_path / "cache")
        assert told in str(caught.value)
        assert "mine" in str(caught.value)
        return
    found = lock(tmp_path, tmp_path / "cache")
    assert versions(found).keys() == {"mine", "pip"}
    mine = next(each for each in found.wheels if each.name == "mine")
    assert mine.sha256 == known.sha256
    assert mine.url in (wheel.as_uri(), f"https://example.org/{wheel.name}")


def test_wheels_in_the_model_and_at_a_url_are_locked(tmp_path: Path) -> None:
    """A wheel in code/ and one at a URL stand in the lock with their hashes, for both platforms, twice the same."""
    (tmp_path / "code").mkdir()
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    mine = wheels.make(tmp_path / "code", "mine", {"mine/__init__.py": b""}, requires=("idna",))
    page = "https://files.pythonhosted.org/packages/b7/ce/149a00dd41f10bc29e5921b496af8b574d8413afcd5e30dfa0ed46c2cc5e"
    six = "six-1.17.0-py2.py3-none-any.whl"
    (tmp_path / "requirements.txt").write_text(f"./code/{mine.name}\nsix @ {page}/{six}\n")
    found = lock(tmp_path, tmp_path / "cache")
    assert versions(found) == {"idna": "3.10", "mine": "1.0", "pip": versions(found)["pip"], "six": "1.17.0"}
    by_name = {wheel.name: wheel for wheel in found.wheels}
    assert by_name["mine"].url == mine.as_uri()
    assert by_name["mine"].sha256 == wheels.locked(mine).sha256
    assert by_name["six"].sha256 == "4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274"
    assert lock(tmp_path, tmp_path / "cache", ARM64).wheels == found.wheels
    assert lock(tmp_path, tmp_path / "cache") == found  # as it was kept
    (tmp_path / "requirements.txt").write_text(f"six @ {page}/{six}#sha256={'0' * 64}\n")
    with pytest.raises(ResolutionError) as caught:
        lock(tmp_path, tmp_path / "cache")
    assert "none of the hashes" in str(caught.value)


def test_a_native_wheel_of_the_model_fits_its_platform_alone(tmp_path: Path) -> None:
    """A wheel that MLflow put into the model on one machine is an error for the other platform, and named."""
    (tmp_path / "wheels").mkdir()
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    made = wheels.make(
        tmp_path / "wheels", "natv", {"natv/x.so": b""}, tag="cp311-cp311-manylinux_2_17_x86_64"
    )
    (tmp_path / "requirements.txt").write_text(f"wheels/{made.name}\n")
    assert "natv" in versions(lock(tmp_path, tmp_path / "cache"))
    with pytest.raises(ResolutionError) as caught:
        lock(tmp_path, tmp_path / "cache", ARM64)
    assert "natv 1.0 has no wheel for linux/arm64" in str(caught.value)
    made.unlink()
    with pytest.raises(RequirementsError) as gone:
        lock(tmp_path, tmp_path / "cache")
    assert f"the wheel wheels/{made.name} is required and is not in the model's folder" in str(gone.value)

"""The engines of the tests are what the builders' tests take them for: by their own command lines, none of our code."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.engines.buildah import Buildah
from tests.engines.buildkit import BuildKit
from tests.engines.docker import can_emulate, unavailable
from tests.engines.hub import TAGS, Hub

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]
PLATFORM = "linux/arm64"
DOCKERFILE = f"""\
FROM python:{TAGS[0]}
RUN groupadd --gid 5001 app && useradd --uid 5001 --gid app --create-home app
RUN pip install --no-cache-dir six
COPY greeting /app/greeting
USER 5001
ENTRYPOINT ["python", "-c", "import platform, six; print(platform.machine(), open('/app/greeting').read())"]
"""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not can_emulate(PLATFORM):
        unavailable(f"{PLATFORM} programs do not run here: make engines registers qemu with binfmt_misc")
    folder = tmp_path_factory.mktemp("context")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "greeting").write_text("hello")
    return folder


@pytest.mark.engine("buildkit")
def test_buildx(buildkit: BuildKit, context: Path, tmp_path: Path) -> None:
    """BuildKit with several platforms and no Docker builds FROM the stand-in for Docker Hub."""
    command: list[str | Path] = [
        buildkit.buildx,
        "build",
        "--builder",
        buildkit.builder,
        "--platform",
        PLATFORM,
        "--progress=plain",
    ]
    command += ["--provenance=false", "--output", f"type=oci,dest={tmp_path / 'image.tar'}", context]
    _run(command, buildkit.environment)
    with tarfile.open(tmp_path / "image.tar") as archive:
        archive.extractall(tmp_path / "layout", filter="data")
    _check(tmp_path / "layout")


@pytest.mark.engine("buildah")
def test_buildah(buildah: Buildah, context: Path, tmp_path: Path) -> None:
    """Debian's buildah does, with its own storage and chroot for isolation."""
    command = [buildah.program, "build", "--isolation", "chroot", "--platform", PLATFORM, "--format", "oci"]
    _run([*command, "--tag", "engines-test", context], buildah.environment)
    _run([buildah.program, "push", "engines-test", f"oci:{tmp_path / 'layout'}"], buildah.environment)
    _check(tmp_path / "layout")


@pytest.mark.engine("kaniko")
def test_kaniko(kaniko_image: str, hub: Hub, context: Path, tmp_path: Path) -> None:
    """kaniko's executor does, in a container of the local Docker."""
    command = ["docker", "run", "--rm", "--network", "host", "--volume", f"{context}:/workspace:ro"]
    command += ["--volume", f"{tmp_path}:/out", kaniko_image, "--context", "dir:///workspace"]
    command += ["--dockerfile", "Dockerfile", "--custom-platform", PLATFORM, "--no-push"]
    command += ["--oci-layout-path", "/out/layout", "--destination", "tests/image:v1"]
    command += ["--registry-mirror", hub.host, "--insecure-registry", hub.host]
    _run(command, None)
    _check(tmp_path / "layout")


def _run(command: Sequence[str | Path], environment: dict[str, str] | None) -> None:
    done = subprocess.run(
        list(map(str, command)),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        raise AssertionError(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-4000:]}")


def _check(layout: Path) -> None:
    """The layout holds one image of the platform whose layers have what each instruction made."""
    manifest = _blob(layout, json.loads((layout / "index.json").read_text())["manifests"][0])
    if "manifests" in manifest:
        manifest = _blob(layout, manifest["manifests"][0])
    config = _blob(layout, manifest["config"])
    assert config["architecture"] == "arm64"
    assert config["config"]["User"] == "5001"
    files = {name for entry in manifest["layers"] for name in _names(layout, entry)}
    assert any(name.endswith("dist-packages/six.py") for name in files)
    assert {"app/greeting", "home/app"} <= files
    assert "run/secrets" not in files


def _names(layout: Path, entry: dict[str, str]) -> set[str]:
    with tarfile.open(_path(layout, entry)) as archive:
        return {name.strip("/") for name in archive.getnames()}


def _blob(layout: Path, entry: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_path(layout, entry).read_text())
    return found


def _path(layout: Path, entry: dict[str, str]) -> Path:
    return layout / "blobs" / "sha256" / entry["digest"].removeprefix("sha256:")

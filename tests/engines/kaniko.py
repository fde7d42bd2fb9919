"""kaniko's executor as an image in the local Docker, made as the official one is, of nothing but the program.

A build into an OCI layout, in a container of its own, because the executor unpacks the base image over /:

    docker run --rm --network host --volume DIR:/workspace:ro --volume OUT:/out IMAGE
        --context dir:///workspace --dockerfile Dockerfile --custom-platform linux/arm64
        --no-push --oci-layout-path /out/layout --destination x/y:z
        --registry-mirror HUB --insecure-registry HUB --skip-default-registry-fallback

``--network host`` is needed for registries on loopback alone. The layout has the media types of the base image. It
has no ``--secret`` and passes over ``--mount=type=secret``, but ``--volume FILE:/run/secrets/NAME:ro`` is what RUN then
reads, and what lies on a mount is in no layer.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engines.docker import Docker
from tests.engines.machine import authorities
from tests.engines.programs import program

_CHANGES = (
    "ENV HOME=/root USER=root PATH=/usr/local/bin:/kaniko SSL_CERT_DIR=/kaniko/ssl/certs",
    "ENV DOCKER_CONFIG=/kaniko/.docker/",
    "WORKDIR /workspace",
    'ENTRYPOINT ["/kaniko/executor"]',
)


@pytest.fixture(scope="session")
def kaniko_executor() -> Path:
    """The program itself. Never start it outside of a container: it unpacks the base image over /."""
    return program("kaniko-executor")


@pytest.fixture(scope="session")
def kaniko_image(
    docker: Docker, kaniko_executor: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The name of an image with the executor, of the machine's own architecture; removed at the end."""
    with image(kaniko_executor, tmp_path_factory.mktemp("kaniko")) as name:
        yield name


@contextmanager
def image(executor: Path, folder: Path) -> Iterator[str]:
    """The same in the local Docker until the block ends; `folder` is for a moment's file."""
    archive = folder / "root.tar"
    with tarfile.open(archive, "w") as root:
        root.add(executor, "kaniko/executor")
        _file(root, "kaniko/ssl/certs/ca-certificates.crt", authorities().read_bytes())
        _file(root, "kaniko/.docker/config.json", b"{}")
        _file(root, "etc/nsswitch.conf", b"hosts: files dns\n")
        for name in ("workspace", "root", "tmp"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            root.addfile(folder)
    name = f"publisher-tests/kaniko:{uuid.uuid4().hex[:8]}"
    changes = [word for change in _CHANGES for word in ("--change", change)]
    subprocess.run(["docker", "import", *changes, str(archive), name], check=True, capture_output=True)
    archive.unlink()
    try:
        yield name
    finally:
        subprocess.run(["docker", "image", "rm", "--force", name], check=False, capture_output=True)


def _file(root: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    root.addfile(info, io.BytesIO(content))

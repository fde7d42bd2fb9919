"""Debian's buildah with a storage of its own, so that nothing of the machine is touched.

A build into an OCI layout, each platform apart:

    buildah build --isolation chroot --platform linux/arm64 --format oci --layers --tag NAME DIR
    buildah push NAME oci:DIR:TAG

``--secret id=NAME,src=FILE`` is read by ``RUN --mount=type=secret,id=NAME``, and leaves an empty run/secrets in the
layer. ``--layers --cache-to HOST/NAME --cache-from HOST/NAME`` keeps the cache in a registry, ``--identity-label=false``
leaves out the label with its version. With chroot for isolation, RUN has the machine's own network.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines import require
from tests.engines.hub import Hub
from tests.engines.registry import RealRegistry

_SHORT_NAMES = 'unqualified-search-registries = ["docker.io"]\n'


@dataclass(frozen=True, slots=True)
class Buildah:
    """`variables` are what makes the program use its own storage and know the registries."""

    program: str
    folder: Path
    variables: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.variables}


@contextmanager
def ready(folder: Path, *, plain: Sequence[str], hub: str = "") -> Iterator[Buildah]:
    """Buildah with its storage below `folder`; `plain`: registries with plain HTTP; `hub` mirrors docker.io."""
    program = require("buildah", "buildah")
    folder.mkdir(parents=True, exist_ok=True)
    storage = folder / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "{_driver(folder)}"\n'
        f'graphroot = "{folder / "storage"}"\nrunroot = "{folder / "run"}"\nrootless_storage_path = "{folder / "storage"}"\n'
    )
    registries = "".join(f'[[registry]]\nlocation = "{host}"\ninsecure = true\n' for host in plain)
    if hub:
        registries += f'[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "{hub}"\ninsecure = true\n'
    (folder / "registries.conf").write_text(_SHORT_NAMES + registries)
    (folder / "auth.json").write_text("{}")
    variables = {
        "CONTAINERS_STORAGE_CONF": str(storage),
        "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
        "REGISTRY_AUTH_FILE": str(folder / "auth.json"),
    }
    made = Buildah(program, folder, variables)
    try:
        yield made
    finally:
        for arguments in (["rm", "--all"], ["rmi", "--all", "--force"]):
            subprocess.run([program, *arguments], env=made.environment, capture_output=True, check=False)


@pytest.fixture(scope="session")
def buildah(tmp_path_factory: pytest.TempPathFactory, registry: RealRegistry, hub: Hub) -> Iterator[Buildah]:
    """Buildah that pulls from `registry` by plain HTTP, and what is on Docker Hub from `hub`."""
    with ready(tmp_path_factory.mktemp("buildah"), plain=[registry.host], hub=hub.host) as found:
        yield found


def _driver(folder: Path) -> str:
    """overlay is many times faster, but does not lie over another overlay: in a container, vfs does."""
    command = ["stat", "--file-system", "--format", "%T", str(folder)]
    kind = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return "vfs" if kind == "overlayfs" else "overlay"

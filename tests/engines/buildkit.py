"""BuildKit without Docker, and buildx that knows it.

A build into an OCI layout, each platform apart, from the registries that the daemon's configuration names:

    buildx build --builder NAME --platform linux/arm64 --provenance=false --output type=oci,dest=FILE.tar DIR

(`tar=false` in the output with `dest=DIR` writes the layout as a folder; fine with this daemon, not with Docker's.)
``--cache-to type=registry,ref=R,mode=max --cache-from type=registry,ref=R`` keeps the cache in a registry.
``--secret id=NAME,src=FILE`` is read by ``RUN --mount=type=secret,id=NAME`` from /run/secrets/NAME.
``--network host`` is not needed: the daemon's workers have it, so that a build reaches the package index as this
machine does. The daemon runs as root (by sudo, where that asks for no password), and its socket is the caller's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.engines import require
from tests.engines.docker import unavailable
from tests.engines.hub import Hub
from tests.engines.programs import path, program
from tests.engines.registry import RealRegistry

START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class BuildKit:
    """A running buildkitd. `address` is what a buildx of the driver "remote" needs to know."""

    folder: Path
    address: str
    buildx: Path
    builder: str = "tests"
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Of a process in which `buildx` is found in PATH, and knows the daemon under the name `builder`."""
        return {**os.environ, "PATH": f"{self.buildx.parent}:{os.environ['PATH']}", **self.variables}


@contextmanager
def running(folder: Path, *, plain: Sequence[str], hub: str = "") -> Iterator[BuildKit]:
    """Start a daemon with an empty cache below `folder`; `plain`: registries with plain HTTP; `hub` mirrors docker.io."""
    folder.mkdir(parents=True, exist_ok=True)
    socket = folder / "buildkitd.sock"
    hosts = [*plain, *([hub] if hub else [])]
    config = "".join(f'[registry."{host}"]\n  http = true\n' for host in hosts)
    if hub:
        config += f'[registry."docker.io"]\n  mirrors = ["{hub}"]\n'
    (folder / "buildkitd.toml").write_text(config)
    root = [] if os.getuid() == 0 else ["sudo", "-n"]
    command = [*root, path("buildkitd"), "--config", folder / "buildkitd.toml", "--root", folder / "state"]
    command += ["--oci-worker=true", "--containerd-worker=false", "--oci-worker-binary", "runc"]
    command += ["--oci-worker-net", "host", "--addr", f"unix://{socket}", "--group", str(os.getgid())]
    with (folder / "buildkitd.log").open("wb") as log:
        daemon = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(socket, daemon, folder / "buildkitd.log")
        variables = {"BUILDX_CONFIG": str(folder / "buildx"), "DOCKER_CONFIG": str(folder / "docker")}
        found = BuildKit(folder, f"unix://{socket}", path("buildx"), variables=variables)
        create: list[str | Path] = [
            found.buildx,
            "create",
            "--name",
            found.builder,
            "--driver",
            "remote",
            found.address,
        ]
        subprocess.run(create, env=found.environment, check=True, capture_output=True)
        yield found
    finally:
        _stop(daemon, root)
        subprocess.run([*root, "rm", "-rf", str(folder / "state")], check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def buildkit(
    tmp_path_factory: pytest.TempPathFactory, registry: RealRegistry, hub: Hub
) -> Iterator[BuildKit]:
    """BuildKit that pulls from `registry` by plain HTTP, and what is on Docker Hub from `hub`."""
    program("buildkitd")
    require("runc", "runc")
    if os.getuid() and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode:
        unavailable("buildkitd runs as root: run the tests as root, or where sudo asks for no password")
    with running(tmp_path_factory.mktemp("buildkit"), plain=[registry.host], hub=hub.host) as found:
        yield found


def _wait(socket: Path, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not socket.exists():
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"buildkitd does not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.1)


def _stop(daemon: subprocess.Popen[bytes], root: Sequence[str]) -> None:
    subprocess.run([*root, "kill", str(daemon.pid)], check=False)  # sudo passes it on
    try:
        daemon.wait(30)
    except subprocess.TimeoutExpired:
        subprocess.run([*root, "kill", "-KILL", str(daemon.pid)], check=False)
        daemon.wait()

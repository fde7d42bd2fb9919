"""kaniko's executor without Docker: in an ordinary container beside publisher, and in one that may mount."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from publisher.builders.kaniko_here import Here
from publisher.builders.kaniko_layout import taken
from publisher.domain import Platform
from publisher.errors import EngineError
from tests.engines.docker import Docker, can_emulate, emulated, unavailable
from tests.engines.hub import NAME, TAGS, Hub
from tests.engines.registry import RealRegistry

CHECKOUT = Path(__file__).parent.parent.parent
EXECUTOR = "/kaniko/executor"
MOUNTS = ["--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"]


@pytest.mark.parametrize(
    ("options", "platform"), [([], "linux/arm64"), (MOUNTS, "linux/amd64")], ids=["ordinary", "mounts"]
)
def test_in_a_container(
    *,
    docker: Docker,
    hub: Hub,
    kaniko_executor: Path,
    tls_registry: RealRegistry,
    repository: str,
    options: list[str],
    platform: str,
) -> None:
    """It builds and is stopped, and outside of its folder no file is changed and no process is left.

    Layers are kept in a registry whose certificate only the settings know.
    """
    if emulated(platform) and not can_emulate(platform):
        unavailable(f"{platform} programs do not run here")
    cache = f"{tls_registry.host}/{repository}"
    done = _inside(
        hub, kaniko_executor, platform, options, cache=cache, authorities=tls_registry.folder / "tls.pem"
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert len(tls_registry.requests("PUT", f"{repository}/manifests/")) == 4  # one for each RUN


def test_rights(docker: Docker, hub: Hub, kaniko_executor: Path) -> None:
    """check() names the capabilities that are missing, before a build."""
    done = _inside(hub, kaniko_executor, "linux/amd64", ["--cap-drop", "MKNOD", "--cap-drop", "SYS_CHROOT"])
    assert "root lacks the capabilities SYS_CHROOT, MKNOD" in done.stdout
    done = _inside(hub, kaniko_executor, "linux/amd64", ["--user", "65534"])
    assert "kaniko runs as root alone" in done.stdout


def test_no_executor(tmp_path: Path) -> None:
    """check() says where the executor was looked for."""
    why = Here(tmp_path / "executor", {}).check([Platform.parse("linux/amd64")])
    assert why == f"there is no executor at {tmp_path / 'executor'}"


def test_layout_of_a_hostile_run(tmp_path: Path) -> None:
    """A RUN could put anything where the executor writes its layout: links, and files of other names."""
    secret = tmp_path / "secret"
    secret.write_text("canary")
    for number, name in enumerate(("index.json", f"blobs/sha256/{'0' * 64}", "blobs")):
        source = tmp_path / f"source-{number}"
        (source / "blobs/sha256").mkdir(parents=True)
        if name == "blobs":
            (source / "blobs/sha256").rmdir()
            (source / "blobs").rmdir()
        (source / name).symlink_to(tmp_path if name == "blobs" else secret)
        with pytest.raises(EngineError, match="no OCI layout"):
            taken(source, tmp_path / f"layout-{number}")
    other = tmp_path / "other"
    (other / "blobs/sha256").mkdir(parents=True)
    (other / "blobs/sha256/.wh.x").touch()
    with pytest.raises(EngineError, match=r"it holds 'blobs/sha256/\.wh\.x'"):
        taken(other, tmp_path / "layout")


def _inside(
    hub: Hub,
    executor: Path,
    platform: str,
    options: list[str],
    *,
    cache: str = "",
    authorities: Path = Path("/dev/null"),
) -> subprocess.CompletedProcess[str]:
    """Run kaniko_inside.py with this very checkout in a new container of the hub's Python."""
    packages = [path for path in sys.path if path.endswith("site-packages")]
    mounts = {str(executor): EXECUTOR, str(authorities): "/authorities.pem"} | {
        path: path for path in (str(CHECKOUT), *packages)
    }
    variables = {"PYTHONPATH": ":".join([str(CHECKOUT), *packages]), "PYTHONDONTWRITEBYTECODE": "1"}
    container = f"publisher-test-{uuid.uuid4().hex[:12]}"
    command = ["docker", "run", "--rm", "--name", container, "--network", "host", *options]
    for source, place in mounts.items():
        command += ["--volume", f"{source}:{place}:ro"]
    for name, value in variables.items():
        command += ["--env", f"{name}={value}"]
    command += [f"{hub.host}/{NAME}:{TAGS[0]}", "python", "-m", "tests.contract.kaniko_inside"]
    try:
        return subprocess.run(
            [*command, hub.host, EXECUTOR, platform, cache, "/authorities.pem"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
    finally:
        subprocess.run(["docker", "rm", "--force", container], capture_output=True, check=False)

"""A disk that is full: a clear error, the folder freed, a next try; and with room again the same image."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from publisher.errors import HostError, RegistryUnavailableError
from tests.engines import bare_client
from tests.engines.docker import unavailable
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry, running
from tests.faults.conftest import Model, NewMachine, register, small_model
from tests.faults.machine import Machine

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]
TARGET = "DISK"
ROOM = 200 << 20  # bytes: enough for all of it


@pytest.fixture(scope="module")
def model(mlflow_server: MlflowServer) -> Model:
    return register(mlflow_server, TARGET, small_model())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """``small_disk(bytes)`` is a file system of its own."""
    mounted: list[Path] = []

    def make(size: int) -> Path:
        if os.geteuid() != 0:
            unavailable("only root can mount a tmpfs")
        place = tmp_path / f"disk-{len(mounted)}"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            unavailable(f"no tmpfs can be mounted: {done.stderr.decode()}")
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def resize(disk: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Leave no byte of it."""
    path = disk / "somebody-else-s"
    with path.open("ab") as sink:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    os.write(sink.fileno(), bytes(size))
            except OSError:
                continue
    return path


def run_filling(machine: Machine, model: Model, disk: Path, stage: str) -> tuple[int, str]:
    """Publish, and fill the disk in the moment in which `stage` begins."""
    process = machine.start("publish", model.name, model.version)
    while process.poll() is None and machine.reached() != stage:
        time.sleep(0.002)
    # What is freed meanwhile is taken too: the disk stays full to the end.
    ended = threading.Event()

    def keep_full() -> None:
        while not ended.is_set():
            fill(disk)
            time.sleep(0.005)

    filler = threading.Thread(target=keep_full)
    filler.start()
    try:
        code = process.wait(120)
    finally:
        ended.set()
        filler.join()
    return code, machine.said()


def is_retryable(model: Model, *words: str) -> None:
    status = model.status()
    assert status["state"] == "failed", status
    assert "next_try" in status, status
    for word in words:
        assert word in status["reason"], status


def converges(machine: Machine, model: Model, registry: RealRegistry, name: str) -> str:
    """The next run publishes, leaves nothing, and gives the digest."""
    machine.run("publish", model.name, model.version)
    tag = bare_client.manifest(registry.host, f"{name}/{model.name}", f"v{model.version}")
    status = model.status()
    assert tag
    assert (status["state"], status["digest"]) == ("published", tag.digest)
    return tag.digest


@pytest.fixture(scope="module")
def digest(
    model: Model, registry: RealRegistry, tmp_path_factory: pytest.TempPathFactory, new_machine: NewMachine
) -> str:
    """Of the same model, published where there was room."""
    return converges(new_machine(TARGET, f"{registry.host}/roomy"), model, registry, "roomy")


@pytest.mark.parametrize("moment", ["work-lock", "cache-lock", "cache-build"])
def test_a_disk_that_fills_up(  # noqa: PLR0917 - fixtures come by name
    moment: str,
    model: Model,
    digest: str,
    registry: RealRegistry,
    new_machine: NewMachine,
    small_disk: Callable[[int], Path],
) -> None:
    """Full from a stage on: exit code and status say so, nothing is tagged, and room again is all it needs."""
    disk, name = small_disk(ROOM), f"full/{moment}"
    kind, stage = moment.split("-")
    machine = new_machine(TARGET, f"{registry.host}/{name}", **{f"{kind}_folder": disk})
    code, said = run_filling(machine, model, disk, stage)
    assert code == HostError.exit_code, said
    is_retryable(model)
    assert not bare_client.manifest(registry.host, f"{name}/{model.name}", f"v{model.version}")
    (disk / "somebody-else-s").unlink()
    if kind == "work":
        assert list(disk.iterdir()) == [], "the work folder is freed"
    again = converges(machine, model, registry, name)
    assert again == digest
    assert machine.leftovers() == []


def test_a_temporary_folder_without_room(
    model: Model,
    digest: str,
    registry: RealRegistry,
    new_machine: NewMachine,
    small_disk: Callable[[int], Path],
) -> None:
    """With no work_folder set, TMPDIR is where files go: too small for the model is told before anything is fetched."""
    disk = small_disk(20 << 20)
    machine = new_machine(TARGET, f"{registry.host}/full/tmpdir", work_folder=None)
    environment = {"TMPDIR": str(disk)}
    said = machine.run(
        "publish", model.name, model.version, expect=HostError.exit_code, environment=environment
    )
    assert "free" in said
    assert "TMPDIR" in said
    is_retryable(model, "TMPDIR")
    assert list(disk.iterdir()) == []
    resize(disk, ROOM)
    machine.run("publish", model.name, model.version, environment=environment)
    assert model.status()["digest"] == digest
    assert list(disk.iterdir()) == []


def test_a_registry_without_room(
    model: Model,
    digest: str,
    new_machine: NewMachine,
    small_disk: Callable[[int], Path],
) -> None:
    """The registry's disk: its own words, no tag, a next try; with room the same digest."""
    disk = small_disk(30 << 20)
    with running(disk) as full:
        machine = new_machine(TARGET, f"{full.host}/full")
        machine.run("publish", model.name, model.version, expect=RegistryUnavailableError.exit_code)
        is_retryable(model, full.host)
        assert not bare_client.manifest(full.host, f"full/{model.name}", f"v{model.version}")
        resize(disk, ROOM)
        assert converges(machine, model, full, "full")

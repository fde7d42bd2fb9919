"""A real engine that pulls our images and runs them: Docker, with qemu for the foreign architecture."""

from __future__ import annotations

import contextlib
import json
import os
import platform as host
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

from publisher.domain import MACHINES, Platform
from tests.engines import require

BINFMT = Path("/proc/sys/fs/binfmt_misc")
# Importing scikit-learn and pandas under qemu takes most of a minute on two cores.
NATIVE_SECONDS, EMULATED_SECONDS = 90, 300


@dataclass(slots=True)
class Docker:
    """Runs images. It remembers what it pulled, and `clean` removes that again."""

    pulled: set[str] = field(default_factory=set)

    @contextmanager
    def run_image(
        self, reference: str, platform: str, *, environment: Mapping[str, str] | None = None
    ) -> Iterator[str]:
        """Serve an image with a read-only root until the block ends; gives its base URL once /ping answers.

        On a failure, in here or in the block, the container's log is in the error.
        """
        self.pull(reference, platform)
        options = ["--detach", "--read-only", "--tmpfs", "/tmp", "--publish", "127.0.0.1::8080"]
        for key, value in (environment or {}).items():
            options += ["--env", f"{key}={value}"]
        container = _docker("run", "--platform", platform, *options, reference).strip()
        try:
            yield _serving(container, EMULATED_SECONDS if emulated(platform) else NATIVE_SECONDS)
        except Exception as error:
            log = subprocess.run(
                ["docker", "logs", "--tail", "60", container], capture_output=True, check=False
            )
            error.add_note(f"the log of {reference} on {platform}:\n{(log.stdout + log.stderr).decode()}")
            raise
        finally:
            _remove(container)

    def run_command(
        self, reference: str, platform: str, arguments: Sequence[str] = (), *, entrypoint: str | None = None
    ) -> str:
        """What a command in an image prints (the image's own command by default). Raises on another exit code."""
        self.pull(reference, platform)
        name = f"publisher-test-{uuid.uuid4().hex[:12]}"
        options = ["--name", name, "--read-only", "--tmpfs", "/tmp", "--platform", platform]
        if entrypoint is not None:
            options += ["--entrypoint", entrypoint]
        try:
            return _docker("run", *options, reference, *arguments, seconds=EMULATED_SECONDS)
        finally:
            # A client that was stopped by its time limit leaves the container running.
            _remove(name)

    def pull(self, reference: str, platform: str) -> None:
        """Pull each time: without containerd's store, a tag stands for one platform, the last that was pulled."""
        if emulated(platform) and not can_emulate(platform):
            unavailable(f"{platform} programs do not run here: make engines registers qemu with binfmt_misc")
        _docker("pull", "--quiet", "--platform", platform, reference, seconds=600)
        self.pulled.add(_docker("image", "inspect", "--format", "{{.Id}}", reference).strip())

    def clean(self) -> None:
        for image in self.pulled:
            subprocess.run(["docker", "image", "rm", "--force", image], capture_output=True, check=False)


def predict(url: str, request: Mapping[str, Any], *, seconds: float = 120) -> Any:
    """What /invocations of a served model answers for a request, under its key ``predictions``."""
    body = json.dumps(request).encode()
    call = urllib.request.Request(  # the URL is of our own container
        f"{url}/invocations", data=body, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(call, timeout=seconds) as answer:
            return json.load(answer)["predictions"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"/invocations answered {error.code}: {error.read().decode()[:2000]}") from error


def emulated(platform: str) -> bool:
    """True where a platform is not the machine's own."""
    return MACHINES.get(Platform.parse(platform).architecture) != host.machine().replace("arm64", "aarch64")


def can_emulate(platform: str) -> bool:
    """True where the kernel knows what to do with that machine's programs, inside containers too (flag F)."""
    if host.system() != "Linux":
        return True  # Docker's own virtual machine brings the emulation
    entry = BINFMT / f"qemu-{MACHINES[Platform.parse(platform).architecture]}"
    try:
        lines = entry.read_text().splitlines()
    except OSError:
        return False
    return "enabled" in lines and any(line.startswith("flags:") and "F" in line for line in lines)


def answers() -> bool:
    """True where a docker command line reaches a daemon."""
    try:
        return (
            subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=30).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def unavailable(reason: str) -> NoReturn:
    """Skip, but fail in CI: there, a check that did not run must not look like one that passed."""
    if os.environ.get("CI", "").lower() in ("1", "true", "yes", "on"):
        pytest.fail(reason)
    pytest.skip(reason)


def _logs(container: str) -> str:
    command = ["docker", "logs", "--tail", "60", container]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    )
    return done.stdout


def _remove(container: str) -> None:
    subprocess.run(["docker", "rm", "--force", "--volumes", container], capture_output=True, check=False)


def _serving(container: str, seconds: float) -> str:
    """The base URL of a container once its /ping answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        running, _, code = _docker(
            "inspect", "--format", "{{.State.Running}} {{.State.ExitCode}}", container
        ).partition(" ")
        if running != "true":
            raise RuntimeError(f"the container ended with {code.strip()}")
        if "qemu: uncaught target signal" in _logs(container):
            raise RuntimeError("the program crashed under qemu, which then hangs instead of ending")
        # It may end between the two questions, and then has no port: the next round tells with which code.
        with contextlib.suppress(RuntimeError, urllib.error.URLError, OSError):
            address = _docker("port", container, "8080/tcp").split("\n")[0]
            url = f"http://127.0.0.1:{address.rpartition(':')[2]}"
            with urllib.request.urlopen(f"{url}/ping", timeout=10):
                return url
        time.sleep(0.25)
    raise TimeoutError(f"/ping does not answer after {seconds:.0f} s")


def _docker(*arguments: str, seconds: float = 60) -> str:
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=False, timeout=seconds
    )
    if done.returncode:
        raise RuntimeError(
            f"docker {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-4000:]}"
        )
    return done.stdout


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """Docker with a running daemon; the images that the session pulled are removed at its end."""
    require("docker", "docker.io")
    if not answers():
        unavailable("no Docker daemon answers: make engines starts one where it may")
    engine = Docker()
    yield engine
    engine.clean()

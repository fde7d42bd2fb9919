"""kaniko in containers of the local Docker: what it builds, how it fails, and what it leaves behind."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from publisher import scratch
from publisher.builders.command import of_tools
from publisher.builders.kaniko import Kaniko
from publisher.builders.kaniko_container import CLAIM, Container
from publisher.builders.reach import Reach
from publisher.domain import Platform
from publisher.errors import BuildError, DeadlineError, EngineError, RegistryError
from publisher.progress import Report
from tests.contract import engine_jobs as jobs
from tests.engines.bare_client import push_layout
from tests.engines.docker import can_emulate, emulated, unavailable
from tests.engines.hub import Hub
from tests.engines.registry import RealRegistry

Engine = Callable[..., Kaniko]


@pytest.fixture
def engine(kaniko_image: str, hub: Hub, tmp_path: Path) -> Engine:
    def made(*, image: str = kaniko_image, plain: Sequence[str] = ()) -> Kaniko:
        reach = Reach({"docker.io": hub.host}, frozenset(plain))
        return Kaniko([Container("docker", image, reach, of_tools(os.environ), tmp_path / "work")], reach)

    return made


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """Every test ends with no container of its own."""
    yield
    claim = scratch.below(tmp_path / "work").claim
    assert not containers(claim)


def containers(claim: str) -> list[str]:
    command = ["docker", "ps", "--all", "--quiet", "--filter", f"label={CLAIM}={claim}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def test_arm64(engine: Engine, tmp_path: Path) -> None:
    """RUN and COPY make layers over the base, for a platform that one of our machines emulates."""
    platform = "linux/arm64"
    if emulated(platform) and not can_emulate(platform):
        unavailable(f"{platform} programs do not run here")
    text = f"FROM {jobs.BASE}\nRUN uname -m > /machine\nCOPY greeting /app/greeting\nUSER 5001\n"
    text += "HEALTHCHECK --interval=9s CMD true\n"
    job = jobs.job(tmp_path / "a", text, platform=platform, files={"greeting": "hello"})
    kaniko = engine()
    assert kaniko.check([job.platform]) == ""
    layout = kaniko.build(job)
    files = jobs.added(layout, 1)
    assert files["app/greeting"] == b"hello"
    assert files["machine"].strip() == b"aarch64"
    assert not [name for name in files if name.startswith("kaniko")]
    settings = jobs.config(layout)["config"]
    assert (settings["User"], settings["Healthcheck"]["Interval"]) == ("5001", 9_000_000_000)
    assert jobs.config(layout)["architecture"] == job.platform.architecture


def test_failing_run(engine: Engine, tmp_path: Path) -> None:
    """The Dockerfile's fault is permanent; the error has the end of the output, the log file has all of it."""
    lines = "; ".join(f"echo line-{number}" for number in range(40))
    job = jobs.job(tmp_path / "a", f"FROM {jobs.BASE}\nRUN {lines}; exit 7\n")
    with pytest.raises(BuildError, match="exit status 7") as caught:
        engine().build(job)
    assert not caught.value.retryable
    assert len(caught.value.detail.splitlines()) == 20
    assert "line-39" in caught.value.detail
    assert "line-0\n" in job.commands.log.read_text()
    assert str(job.commands.log) in caught.value.hint


def test_failing_at_once(engine: Engine, tmp_path: Path) -> None:
    """That kaniko tells which image it retrieves does not make a RUN's fault the registry's."""
    with pytest.raises(BuildError, match="exit status 7"):
        engine().build(jobs.job(tmp_path / "a", f"FROM {jobs.BASE}\nRUN exit 7\n"))


def test_from_nobody_has(engine: Engine, tmp_path: Path, hub: Hub) -> None:
    """A FROM that cannot be pulled may be there tomorrow."""
    name = f"{hub.host}/library/nobody:1"
    with pytest.raises(RegistryError, match="FROM names cannot be pulled") as caught:
        engine().build(jobs.job(tmp_path / "a", f"FROM {name}\n", bases=[name]))
    assert caught.value.retryable


def test_secret(engine: Engine, tmp_path: Path) -> None:
    """A RUN reads a secret; no layer, config, output or command line has it."""
    secret = tmp_path / "token"
    secret.write_text("canary-kaniko-secret")
    text = f"""FROM {jobs.BASE} AS first
RUN --mount=type=secret,id=tok wc -c < /run/secrets/tok > /size
FROM {jobs.BASE}
RUN --mount=type=secret,id=tok stat -c '%a %u %s' /run/secrets/tok > /facts
COPY --from=first /size /size
"""
    job = jobs.job(tmp_path / "a", text, secrets={"tok": secret})
    layout = engine().build(job)
    files = jobs.added(layout, 1)
    assert files["facts"].strip() == b"400 0 20"
    assert files["size"].strip() == b"20"
    assert not [name for name in files if "secrets" in name]
    assert b"canary-kaniko" not in b"".join(files.values())
    assert "canary-kaniko" not in job.commands.log.read_text() + str(jobs.config(layout))


def test_stopped(engine: Engine, tmp_path: Path) -> None:
    """A deadline ends the build within seconds, and its container with it."""
    begun = time.monotonic()
    running = threading.Event()

    class Seen(jobs.Lines):
        def line(self, subject: str, text: str) -> None:
            if text == "sleeping":
                running.set()

    def check() -> None:
        if running.is_set():
            raise DeadlineError("too long")

    job = jobs.job(
        tmp_path / "a",
        f"FROM {jobs.BASE}\nRUN echo sleeping; sleep 300\n",
        report=Report(Seen(), "test", check),
    )
    with pytest.raises(DeadlineError):
        engine().build(job)
    assert running.is_set()
    assert time.monotonic() - begun < 60


def test_killed(engine: Engine, tmp_path: Path) -> None:
    """A container that somebody kills says nothing about the Dockerfile: it is tried again."""

    class Killer(jobs.Lines):
        def line(self, subject: str, text: str) -> None:
            if text == "sleeping":
                (container,) = containers(scratch.below(tmp_path / "work").claim)
                subprocess.run(["docker", "kill", container], check=True, capture_output=True)

    text = f"FROM {jobs.BASE}\nRUN echo sleeping; sleep 300\n"
    with pytest.raises(EngineError, match="kaniko was killed") as caught:
        engine().build(jobs.job(tmp_path / "a", text, report=Report(Killer(), "test")))
    assert caught.value.retryable


def test_leftovers(engine: Engine, kaniko_image: str, tmp_path: Path) -> None:
    """The container of a publisher that is gone goes with the next build; that of a living one stays."""
    claim = scratch.below(tmp_path / "work").claim
    gone = f"{claim.rpartition('-')[0]}-abcdefgh"
    create = ["docker", "create", "--label"]
    for label in (gone, claim):
        subprocess.run([*create, f"{CLAIM}={label}", kaniko_image], check=True, capture_output=True)
    try:
        engine().build(jobs.job(tmp_path / "a", "FROM scratch\nCOPY a /a\n", files={"a": "b"}, bases=[]))
        assert not containers(gone)
        assert len(containers(claim)) == 1
    finally:
        left = containers(claim) + containers(gone)
        subprocess.run(["docker", "rm", "--force", *left], check=True, capture_output=True)


def test_cache(engine: Engine, tmp_path: Path, registry: RealRegistry, repository: str) -> None:
    """What one machine built is used again by another one that has nothing but the registry."""
    text = f"FROM {jobs.BASE}\nRUN date +%s%N > /now\n"
    cache = f"{registry.host}/{repository}"
    found = [
        jobs.added(engine().build(jobs.job(tmp_path / name, text, cache=cache)), 1)["now"] for name in "ab"
    ]
    assert found[0] == found[1]


def test_private_base(
    engine: Engine, tmp_path: Path, private_registry: RealRegistry, repository: str
) -> None:
    """A FROM that asks who we are gets the job's account; without it, it cannot be pulled."""
    registry = private_registry
    name = f"{registry.host}/{repository}:v1"
    layout = engine().build(
        jobs.job(tmp_path / "base", "FROM scratch\nCOPY a /a\n", bases=[], files={"a": ""})
    )
    push_layout(layout, registry.host, repository, "v1", (registry.user, registry.password))
    text = f"FROM {name}\nCOPY a /b\n"
    with pytest.raises(RegistryError):
        engine().build(jobs.job(tmp_path / "a", text, bases=[name], files={"a": ""}))
    auth = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
    job = jobs.job(
        tmp_path / "b", text, bases=[name], files={"a": ""}, accounts={registry.host: {"auth": auth}}
    )
    assert "b" in jobs.added(engine().build(job), 0)


def test_missing(engine: Engine, kaniko_image: str, hub: Hub, tmp_path: Path) -> None:
    """check() tells what is not there; an image that nobody has is told by the build."""
    reach = Reach()
    none = Container("docker", kaniko_image, reach, {"PATH": str(tmp_path)})
    assert "there is no docker here" in Kaniko([none], reach).check([Platform.parse("linux/amd64")])
    away = Container(
        "docker", kaniko_image, reach, of_tools({**os.environ, "DOCKER_HOST": "unix:///no.sock"})
    )
    assert "docker does not answer" in Kaniko([away], reach).check([Platform.parse("linux/amd64")])
    unknown = engine(image=f"{hub.host}/library/no-kaniko:1")
    assert "programs for linux/s390x do not run here" in unknown.check([Platform.parse("linux/s390x")])
    with pytest.raises(EngineError, match=r"makes no container of .*/no-kaniko:1") as caught:
        unknown.build(jobs.job(tmp_path / "a", "FROM scratch\n", bases=[]))
    assert "kaniko_image" in caught.value.hint

"""buildx with a real BuildKit: what it builds, how it fails, and what it leaves behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from publisher.builders.buildx import Buildx
from publisher.builders.command import of_tools
from publisher.builders.reach import Reach
from publisher.domain import Platform
from publisher.errors import BuildError, DeadlineError, EngineError, RegistryError
from publisher.progress import Report
from tests.contract import engine_jobs as jobs
from tests.engines.buildkit import BuildKit, running
from tests.engines.docker import can_emulate, emulated, unavailable
from tests.engines.hub import Hub
from tests.engines.registry import RealRegistry

SLEEP = "31415"  # seconds that no other process sleeps


@pytest.fixture
def engine(buildkit: BuildKit) -> Buildx:
    return Buildx(of_tools(buildkit.environment), Reach(), buildkit=buildkit.address)


def processes(word: str) -> dict[int, list[str]]:
    """The processes of this machine that have `word` among their arguments, with all of these."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            if word in words:
                found[int(path.parent.name)] = words
    return found


def soon(what: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 15
    while not what() and time.monotonic() < deadline:
        time.sleep(0.1)
    return what()


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_both_platforms(engine: Buildx, tmp_path: Path, platform: str) -> None:
    """RUN and COPY make layers over the base, for this machine's platform and for an emulated one."""
    if emulated(platform) and not can_emulate(platform):
        unavailable(f"{platform} programs do not run here")
    text = f"FROM {jobs.BASE}\nRUN uname -m > /machine\nCOPY . /app\nUSER 5001\n"
    files = {"greeting": "hello", "--output=x": "odd", "-": "odd"}
    job = jobs.job(tmp_path / "a", text, platform=platform, files=files)
    assert engine.check([job.platform]) == ""
    layout = engine.build(job)
    found = jobs.added(layout, 1)
    assert found["app/greeting"] == b"hello"
    assert found["app/--output=x"] == b"odd"
    assert found["machine"].strip() == {"linux/amd64": b"x86_64", "linux/arm64": b"aarch64"}[platform]
    assert jobs.config(layout)["config"]["User"] == "5001"
    assert jobs.config(layout)["architecture"] == job.platform.architecture


def test_the_builder_that_the_user_chose(buildkit: BuildKit, tmp_path: Path) -> None:
    """Where no setting names one; and by its name."""
    variables = of_tools(buildkit.environment)
    for number, engine in enumerate(
        [
            Buildx({**variables, "BUILDX_BUILDER": buildkit.builder}, Reach()),
            Buildx(variables, Reach(), builder=buildkit.builder, buildkit="tcp://not.asked:1"),
        ]
    ):
        job = jobs.job(tmp_path / str(number), "FROM scratch\nCOPY a /a\n", files={"a": "b"}, bases=[])
        assert engine.check([job.platform]) == ""
        assert jobs.added(engine.build(job), 0) == {"a": b"b"}


def test_failing_run(engine: Buildx, tmp_path: Path) -> None:
    """The Dockerfile's fault is permanent; the error has the end of the output, the log file has all of it."""
    lines = "; ".join(f"echo line-$(({number}))" for number in range(40))
    job = jobs.job(tmp_path / "a", f"FROM {jobs.BASE}\nRUN {lines}; exit 7\n")
    with pytest.raises(BuildError, match="exit code: 7") as caught:
        engine.build(job)
    assert not caught.value.retryable
    assert len(caught.value.detail.splitlines()) == 20
    assert "line-39" in caught.value.detail
    assert "line-0\n" in job.commands.log.read_text()
    assert str(job.commands.log) in caught.value.hint


def test_from_nobody_has(engine: Buildx, tmp_path: Path, registry: RealRegistry) -> None:
    """A FROM that cannot be pulled may be there tomorrow."""
    name = f"{registry.host}/library/nobody:1"
    with pytest.raises(RegistryError, match="FROM names cannot be pulled") as caught:
        engine.build(jobs.job(tmp_path / "a", f"FROM {name}\n", bases=[name]))
    assert caught.value.retryable


def test_a_file_that_the_context_lacks(engine: Buildx, tmp_path: Path) -> None:
    """BuildKit says "not found" of it, too; it will not be there tomorrow."""
    with pytest.raises(BuildError, match="nosuch"):
        engine.build(jobs.job(tmp_path / "a", f"FROM {jobs.BASE}\nCOPY nosuch /\n"))


def test_secret(engine: Buildx, tmp_path: Path) -> None:
    """A RUN reads a secret; no layer, config, output or command line has it. Its path may hold a comma."""
    secret = tmp_path / "a, b" / "token"
    secret.parent.mkdir()
    secret.write_text("canary-buildx-secret")
    text = f"FROM {jobs.BASE}\nRUN --mount=type=secret,id=tok wc -c < /run/secrets/tok > /size\n"
    seen: list[str] = []

    class Looking(jobs.Lines):
        def line(self, subject: str, text: str) -> None:
            context = str(tmp_path / "a" / "context")
            seen.extend(word for words in processes(context).values() for word in words)

    job = jobs.job(tmp_path / "a", text, secrets={"tok": secret}, report=Report(Looking(), "test"))
    layout = engine.build(job)
    assert "--secret" in seen
    assert "canary-buildx" not in " ".join(seen)
    files = jobs.added(layout, 1)
    assert files["size"].strip() == b"20"
    assert b"canary-buildx" not in b"".join(files.values())
    assert "canary-buildx" not in job.commands.log.read_text() + str(jobs.config(layout))


def test_stopped(engine: Buildx, tmp_path: Path) -> None:
    """A deadline ends the build within seconds, and what it runs in BuildKit."""

    def check() -> None:
        if processes(SLEEP):
            raise DeadlineError("too long")

    text = f"FROM {jobs.BASE}\nRUN sleep {SLEEP}\n"
    job = jobs.job(tmp_path / "a", text, report=Report(jobs.Lines(), "test", check))
    with pytest.raises(DeadlineError):
        engine.build(job)
    assert soon(lambda: not processes(SLEEP))


@pytest.mark.parametrize("victim", ["buildx", "buildkitd"])
def test_killed(tmp_path: Path, victim: str) -> None:
    """An end from outside says nothing about the Dockerfile: it is tried again."""
    with running(tmp_path / "buildkit", plain=[]) as buildkit:
        engine = Buildx(of_tools(buildkit.environment), Reach(), buildkit=buildkit.address)
        context = tmp_path / "a" / "context"
        word = {"buildx": str(context), "buildkitd": buildkit.address}[victim]

        class Killer(jobs.Lines):
            def line(self, subject: str, text: str) -> None:
                if "[internal] load build context" in text:
                    (number,) = [each for each, words in processes(word).items() if words[0].endswith(victim)]
                    os.kill(number, 9)

        text = "FROM scratch\nCOPY . /a\n"
        job = jobs.job(tmp_path / "a", text, bases=[], report=Report(Killer(), "test"))
        with (context / "big").open("wb") as file:
            file.truncate(2 << 30)
        with pytest.raises(EngineError) as caught:
            engine.build(job)
        assert caught.value.retryable
        assert not processes(str(context))


def test_cache(tmp_path: Path, engine: Buildx, registry: RealRegistry, repository: str, hub: Hub) -> None:
    """What one machine built is used again by another one that has nothing but the registry."""
    text = f"FROM {jobs.BASE}\nRUN date +%s%N > /now\n"
    cache = f"{registry.host}/{repository}"
    with running(tmp_path / "other", plain=[registry.host], hub=hub.host) as other:
        second = Buildx(of_tools(other.environment), Reach(), buildkit=other.address)
        found = [
            jobs.added(each.build(jobs.job(tmp_path / name, text, cache=cache)), 1)["now"]
            for name, each in {"a": engine, "b": second}.items()
        ]
    assert found[0] == found[1]


def test_a_cache_that_takes_nothing(engine: Buildx, tmp_path: Path) -> None:
    """Nobody answers there: the image is built all the same."""
    job = jobs.job(
        tmp_path / "a", "FROM scratch\nCOPY a /a\n", files={"a": "b"}, bases=[], cache="127.0.0.1:1/cache"
    )
    assert jobs.added(engine.build(job), 0) == {"a": b"b"}


def test_check_tells_what_is_missing(engine: Buildx, buildkit: BuildKit, tmp_path: Path) -> None:
    """The program, the builder, and platforms that it does not have."""
    amd64 = Platform.parse("linux/amd64")
    variables = of_tools(buildkit.environment)
    assert "docker-buildx-plugin" in Buildx({"PATH": str(tmp_path)}, Reach()).check([amd64])
    unknown = Buildx(variables, Reach(), builder="nosuch").check([amd64])
    assert unknown == 'nosuch cannot be used: no builder "nosuch" found'
    foreign = engine.check([amd64, Platform.parse("linux/s390x")])
    assert foreign.startswith(f"{buildkit.address} does not build for linux/s390x: install emulation")
    with pytest.raises(EngineError, match="docker-buildx-plugin"):
        Buildx({"PATH": str(tmp_path)}, Reach()).build(jobs.job(tmp_path / "a", "FROM scratch\n", bases=[]))


def test_check_leaves_nothing(buildkit: BuildKit, tmp_path: Path) -> None:
    """It is asked again and again."""
    work = tmp_path / "work"
    engine = Buildx(of_tools(buildkit.environment), Reach(), buildkit=buildkit.address, work=work)
    assert engine.check([Platform.parse("linux/amd64")]) == ""
    assert {path.name for path in work.glob("*/*")} == {"lock"}

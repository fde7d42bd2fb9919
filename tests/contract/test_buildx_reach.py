"""buildx and the registries of a Dockerfile: mirrors, plain HTTP, accounts, and the user's own Docker settings."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from publisher.builders.buildx import Buildx
from publisher.builders.command import of_tools
from publisher.builders.dockerfile import DockerfileBuilder
from publisher.builders.reach import Reach
from publisher.describe import by_dockerfile
from publisher.domain import Context, ModelVersion, Platform, Target
from publisher.errors import RegistryError
from publisher.oci.layout import Layout
from publisher.progress import Report, Silent
from tests.contract import engine_jobs as jobs
from tests.engines import registry as registries
from tests.engines import require
from tests.engines.bare_client import push_layout
from tests.engines.buildkit import BuildKit, running
from tests.engines.docker import Docker
from tests.engines.registry import RealRegistry

AMD64 = Platform.parse("linux/amd64")
COPIED = "FROM {}\nCOPY a /b\n"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuildKit]:
    """BuildKit that nobody told of any mirror or plain-HTTP registry."""
    with running(tmp_path_factory.mktemp("bare"), plain=[]) as found:
        yield found


def engine(buildkit: BuildKit, mirrors: Mapping[str, str] | None = None) -> Buildx:
    return Buildx(of_tools(buildkit.environment), Reach(mirrors or {}), buildkit=buildkit.address)


def files(folder: Path) -> set[str]:
    return set(jobs.added(folder, 0))


@pytest.fixture(scope="module")
def base(bare: BuildKit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout of an image with a file "base"."""
    job = jobs.job(
        tmp_path_factory.mktemp("base") / "a", "FROM scratch\nCOPY base /\n", bases=[], files={"base": ""}
    )
    return engine(bare).build(job)


@pytest.mark.parametrize(
    "name",
    [
        "python:1",
        "docker.io/library/python:1",
        "docker.io/python:1",
        "library/python:1",
        "quay.example.org/library/python:1",
    ],
)
def test_mirrors(bare: BuildKit, base: Path, registry: RealRegistry, tmp_path: Path, name: str) -> None:
    """However a FROM spells its image, it comes from the mirror, by any BuildKit; so does a COPY --from."""
    push_layout(base, registry.host, "library/python", "1")
    text = f"FROM {name}\nCOPY a /b\nCOPY --from={name} base /copied\n"
    job = jobs.job(tmp_path / "a", text, bases=[name], files={"a": ""})
    assert files(
        engine(bare, dict.fromkeys(["docker.io", "quay.example.org"], registry.host)).build(job)
    ) == {"base", "b", "copied"}


def test_a_mirror_that_lacks_an_image(
    bare: BuildKit, base: Path, registry: RealRegistry, tmp_path: Path, repository: str
) -> None:
    """The registry that the FROM names is asked after it."""
    push_layout(base, registry.host, repository, "1")
    name = f"{registry.host}/{repository}:1"
    with registries.running(tmp_path / "empty") as empty:
        job = jobs.job(tmp_path / "a", COPIED.format(name), bases=[name], files={"a": ""})
        assert files(engine(bare, {registry.host: empty.host}).build(job)) == {"base", "b"}
        assert empty.requests("HEAD", repository)


def test_the_syntax_directive_comes_from_the_mirror(
    bare: BuildKit, registry: RealRegistry, tmp_path: Path
) -> None:
    """It names an image, too. Nobody has it here: the error is the mirror's, which is asked for it."""
    text = "# syntax=docker/dockerfile:1\nFROM scratch\nCOPY a /b\n"
    job = jobs.job(tmp_path / "a", text, bases=["docker/dockerfile:1"], files={"a": ""})
    with pytest.raises(RegistryError, match=rf"{registry.host}/docker/dockerfile:1: not found"):
        engine(bare, {"docker.io": registry.host}).build(job)


def test_plain_http(bare: BuildKit, tmp_path: Path) -> None:
    """BuildKit must be told of it in a file of its own; the error says what and where."""
    with registries.running(tmp_path / "registry", name=socket.gethostname()) as plain:
        name = f"{plain.host}/x:1"
        job = jobs.job(tmp_path / "a", f"FROM {name}\n", bases=[name])
        with pytest.raises(RegistryError, match=f"{plain.host} speaks plain HTTP") as caught:
            engine(bare).build(job)
        assert f'[registry."{plain.host}"] http = true' in caught.value.hint


def test_private_base_and_private_mirror(
    bare: BuildKit, base: Path, private_registry: RealRegistry, tmp_path: Path, repository: str
) -> None:
    """A FROM that asks who we are gets the account of its registry, or of its mirror; nothing else is asked for."""
    private = private_registry
    push_layout(base, private.host, repository, "1", (private.user, private.password))
    auth = base64.b64encode(f"{private.user}:{private.password}".encode()).decode()
    asked: list[str] = []

    def accounts(references: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        asked.extend(references)
        ours = any(each.startswith(private.host) for each in references)
        return {private.host: {"auth": auth}} if ours else {}

    for name, mirrors in {
        f"{private.host}/{repository}:1": {},
        f"hub.example.org/{repository}:1": {"hub.example.org": private.host},
    }.items():
        asked.clear()
        folder = tmp_path / str(len(mirrors))
        job = jobs.job(folder, COPIED.format(name), bases=[name], files={"a": ""})
        with pytest.raises(RegistryError):
            engine(bare, mirrors).build(job)
        reach, tools = Reach(mirrors), of_tools(bare.environment)
        builder = DockerfileBuilder(engine(bare, mirrors), tools, accounts, tmp_path / "logs", reach)
        layout = _build(builder, job.context, folder / "again")
        assert [child.platform for child in layout.children()] == [AMD64]
        assert asked == [name, *([f"{private.host}/{repository}:1"] if mirrors else [])]
        log = next((tmp_path / "logs").iterdir()).read_text()
        assert auth not in log
        assert private.password not in log


def _build(builder: DockerfileBuilder, context: Context, folder: Path) -> Layout:
    folder.mkdir()
    version = ModelVersion("m", "1", "runs:/1/m", datetime(2026, 11, 22, tzinfo=UTC))
    spec = by_dockerfile(version, Target("t", "t", "registry.example.org", (AMD64,), "python:3"), context)
    return builder.build(spec, folder, [], Report(Silent(), "m"), lambda *_: None).layout


def test_docker_with_the_plugin_of_the_user(bare: BuildKit, tmp_path: Path) -> None:
    """``docker buildx``, its plugin, the user's builder and context are found, though the accounts are ours."""
    docker = Path(require("docker", "docker.io"))
    own, programs = tmp_path / "dot-docker", tmp_path / "bin"
    (own / "cli-plugins").mkdir(parents=True)
    programs.mkdir()
    shutil.copy(bare.buildx, own / "cli-plugins" / "docker-buildx")
    (programs / "docker").symlink_to(docker)
    variables = {"PATH": str(programs), "DOCKER_CONFIG": str(own), "BUILDX_BUILDER": "mine"}
    for words in (
        ["context", "create", "elsewhere", "--docker", "host=unix:///no.sock"],
        ["context", "use", "elsewhere"],
        ["buildx", "create", "--name", "mine", "--driver", "remote", bare.address],
    ):
        subprocess.run([docker, *words], env=variables, check=True, capture_output=True)
    (own / "config.json").write_text(
        json.dumps(
            json.loads((own / "config.json").read_text()) | {"auths": {"x.example.org": {"auth": "bm86bm8="}}}
        )
    )
    job = jobs.job(tmp_path / "a", "FROM scratch\nCOPY a /a\n", bases=[], files={"a": ""})
    mine = Buildx(variables, Reach())
    assert mine.check([AMD64]) == ""
    assert files(mine.build(job)) == {"a"}
    shown = subprocess.run(
        [docker, "context", "show"],
        env={**variables, "DOCKER_CONFIG": str(job.folder / "docker")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert shown.strip() == "elsewhere"
    assert "x.example.org" not in (job.folder / "docker" / "config.json").read_text()
    away = Buildx({**variables, "BUILDX_BUILDER": "elsewhere"}, Reach()).check([AMD64])
    assert away.startswith("the current builder of buildx does not answer: ")


def test_docker_s_own_builder_exports_no_images(buildkit: BuildKit, docker: Docker) -> None:
    """Where Docker keeps images as it always did; check() says how a builder is had that does."""
    daemon = json.loads(docker_info())
    if any("io.containerd.snapshotter" in value for _, value in daemon["DriverStatus"]):
        pytest.skip("this Docker keeps images in containerd's store")
    variables = {**of_tools(buildkit.environment), "BUILDX_BUILDER": "default"}
    assert "docker buildx create --driver docker-container --use" in Buildx(variables, Reach()).check([AMD64])


def docker_info() -> str:
    command = ["docker", "info", "--format", "{{json .}}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout

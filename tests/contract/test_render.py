"""`publisher render`: the build context of a version on disk, and what a person does with it on a laptop."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from publisher.builders.bases import host_platform
from publisher.cli import render as command
from publisher.errors import BuildError, RequirementsError, SettingsError
from tests.contract.world import World
from tests.engines import bare_client
from tests.engines.buildkit import BuildKit
from tests.engines.docker import Docker
from tests.engines.hub import TAGS, Hub
from tests.engines.registry import RealRegistry
from tests.threats.canaries import leaks, watched

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]


@pytest.fixture(scope="module")
def number(world: World) -> str:
    return world.register(EXTERNAL_TARGET_LAPTOP="true")


@pytest.fixture(scope="module")
def base(hub: Hub) -> dict[str, str]:
    """Settings of a target whose base image has pip."""
    return {"base": f"{hub.host}/library/python:{TAGS[1]}"}


def render(
    world: World, number: str, folder: Path, keys: dict[str, str], *, force: bool = False, js: bool = False
) -> int:
    with world.app("LAPTOP", **keys) as app:
        return command.run(nullcontext(app), world.model, number, folder, None, force=force, json=js)


def test_what_is_written_and_told(
    world: World, number: str, base: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole context is there, and what is printed names its files, its author and what comes next."""
    folder = tmp_path / "a new" / "context"
    assert render(world, number, folder, base) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{world.model} v{number} → LAPTOP: {folder}"
    machine = {"amd64": "x86_64", "arm64": "aarch64"}[host_platform().architecture]
    lock = f"    requirements-{machine}.txt"
    assert [line.rpartition("  ")[0] for line in said[1:-2]] == [
        "  environment/",
        lock,
        "  model/",
        "    MLmodel",
        "    python_env.yaml",
        "    requirements.txt",
        "    run.py",
        "  Dockerfile",
        "  create_docker_image.sh",
    ]
    assert said[-2].startswith(
        f"The Dockerfile is publisher's own, from {base['base'].rpartition(':')[0]}@sha256:"
    )
    assert said[-1] == f"Build it: cd '{folder}' && ./create_docker_image.sh"
    assert (folder / "environment" / lock.strip()).read_text().startswith(("pip==", "six=="))
    assert not [tag for tag in world.server.tags(world.model, number) if tag.startswith("publisher.LAPTOP")]


def test_a_folder_that_is_not_empty_stays_as_it_is(
    world: World, number: str, base: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --force nothing is touched; with it the context's own names are replaced, whatever they were."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("alive")
    folder = tmp_path / "context"
    (folder / "model").mkdir(parents=True)
    for name in ("model/stale", "notes.txt", "Dockerfile"):
        (folder / name).write_text("old")
    (folder / "environment").symlink_to(outside)
    with pytest.raises(SettingsError, match="not empty"):
        render(world, number, folder, base)
    assert (folder / "Dockerfile").read_text() == "old"
    assert render(world, number, folder, base, force=True, js=True) == 0
    document = json.loads(capsys.readouterr().out)
    assert (folder / "notes.txt").read_text() == "old"
    assert not (folder / "model" / "stale").exists()
    assert [path.name for path in outside.iterdir()] == ["keep"]
    assert (document["author"], document["command"]) == ("builtin", ["./create_docker_image.sh"])
    paths = {file["path"] for file in document["files"]}
    assert {"Dockerfile", "notes.txt", "model/MLmodel"} <= paths
    with pytest.raises(SettingsError, match="is no folder"):
        render(world, number, folder / "Dockerfile", base, force=True)


def test_a_base_image_on_disk_is_none_for_a_dockerfile(world: World, number: str, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="can only name one in a registry"):
        render(world, number, tmp_path / "context", {})
    assert not (tmp_path / "context").exists()


def test_one_target_at_a_time(world: World, number: str, base: dict[str, str], tmp_path: Path) -> None:
    """A version of two targets has two contexts."""
    settings = world.settings("LAPTOP", **base)
    other = world.settings("OTHER", tag="EXTERNAL_TARGET_LAPTOP", **base).targets[0]
    with world.app("LAPTOP", **base) as app:
        object.__setattr__(app.settings, "targets", (*settings.targets, other))
        with pytest.raises(SettingsError, match="2 targets") as caught:
            app.render(world.model, number, tmp_path / "context", None, force=False)
        assert "--target LAPTOP | OTHER" in caught.value.line
        assert (
            app.render(world.model, number, tmp_path / "context", "OTHER", force=False).target.name == "OTHER"
        )


def test_packages_of_conda(world: World, base: dict[str, str], tmp_path: Path) -> None:
    """With conda = "conda" they go into the context as conda reads them; without it the version is refused."""
    number = world.register(requirements="idna==3.10\n", EXTERNAL_TARGET_LAPTOP="true")
    client = world.server.client()
    file = tmp_path / "conda.yaml"
    file.write_text(f"dependencies: [python={world.python}, pip, cudatoolkit, {{pip: [idna==3.10]}}]\n")
    client.log_artifact(client.get_model_version(world.model, number).run_id, str(file), "mymodel")
    with pytest.raises(RequirementsError, match="cudatoolkit"):
        render(world, number, tmp_path / "refused", base)
    folder = tmp_path / "context"
    assert render(world, number, folder, {**base, "conda": "conda"}) == 0
    assert (folder / "environment" / "conda.yaml").read_text() == (
        f"channels:\n- conda-forge\ndependencies:\n- python={world.python}\n- pip\n- cudatoolkit\n- pip:\n  - idna==3.10\n"
    )
    assert "micromamba create" in (folder / "Dockerfile").read_text()
    with world.app("LAPTOP", **base, conda="conda", builder="layers") as app:
        found = {each.topic: each for each in app.explain(world.model, number, None).targets[0].findings}
        (outcome,) = app.publish(world.model, number, None, dry_run=False, force=False)
    assert "conda brings the Python" in found["base image"].text
    assert "conda makes the environment" in found["builder"].text
    assert (outcome.state, outcome.exit_code) == ("failed", 16)
    assert "conda makes the environment" in outcome.reason


@pytest.fixture
def laptop(buildkit: BuildKit, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a shell in which `docker buildx` has a builder of several platforms."""
    folder = tmp_path / "docker"
    (folder / "cli-plugins").mkdir(parents=True)
    (folder / "cli-plugins" / "docker-buildx").symlink_to(buildkit.buildx)
    yield {**buildkit.environment, "DOCKER_CONFIG": str(folder), "BUILDX_BUILDER": buildkit.builder}


@pytest.mark.engine("docker")
def test_the_script_builds_and_pushes(
    *,
    world: World,
    number: str,
    base: dict[str, str],
    laptop: dict[str, str],
    docker: Docker,
    private_registry: RealRegistry,
    tmp_path: Path,
) -> None:
    """The script signs in, builds what was rendered for both platforms, and pushes; no command line has the token."""
    keys = {**base, "platforms": "linux/amd64,linux/arm64", "registry": f"{private_registry.host}/laptop"}
    folder = tmp_path / "context"
    render(world, number, folder, keys)
    conf = tmp_path / "pip.conf"
    conf.write_text("[global]\ntimeout = 20\n")
    with watched(os.getpid()) as seen:
        done = subprocess.run(
            [folder / "create_docker_image.sh"],
            cwd="/",
            env={
                **laptop,
                "PIP_CONFIG_FILE": str(conf),
                "REGISTRY_USER": private_registry.user,
                "REGISTRY_TOKEN": private_registry.password,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )
    assert done.returncode == 0, done.stdout[-4000:]
    image = f"{private_registry.host}/laptop/{world.model}:v{number}"
    assert done.stdout.splitlines()[-1] == f"Run it with: docker run --rm {image}"
    pushed = bare_client.of_reference(image, (private_registry.user, private_registry.password))
    assert pushed
    assert set(pushed.platforms) == {"linux/amd64", "linux/arm64"}
    assert any(b"id=pip.conf" in line for line in seen.lines)
    assert not [line for line in seen.lines if leaks(line, {"token": private_registry.password})]

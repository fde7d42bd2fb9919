"""One contract for all builders: the same spec becomes the same image, whoever builds it.

What may differ, and why:

* bytecode: the layer builder compiles it apart, reproducibly; pip compiles with the time of the installation in it;
* RECORD, INSTALLER, REQUESTED and direct_url.json of a package: an installer writes them about itself;
* the text of a script in bin: each installer has its own, so the first line and the right to run are compared;
* the venv's own files (pyvenv.cfg, activate, …): Python's `venv` writes more than a container needs;
* HEALTHCHECK: an OCI config has no field for it, so the layer builder writes none, and Docker's builders do;
* layers and history: each engine cuts and tells them in its own way.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from publisher.builders.base import Builder
from publisher.builders.buildah import Buildah
from publisher.builders.buildx import Buildx
from publisher.builders.command import of_tools
from publisher.builders.kaniko import Kaniko
from publisher.builders.kaniko_container import Container
from publisher.builders.reach import Reach
from publisher.domain import Platform
from publisher.oci import layout_folder
from publisher.oci.layout import CONFIG, INDEX, LAYER_GZIP, MANIFEST, Layout
from tests.contract.all_builders import (
    AMD64,
    ARM64,
    MODEL_NAME,
    Entry,
    Trees,
    Workshop,
    manifest_of,
)
from tests.engines.bare_client import push_layout
from tests.engines.docker import Docker, can_emulate, unavailable
from tests.engines.hub import Hub
from tests.engines.registry import RealRegistry

pytestmark = pytest.mark.engine("mmdebstrap")
ENGINES = ("layers", "buildx", "kaniko", "buildah")
BOTH = pytest.mark.parametrize("platform", [AMD64, ARM64], ids=str)
ABOUT_THE_INSTALLER = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Workshop:
    if not can_emulate(str(ARM64)):
        unavailable(f"{ARM64} programs do not run here: make engines registers qemu with binfmt_misc")
    return Workshop(tmp_path_factory.mktemp("workshop"), hub)


@pytest.fixture(scope="module")
def built(
    workshop: Workshop, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Layout]:
    """The image by an engine, built when it is first asked for."""
    reach = Reach({"docker.io": workshop.hub.host})
    done: dict[str, Layout] = {}

    def builder(name: str) -> Builder:
        if name == "layers":
            return workshop.layers()
        if name == "buildx":
            buildkit = request.getfixturevalue("buildkit")
            return workshop.by_dockerfile(Buildx(buildkit.environment, reach, buildkit.builder))
        if name == "kaniko":
            image = request.getfixturevalue("kaniko_image")
            work = tmp_path_factory.mktemp("kaniko-work")
            return workshop.by_dockerfile(
                Kaniko([Container("docker", image, reach, of_tools(os.environ), work)], reach)
            )
        buildah = request.getfixturevalue("buildah")
        return workshop.by_dockerfile(Buildah(of_tools(buildah.environment), reach), buildah.environment)

    def build(name: str) -> Layout:
        if name not in done:
            done[name] = workshop.build(builder(name))
        return done[name]

    return build


@pytest.fixture(scope="module", params=ENGINES)
def layout(built: Callable[[str], Layout], request: pytest.FixtureRequest) -> Layout:
    return built(request.param)


@pytest.fixture(scope="module")
def trees() -> Trees:
    return Trees()


def config_of(layout: Layout, platform: Platform) -> dict[str, Any]:
    return layout.config(manifest_of(layout, platform))


@BOTH
def test_packages_and_model(layout: Layout, trees: Trees, workshop: Workshop, platform: Platform) -> None:
    """Each platform has its own machine code, and its packages' and the model's files with their modes and owners."""
    assert _comparable(trees.of(layout, platform)) == _expected(workshop, platform)


@BOTH
def test_scripts_run_by_the_environments_python(layout: Layout, trees: Trees, platform: Platform) -> None:
    """A package's script lies in bin, may be run, and python there is a link to a Python."""
    found = trees.of(layout, platform)
    script = found["opt/venv/bin/pure-run"]
    assert (script.mode, script.owner) == (0o755, (0, 0))
    assert found["opt/venv/bin/python"].link


@BOTH
def test_config(layout: Layout, workshop: Workshop, platform: Platform) -> None:
    """Variables with quotes and dollars as they are, user, folder, command, ports, labels and time of the spec."""
    config, spec = config_of(layout, platform), workshop.spec
    inner = config["config"]
    variables = dict(each.split("=", 1) for each in inner["Env"])
    assert (config["os"], config["architecture"]) == (platform.os, platform.architecture)
    assert config["created"] == "2026-01-02T03:04:05Z"
    assert (tuple(inner["Entrypoint"]), tuple(inner["Cmd"])) == (spec.entrypoint, spec.command)
    assert (inner["User"], inner["WorkingDir"]) == (spec.user, spec.workdir)
    assert inner["ExposedPorts"] == {"8080/tcp": {}}
    assert {key: inner["Labels"][key] for key, _ in spec.labels} == dict(spec.labels)
    assert (variables["MODEL_NAME"], variables["MODEL_VERSION"]) == (MODEL_NAME, "v1")
    assert variables["VIRTUAL_ENV"] == "/opt/venv"
    assert variables["PATH"].startswith("/opt/venv/bin:")


def test_builders_agree_on_variables_and_labels(built: Callable[[str], Layout]) -> None:
    """Nobody adds one of its own."""
    said = {
        name: (set(inner["Env"]), inner["Labels"])
        for name in ENGINES
        for inner in [config_of(built(name), ARM64)["config"]]
    }
    assert all(each == said["layers"] for each in said.values()), said


def test_a_health_check_where_docker_made_the_image(layout: Layout, request: pytest.FixtureRequest) -> None:
    engine = request.node.callspec.params["layout"]
    assert ("Healthcheck" in config_of(layout, AMD64)["config"]) == (engine != "layers")


def test_media_types_and_index(layout: Layout) -> None:
    """All is OCI; the index has the platforms that were asked for and nothing else; everything is where it says."""
    index = layout.json(layout.top.digest)
    assert (layout.top.media_type, index["mediaType"]) == (INDEX, INDEX)
    assert [(each["mediaType"], each["platform"]) for each in index["manifests"]] == [
        (MANIFEST, {"os": "linux", "architecture": "amd64"}),
        (MANIFEST, {"os": "linux", "architecture": "arm64"}),
    ]
    assert index["annotations"]["org.opencontainers.image.version"] == "v1"
    for child in index["manifests"]:
        manifest = layout.json(child["digest"])
        assert (manifest["mediaType"], manifest["config"]["mediaType"]) == (MANIFEST, CONFIG)
        assert {each["mediaType"] for each in manifest["layers"]} == {LAYER_GZIP}
        assert len(layout.manifests[child["digest"]]) == child["size"]


def test_it_runs(
    layout: Layout, docker: Docker, registry: RealRegistry, repository: str, tmp_path: Path
) -> None:
    """As the user of the spec, in its folder, with its environment, beside the model."""
    layout_folder.write(layout, tmp_path / "image")
    push_layout(tmp_path / "image", registry.host, repository, "v1")
    said = docker.run_command(f"{registry.host}/{repository}:v1", str(AMD64))
    assert said.strip() == f"ran|10001|/app|{MODEL_NAME}|flavors: {{}}"


def test_it_runs_on_arm64(
    built: Callable[[str], Layout], docker: Docker, registry: RealRegistry, repository: str, tmp_path: Path
) -> None:
    layout_folder.write(built("buildah"), tmp_path / "image")
    push_layout(tmp_path / "image", registry.host, repository, "v1")
    assert docker.run_command(f"{registry.host}/{repository}:v1", str(ARM64)).startswith("ran|10001|")


def _comparable(found: dict[str, Entry]) -> dict[str, Entry]:
    """The model's files and folders, and the files of packages; without what may differ."""
    return {
        name: entry
        for name, entry in found.items()
        if name.startswith("app/model")
        or ("/site-packages/" in name and entry.kind == tarfile.REGTYPE and not _may_differ(name))
    }


def _may_differ(name: str) -> bool:
    return name.endswith(".pyc") or name.rpartition("/")[2] in ABOUT_THE_INSTALLER


def _expected(workshop: Workshop, platform: Platform) -> dict[str, Entry]:
    """What the wheels and the model hold: no builder is the measure of the others."""
    found = {}
    site = f"opt/venv/lib/python{workshop.spec.base.python_minor}/site-packages"
    for wheel in workshop.spec.locks[platform].wheels:
        with zipfile.ZipFile(unquote(urlsplit(wheel.url).path)) as archive:
            for each in archive.infolist():
                if not _may_differ(each.filename):
                    mode = (each.external_attr >> 16) & 0o777
                    found[f"{site}/{each.filename}"] = _file(archive.read(each), mode)
    (model,) = workshop.spec.files
    for file in model.files:
        mode = 0o755 if file.executable else 0o644
        found[f"app/model/{file.path}"] = _file((model.root / file.path).read_bytes(), mode)
    for folder in ("app/model", "app/model/deep"):
        found[folder] = Entry(tarfile.DIRTYPE, 0o755, (0, 0), "", "")
    return found


def _file(content: bytes, mode: int) -> Entry:
    return Entry(tarfile.REGTYPE, mode, (0, 0), "", hashlib.sha256(content).hexdigest())

"""The base image: made from real Debian packages, and run by a real engine on both architectures."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import tarfile
import tempfile
import uuid
from pathlib import Path

import pytest
import uv

from publisher.baseimage import build
from publisher.domain import MACHINES, Platform
from publisher.oci import layout, layout_folder
from publisher.progress import Silent
from tests.e2e.base_image import LIBRARY, PREDICTIONS, UNRESOLVED, Made, leads
from tests.engines import require
from tests.engines.docker import EMULATED_SECONDS, Docker
from tests.engines.registry import RealRegistry

PLATFORMS = (Platform("linux", "amd64"), Platform("linux", "arm64"))
SUITE, PYTHON = "bookworm", "3.11"
each_platform = pytest.mark.parametrize("platform", PLATFORMS, ids=str)
pytestmark = pytest.mark.engine("mmdebstrap")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The image for both platforms as an OCI layout, made once."""
    require("mmdebstrap", "mmdebstrap")
    folder = tmp_path_factory.mktemp("base")
    name = build(f"oci:{folder}", PLATFORMS, SUITE, [], os.environ, Silent())
    return Made(folder, name.removeprefix(f"oci:{folder}:latest@"))


@pytest.fixture(scope="session")
def pushed(registry: RealRegistry, made: Made) -> str:
    """A second build, which goes to a registry."""
    name = build(f"{registry.host}/bases/deb:{{python}}", PLATFORMS, SUITE, [], os.environ, Silent())
    image = f"{registry.host}/bases/deb:{PYTHON}"
    assert name == f"{image}@{made.digest}"  # of test_two_builds, which tells more
    return image


def _run(docker: Docker, image: str, platform: Platform, *command: str, options: tuple[str, ...] = ()) -> str:
    """What a command prints in a container with a read-only root."""
    docker.pull(image, str(platform))
    name = f"base-image-{uuid.uuid4().hex}"
    whole = ["docker", "run", "--rm", "--name", name, "--read-only", "--tmpfs", "/tmp"]
    try:
        done = subprocess.run(
            [*whole, "--platform", str(platform), *options, image, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=EMULATED_SECONDS,
        )
    finally:  # a program that hangs outlives the command line that started it
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.engine("docker")
@each_platform
def test_standard_library(platform: Platform, pushed: str, docker: Docker) -> None:
    """The library that servers need imports and works, from bytecode, with certificates, zones and services."""
    told = json.loads(_run(docker, pushed, platform, "python", "-c", LIBRARY))
    assert told.pop("authorities") > 100
    assert told.pop("python").startswith(PYTHON)
    assert told == {
        "executable": "/usr/bin/python",
        "offset": "2:00:00",
        "https": 443,
        "user": "model",
        "encoding": "utf-8",
        "libc": "libc.so.6",
        "cached": [],
        "loaded": f"/usr/lib/python{PYTHON}/json/decoder.py",
    }


@pytest.mark.engine("docker")
@each_platform
def test_shell(platform: Platform, pushed: str, docker: Docker) -> None:
    """A platform that starts containers by `sh` with `set` and `tee` finds them, and a numeric user."""
    script = "set -e; id -u | tee /tmp/f; cat /tmp/f; uname -m; touch /tmp/g && cd ~ && pwd"
    lines = _run(docker, pushed, platform, "/bin/sh", "-c", script).split()
    assert lines == ["10001", "10001", MACHINES[platform.architecture], "/home/model"]


@pytest.mark.engine("docker")
@each_platform
def test_libraries_are_complete(platform: Platform, pushed: str, docker: Docker) -> None:
    """Leaving packages out left no program and no library without one that it needs."""
    assert _run(docker, pushed, platform, "python3", "-c", UNRESOLVED) == ""


@pytest.mark.engine("docker")
@each_platform
def test_wheels_work(platform: Platform, pushed: str, docker: Docker, tmp_path: Path) -> None:
    """The wheels of numpy, scikit-learn, onnxruntime and lightgbm find all they need, and compute."""
    machine = f"{MACHINES[platform.architecture]}-manylinux_2_28"
    command = [uv.find_uv_bin(), "pip", "install", "--quiet", "--target", str(tmp_path), "--python-platform"]
    command += [machine, "--python-version", PYTHON, "--only-binary", ":all:", "--link-mode", "copy"]
    # onnxruntime 1.31 crashes in qemu 7.2 (Debian 12), in a complete Debian too; 1.20 runs in both.
    wheels = ["numpy", "scikit-learn", "onnxruntime==1.20.1", "lightgbm"]
    subprocess.run([*command, *wheels], check=True, timeout=600)
    tmp_path.chmod(0o755)
    options = ("--volume", f"{tmp_path}:/wheels:ro", "--env", "PYTHONPATH=/wheels")
    printed = _run(docker, pushed, platform, "python3", "-c", PREDICTIONS, options=options)
    assert printed.split("\n")[:3] == ["3.0", "(20,)", "CPUExecutionProvider"]


def test_two_builds(made: Made, registry: RealRegistry, pushed: str) -> None:
    """Two builds, to a folder and to a registry, give one digest, and the tag's name has the Python found."""
    import requests  # noqa: PLC0415 - a stranger's client, for this question alone

    accept = {"Accept": layout.INDEX}
    answer = requests.get(
        f"http://{registry.host}/v2/bases/deb/manifests/{PYTHON}", headers=accept, timeout=10
    )
    assert answer.headers["Docker-Content-Digest"] == made.digest == made.image.top.digest
    assert pushed.endswith(f":{PYTHON}")


def test_one_platform(made: Made) -> None:
    """A platform built alone, as nobody in particular, has the very manifest that it has beside the other."""
    platform, nobody = Platform("linux", "arm64"), 65534
    with tempfile.TemporaryDirectory() as folder:  # not pytest's, which is for its owner alone
        environ = {"PATH": os.environ["PATH"], "TMPDIR": folder, "HOME": "/nonexistent"}

        def work() -> None:
            if os.geteuid() == 0:
                os.chown(folder, nobody, nobody)
                os.setgroups([])
                os.setgid(nobody)
                os.setuid(nobody)
            tempfile.tempdir = folder
            build(f"oci:{folder}/alone", [platform], SUITE, [], environ, Silent())

        # forked, since the interpreter that runs the tests may lie where others cannot read it
        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        process.join(600)
        assert process.exitcode == 0
        alone = layout_folder.read(Path(folder) / "alone")
        assert [child.digest for child in alone.children()] == [made.manifest(platform)]


def test_layers(made: Made) -> None:
    """There are two layers a platform, and the bytecode's is the same one for both."""
    first, second = (made.image.layers(made.manifest(platform)) for platform in PLATFORMS)
    assert len(first) == len(second) == 2
    assert first[1].digest == second[1].digest
    assert first[0].digest != second[0].digest


@each_platform
def test_tree(platform: Platform, made: Made) -> None:
    """No entry comes twice or before its folder, none is set-uid or writable by others, no link dangles."""
    seen: dict[str, tarfile.TarInfo] = {}
    for info, _ in made.entries(platform):
        folder = os.path.dirname(info.name)  # noqa: PTH120 - a path in an archive
        assert info.name not in seen and (not folder or seen[folder].isdir()), info.name
        assert info.mtime == 0 and info.mode & 0o6000 == 0, info.name
        assert info.issym() or info.mode & 0o002 == 0 or info.name in ("tmp", "var/tmp"), info.name
        assert info.uid == (10001 if info.name == "home/model" else 0), info.name
        seen[info.name] = info
    dangling = [name for name, info in seen.items() if info.issym() and not leads(name, seen)]
    assert dangling == []


@each_platform
def test_scanners_see_the_packages(platform: Platform, made: Made) -> None:
    """dpkg's own list names each package with its version and its files, and the licence of each is there."""
    contents = {info.name: content for info, content in made.entries(platform)}
    names = {info.name for info, _ in made.entries(platform)}
    packages = {}
    for paragraph in contents["var/lib/dpkg/status"].decode().strip().split("\n\n"):
        fields = dict(
            line.split(": ", 1)
            for line in paragraph.splitlines()
            if not line.startswith(" ") and ": " in line
        )
        assert fields["Status"] == "install ok installed"
        packages[fields["Package"]] = fields
    assert {"libc6", "libssl3", f"python{PYTHON}-minimal", "ca-certificates", "libgomp1"} <= set(packages)
    assert not {"dpkg", "debconf", "perl-base", "libkrb5-3"} & set(packages)
    assert all(fields["Version"] for fields in packages.values())
    for name in packages:
        listed = contents[f"var/lib/dpkg/info/{name}.list"].decode().split("\n")
        missing = [path for path in listed if path.strip("/.") and path.strip("/") not in names]
        assert missing == [], name
    assert "usr/lib/os-release" in names and "etc/debian_version" in names


@each_platform
def test_configuration(platform: Platform, made: Made) -> None:
    """The configuration says what builders and people ask of a Python image."""
    config = made.image.config(made.manifest(platform))
    environment = dict(pair.split("=", 1) for pair in config["config"]["Env"])
    assert environment["PYTHON_VERSION"].startswith(f"{PYTHON}.")
    assert environment["LANG"] == "C.UTF-8"
    assert config["config"]["User"] == "10001:10001"
    assert config["architecture"] == platform.architecture
    labels = config["config"]["Labels"]
    assert labels["io.github.model-publisher.python.executable"] == f"/usr/bin/python{PYTHON}"
    assert labels["io.github.model-publisher.python.glibc"] == "2.36"
    assert len(config["rootfs"]["diff_ids"]) == len(config["history"]) == 2


@pytest.mark.engine("docker")
def test_trixie(registry: RealRegistry, docker: Docker) -> None:
    """Another suite gives another Python, which nobody had to name, and more packages where they are asked for."""
    platform = next(p for p in PLATFORMS if MACHINES[p.architecture] == os.uname().machine)
    build(f"{registry.host}/bases/new:{{python}}", [platform], "trixie", ["sed"], os.environ, Silent())
    told = _run(docker, f"{registry.host}/bases/new:3.13", platform, "python3", "-c", LIBRARY)
    assert json.loads(told)["python"].startswith("3.13.")
    assert json.loads(told)["cached"] == []
    said = _run(docker, f"{registry.host}/bases/new:3.13", platform, "sh", "-c", "echo one | sed s/one/two/")
    assert said == "two\n"

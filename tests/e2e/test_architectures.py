"""The same bytes whichever architecture publisher runs on."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import uv

from publisher.builders.bases import Bases, host_platform
from publisher.builders.layers import bytecode, compiler
from publisher.domain import MACHINES
from publisher.oci.credentials import Credentials
from publisher.oci.images import Images, select
from publisher.oci.registry import Registries
from tests import pinned, wheels
from tests.engines.docker import Docker

pytestmark = [pytest.mark.engine("docker"), pytest.mark.engine("mmdebstrap")]
FOREIGN = "arm64" if host_platform().architecture == "amd64" else "amd64"
ROOT = Path(__file__).parents[2]
SOURCE = b'''"""A module."""
import sys
NAMES = {"b", "a", "c"} | frozenset({"x", "y"})
def f(x, *, y="text", z=(1, 2.5, None, "...", b"bytes")):
    return x in {"a", "b", "c", 1, 2} and [i for i in range(10) if f"{i}!"]
class C:
    """Doc."""
    value: int = 3
'''


def in_container(docker: Docker, base: str, mounts: dict[Path, str], *command: str, stdin: str = "") -> str:
    """What a command prints in the base image of the other architecture."""
    docker.pull(base, f"linux/{FOREIGN}")
    # Root in the container, since pytest's folders are closed to others.
    options = ["--rm", "-i", "--user", "0", "--platform", f"linux/{FOREIGN}", "--tmpfs", "/tmp"]
    options += [word for path, place in mounts.items() for word in ("-v", f"{path}:{place}:ro")]
    variables = ("PYTHONHASHSEED=0", "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH=/site")
    options += [word for variable in variables for word in ("-e", variable)]
    done = subprocess.run(
        ["docker", "run", *options, base, *command],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@pytest.fixture
def base(base_image: str) -> str:
    return base_image.replace("{python}", f"{sys.version_info.major}.{sys.version_info.minor}")


def test_layers_have_one_digest(docker: Docker, base: str, tmp_path: Path) -> None:
    """The layer writer, run on the other architecture with its own build of libdeflate, gives the pinned digest."""
    machine, minor = MACHINES[FOREIGN], f"{sys.version_info.major}.{sys.version_info.minor}"
    wanted = next(
        line for line in (ROOT / "pyproject.toml").read_text().split('"') if line.startswith("deflate==")
    )
    options = ["--target", str(tmp_path), "--python-version", minor, "--only-binary", ":all:"]
    options += ["--python-platform", f"{machine}-manylinux_2_28", wanted]
    subprocess.run([uv.find_uv_bin(), "pip", "install", "--quiet", *options], check=True)
    mounts = {
        tmp_path: "/site",
        ROOT / "publisher": "/site/publisher",
        ROOT / "tests" / "pinned.py": "/pinned.py",
    }
    (tmp_path / "publisher").mkdir()  # where the read-only mount of it goes
    assert in_container(docker, base, mounts, "python3", "/pinned.py") == pinned.DIGEST


def test_bytecode_is_the_same(docker: Docker, base: str, base_layout: Path, tmp_path: Path) -> None:
    """The base image's Python compiles a module to the same bytes on both architectures."""
    path = wheels.make(tmp_path, "pkg", {"pkg/__init__.py": SOURCE, "pkg/more.py": SOURCE * 3})
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    surveyed = bytecode.survey(path, minor)
    modules = {name: [0, *where, source[2]] for name, source, where in surveyed}
    job = {"native": [False], "modules": modules, "known": {}, "seeds": sorted(modules), "workers": 1}
    images = Images(Registries(Credentials()))
    bases = Bases(images, tmp_path / "cache")
    layout = images.load(f"oci:{base_layout}")
    child = select(layout, host_platform())
    assert child is not None
    known = bases.resolve(f"oci:{base_layout}", [host_platform()], [])
    interpreter = bytecode.Interpreter(bases.unpacked(layout, child.digest), known.executable)
    code = Path(compiler.__file__).read_text()
    here = {**job, "archives": [str(path)], "out": str(tmp_path / "out")}
    interpreter.run(code, here, tmp_path)
    ours = hashlib.sha256((tmp_path / "out.0").read_bytes()).hexdigest()
    there = {**job, "archives": ["/data/" + path.name], "out": "/tmp/out"}
    tell = "import hashlib; print(hashlib.sha256(open('/tmp/out.0','rb').read()).hexdigest())"
    script = f'python3 -S -c "$CODE" >/dev/null && python3 -c "{tell}"'
    (tmp_path / "code.py").write_text(code)
    script = script.replace('"$CODE"', '"$(cat /data/code.py)"')
    theirs = in_container(docker, base, {tmp_path: "/data"}, "sh", "-c", script, stdin=json.dumps(there))
    assert theirs == ours

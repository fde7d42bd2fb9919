"""What the publisher's own image is made of is what the project says, before any engine is asked."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from publisher import __version__, ownimage
from publisher.builders.layers.wheel import entries
from publisher.ownimage.describe import EXTRAS
from publisher.ownimage.wheel import OUTSIDE, packed

ROOT = Path(__file__).parents[2]
FOLDER = Path(next(iter(ownimage.__path__)))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def _locked(name: str) -> dict[str, Requirement]:
    text = (FOLDER / name).read_text()
    lines = re.findall(r"^([A-Za-z0-9][^\s;]*==[^\\\n]*)", text, re.M)
    return {canonicalize_name((found := Requirement(line.strip())).name): found for line in lines}


def _extras() -> list[str]:
    """Those that `make lock` names."""
    return re.findall(r"--extra (\S+)", (ROOT / "Makefile").read_text())


def _wanted() -> Iterator[Requirement]:
    project = PROJECT["project"]
    for line in [
        *project["dependencies"],
        *(x for e in _extras() for x in project["optional-dependencies"][e]),
    ]:
        yield Requirement(line)


@pytest.mark.parametrize("wanted", _wanted(), ids=str)
def test_every_dependency_is_locked(wanted: Requirement) -> None:
    """A new dependency, or a new bound, that `make lock` has not seen would be missing in the image."""
    found = _locked("requirements.txt").get(canonicalize_name(wanted.name))
    assert found, f"{wanted.name} is not in the lock: make lock"
    (pin,) = found.specifier
    assert Version(pin.version) in wanted.specifier, f"{found} is not {wanted}: make lock"


@pytest.mark.parametrize("name", ["requirements.txt", "build-requirements.txt"])
def test_every_pin_has_hashes_and_no_machine(name: str) -> None:
    """pip takes wheels for the foreign architecture by the markers of its own, so none may speak of one."""
    text = (FOLDER / name).read_text()
    blocks = re.split(r"\n(?=[a-z0-9])", text)
    assert len(blocks) == len(_locked(name)) > 4
    assert all("--hash=sha256:" in block for block in blocks)
    assert "platform_machine" not in text
    assert "://" not in text  # no index of anybody's own


def test_both_ways_have_the_same_extras() -> None:
    """`make lock` locks what `publisher own-image` asks for."""
    assert tuple(_extras()) == EXTRAS


def test_both_ways_take_the_same_files_from_beside_the_package() -> None:
    """What hatchling puts into a wheel, a publisher that packs itself does too."""
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"] == OUTSIDE


def test_a_publisher_packs_itself(tmp_path: Path) -> None:
    """A wheel that the layer builder takes; a publisher that was installed from it packs the very same bytes."""
    (tmp_path / "first").mkdir()
    wheel = packed(tmp_path / "first")
    with zipfile.ZipFile(wheel) as archive:
        names = {entry.path.partition("site-packages/")[2] for entry in entries(archive, "3.11")}
        site = tmp_path / "installed"
        archive.extractall(site)
    assert {"publisher/cli/program.py", *OUTSIDE.values()} <= {*names, "publisher/templates"}
    assert any(name.startswith("publisher/templates/") for name in names)
    assert not any("__pycache__" in name or name.endswith(".pyc") for name in names)
    (tmp_path / "second").mkdir()
    code = "import sys, pathlib, publisher.ownimage.wheel as w; print(w.packed(pathlib.Path(sys.argv[1])), w.scripts())"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "second"],
        env={"PYTHONPATH": str(site)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    again, scripts = done.stdout.split()
    assert Path(again).read_bytes() == wheel.read_bytes()
    assert Path(scripts) == site / "publisher/ownimage/app"


def test_what_needs_a_server_of_mlflow_is_not_in_it() -> None:
    """MLflow's client alone is there, without what it computes with."""
    assert not {"mlflow", "pandas", "numpy", "pyarrow", "scikit-learn", "sqlalchemy"} & set(
        _locked("requirements.txt")
    )


def test_dockerfile_tells_the_version() -> None:
    """The label's default is this version: a Dockerfile cannot ask Python."""
    assert re.search(r"^ARG VERSION=(.*)$", DOCKERFILE, re.M)[1] == __version__  # type: ignore[index]


def test_the_last_stage_is_the_one_that_may_do_least() -> None:
    """Who names no target gets the form without root."""
    stages = re.findall(r"^FROM .* AS (\w+)$", DOCKERFILE, re.M)
    assert stages[-1] == "default"
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.M) == ["0:0", "10001:10001"]


def test_nothing_but_what_the_image_needs_is_sent_to_the_engine() -> None:
    """All that COPY names is let through, and no folder with results, tests or environments."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert let_in == {
        *("LICENSE", "README.md", "download_models.py", "publish_models.py"),
        *("publisher", "pyproject.toml", "templates"),
    }
    assert all((ROOT / name).exists() for name in let_in)

"""A wheel in an image is installed as pip installs it, and a hostile one is not installed at all."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from publisher.builders.layers import wheel
from publisher.builders.layers.worker import make as make_layer
from publisher.errors import BuildError
from tests import wheels

SITE = "opt/venv/lib/python3.11/site-packages"
FILES = {
    "pkg/__init__.py": b"def main():\n    print('hello from pkg')\n",
    "pkg/data.bin": bytes(range(256)) * 100,
    "pkg/native.so": b"\x7fELF" + b"x" * 3000,
    "pkg-1.0.data/scripts/tool": b"#!python\nprint('tool')\n",
    "pkg-1.0.data/scripts/plain": b"#!/bin/sh\necho plain\n",
    "pkg-1.0.data/purelib/extra.py": b"extra = 1\n",
    "pkg-1.0.data/data/share/pkg/readme": b"read me\n",
    "pkg-1.0.data/headers/pkg.h": b"int pkg;\n",
}
ENTRY_POINTS = "[console_scripts]\nPkg-Run = pkg:main\n[other]\nx = y\n"


def tree(out: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a layer: content and mode."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(out.read_bytes()))) as archive:
        return {e.name: (archive.extractfile(e).read(), e.mode) for e in archive if e.isreg()}  # type: ignore[union-attr]


def installed(folder: Path, *paths: Path) -> dict[str, tuple[bytes, int]]:
    make_layer({"wheels": [str(path) for path in paths], "python": "3.11", "out": str(folder / "layer")})
    return tree(folder / "layer")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2])
def test_every_scheme_has_its_place(tmp_path: Path, method: int) -> None:
    """Modules, data folders, scripts and headers lie where a virtual environment has them, however packed."""
    found = installed(tmp_path, wheels.make(tmp_path, "pkg", FILES, entry_points=ENTRY_POINTS, method=method))
    assert found[f"{SITE}/pkg/data.bin"] == (FILES["pkg/data.bin"], 0o644)
    assert found[f"{SITE}/pkg/native.so"][1] == 0o755
    assert found[f"{SITE}/extra.py"][0] == b"extra = 1\n"
    assert found["opt/venv/share/pkg/readme"][0] == b"read me\n"
    assert found["opt/venv/include/site/python3.11/pkg/pkg.h"][0] == b"int pkg;\n"
    assert found["opt/venv/bin/tool"] == (b"#!/opt/venv/bin/python\nprint('tool')\n", 0o755)
    assert found["opt/venv/bin/plain"] == (b"#!/bin/sh\necho plain\n", 0o755)
    script, mode = found["opt/venv/bin/Pkg-Run"]
    assert script.startswith(b"#!/opt/venv/bin/python\n")
    assert b"from pkg import main" in script
    assert mode == 0o755
    assert not any(name.startswith(f"{SITE}/pkg-1.0.data") for name in found)


def test_record_is_true(tmp_path: Path) -> None:
    """RECORD lists every installed file with its real hash and size, so that `pip uninstall` and auditors work."""
    found = installed(tmp_path, wheels.make(tmp_path, "pkg", FILES, entry_points=ENTRY_POINTS))
    rows = list(csv.reader(io.StringIO(found[f"{SITE}/pkg-1.0.dist-info/RECORD"][0].decode())))
    listed = set()
    for path, digest, size in rows:
        real = str(Path("/", SITE, path).resolve())[1:]
        listed.add(real)
        if digest:
            content = found[real][0]
            expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={expected}", str(len(content))), path
    assert listed == set(found)
    assert found[f"{SITE}/pkg-1.0.dist-info/INSTALLER"][0] == b"publisher\n"


def test_python_runs_what_was_laid_out(tmp_path: Path) -> None:
    """Python itself imports the package, runs its script and reads its metadata from the unpacked layer."""
    path = wheels.make(tmp_path, "pkg", FILES, entry_points=ENTRY_POINTS)
    make_layer({"wheels": [str(path)], "python": "3.11", "out": str(tmp_path / "layer")})
    with tarfile.open(tmp_path / "layer") as archive:
        archive.extractall(tmp_path / "root", filter="data")
    code = "import importlib.metadata as m, runpy, sys; sys.argv = ['Pkg-Run']; print(m.version('pkg'));" + (
        "print(len(m.files('pkg'))); runpy.run_path(sys.path[0] + '/../../../bin/Pkg-Run', run_name='__main__')"
    )
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'root' / SITE)!r}); {code}"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[0] == "1.0", done.stderr
    assert "hello from pkg" in done.stdout


def test_of_two_wheels_with_one_file_the_later_wins(tmp_path: Path) -> None:
    """A path that two wheels of a group share is in the layer once, with the later wheel's content."""
    first = wheels.make(tmp_path, "aa", {"shared.py": b"first = 1\n", "a.py": b"a = 1\n"})
    second = wheels.make(tmp_path, "bb", {"shared.py": b"second = 1\n"})
    assert installed(tmp_path, first, second)[f"{SITE}/shared.py"][0] == b"second = 1\n"
    with tarfile.open(tmp_path / "layer") as archive:
        assert [entry.name for entry in archive].count(f"{SITE}/shared.py") == 1


def test_a_layer_depends_on_its_wheels_alone(tmp_path: Path) -> None:
    """Two folders and two runs give the same digest."""
    path = wheels.make(tmp_path, "pkg", FILES, entry_points=ENTRY_POINTS)
    other = tmp_path / "elsewhere.whl"
    other.write_bytes(path.read_bytes())
    made = [
        make_layer({"wheels": [str(source)], "python": "3.11", "out": str(tmp_path / name)})
        for source, name in ((path, "one"), (other, "two"))
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py",
        "/etc/passwd",
        "a/../../b",
        "a//b",
        "./a",
        "a\\b",
        ".wh.other",
        "pkg/.wh..wh..opq",
        "a\nb",
    ],
)
def test_hostile_names_are_refused(tmp_path: Path, name: str) -> None:
    """A name that leaves its folder, or that deletes files of lower layers, is no file of an image."""
    path = wheels.make(tmp_path, "pkg", {name: b"x"})
    with zipfile.ZipFile(path) as archive, pytest.raises(BuildError, match="hostile name"):
        wheel.entries(archive, "3.11")


def test_links_are_refused(tmp_path: Path) -> None:
    """A symbolic link in a wheel, which zip can hold and wheels may not, is an error."""
    path = wheels.make(tmp_path, "pkg", {"a.py": b"a = 1\n"})
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with zipfile.ZipFile(path) as archive, pytest.raises(BuildError, match="is a link"):
        wheel.entries(archive, "3.11")


@pytest.mark.parametrize(
    "entry", ["x = os:system('id')", "x = a b:c", "../x = pkg:main", "x = pkg", "x = pkg:main; import os"]
)
def test_hostile_entry_points_are_refused(tmp_path: Path, entry: str) -> None:
    """An entry point that is not module:function would be code of its own in a script."""
    path = wheels.make(tmp_path, "pkg", {"a.py": b""}, entry_points=f"[console_scripts]\n{entry}\n")
    with zipfile.ZipFile(path) as archive, pytest.raises(BuildError, match="is not a script"):
        wheel.entries(archive, "3.11")


def test_without_record_it_is_no_wheel(tmp_path: Path) -> None:
    """A zip without RECORD is refused by name."""
    path = wheels.make(tmp_path, "pkg", {"a.py": b""}, record=False)
    with zipfile.ZipFile(path) as archive, pytest.raises(BuildError, match="has no RECORD"):
        wheel.entries(archive, "3.11")

"""A slim image lacks what serving never needs, and nothing that the rest of its package reads or imports."""

from __future__ import annotations

import csv
import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from publisher.builders.layers import plan, slim, wheel
from publisher.builders.layers.worker import make as make_layer
from publisher.domain import BaseImage, Lock, Platform
from tests import wheels

SITE = "opt/venv/lib/python3.11/site-packages"
BASE = BaseImage("base", "sha256:0", "3.11.2", "/usr/bin/python3.11", (2, 36))
CODE = b"x = 1\n"
NEEDLESS = (
    "pkg/tests/__init__.py",
    "pkg/tests/data/big.npz",
    "pkg/sub/test/test_it.py",
    "pkg/doc/index.rst",
    "pkg/examples/one.py",
    "pkg/__pycache__/a.cpython-311.pyc",
    "pkg/include/pkg.h",
    "pkg/libpkg.a",
    "pkg/fast.pyx",
    "pkg/fast.pxd",
    "pkg/fast.c",
    "pkg/fast.pyi",
    "pkg-1.0.data/data/share/doc/pkg/page.html",
    "pkg-1.0.data/data/share/jupyter/extension.js",
    "pkg-1.0.data/purelib/other/tests/test_it.py",
    "pkg-1.0.data/headers/pkg.h",
)
NEEDED = (
    "pkg/__init__.py",
    "pkg/testing/__init__.py",
    "pkg/_testing.py",
    "pkg/test.py",
    "pkg/protests/sign.py",
    "pkg/latest/new.py",
    "pkg/fast.cpython-311-x86_64-linux-gnu.so",
    "pkg/py.typed",
    "pkg/data/table.csv",
    "tests/__init__.py",
    "docs/__init__.py",
    "pkg-1.0.data/scripts/tests/run",
    "pkg-1.0.data/data/share/pkg/model.bin",
)


def out_of(folder: Path, files: dict[str, bytes], name: str = "pkg", **more: str) -> frozenset[str]:
    with zipfile.ZipFile(wheels.make(folder, name, files, **more)) as archive:  # type: ignore[arg-type]
        return slim.left_out(archive, name)


@pytest.mark.parametrize("name", NEEDLESS)
def test_what_is_left_out(tmp_path: Path, name: str) -> None:
    """Tests, documents, caches, headers, static libraries, sources of machine code, stubs."""
    assert out_of(tmp_path, {"pkg/__init__.py": CODE, name: CODE}) == {name}


@pytest.mark.parametrize("name", NEEDED)
def test_what_stays(tmp_path: Path, name: str) -> None:
    """What only looks like it: helpers for testing, top-level packages, scripts, data."""
    assert not out_of(tmp_path, {"pkg/__init__.py": CODE, name: CODE})


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("pkg/__init__.py", b"from .tests import run\n"),
        ("pkg/__init__.py", b"from . import other, tests\n"),
        ("pkg/__init__.py", b"from . import (\n    other,\n    tests,\n)\n"),
        ("pkg/__init__.py", b"import pkg.tests.tool as tool\n"),
        ("pkg/sub/deep.py", b"def f():\n    from ..tests.tool import run\n"),
        ("pkg/sub/deep.py", b"from pkg import tests\n"),
        ("pkg-1.0.data/platlib/pkg/more.py", b"from pkg.tests import tool\n"),
        ("other.py", b"try:\n    import os, pkg.tests\nexcept ImportError:\n    pass\n"),
    ],
)
def test_tests_that_are_imported_stay(tmp_path: Path, module: str, line: bytes) -> None:
    """A folder from which a module outside of it imports stays whole; other folders do not."""
    files = {"pkg/__init__.py": CODE, "pkg/tests/tool.py": CODE, "pkg/tests/data.txt": b"1"}
    files |= {"pkg/sub/tests/test_it.py": CODE, module: line}
    assert out_of(tmp_path, files) == {"pkg/sub/tests/test_it.py"}


def test_what_kept_tests_import_stays_too(tmp_path: Path) -> None:
    """One folder of tests leads to the next; those that only lead to each other go."""
    files = {
        "pkg/__init__.py": b"from pkg.tests import a\n",
        "pkg/tests/a.py": b"from pkg.sub.tests.b import b\n",
        "pkg/sub/tests/b.py": CODE,
        "pkg/other/tests/c.py": b"from pkg.other.docs import d\n",
        "pkg/other/docs/d.py": b"from pkg.other.tests import c\n",
    }
    assert out_of(tmp_path, files) == {"pkg/other/tests/c.py", "pkg/other/docs/d.py"}


def test_a_program_s_folder_stays(tmp_path: Path) -> None:
    """What entry_points.txt names is there for others to load."""
    files = {"pkg/__init__.py": CODE, "pkg/tests/tool.py": CODE}
    points = "[console_scripts]\nrun = pkg.tests.tool:main\n"
    assert not out_of(tmp_path, files, entry_points=points)


def test_stubs_that_are_read_stay(tmp_path: Path) -> None:
    """lazy_loader reads a package's stub to know its parts."""
    lazy = b"import lazy_loader as lazy\n__getattr__, *_ = lazy.attach_stub(__name__, __file__)\n"
    files = {"pkg/__init__.py": lazy, "pkg/__init__.pyi": CODE, "pkg/fast.c": b""}
    assert out_of(tmp_path, files) == {"pkg/fast.c"}


@pytest.mark.parametrize("name", ["cupy_cuda12x", "nvidia_cuda_runtime_cu12", "triton", "numba_cuda"])
def test_headers_of_what_compiles_at_run_time_stay(tmp_path: Path, name: str) -> None:
    """Some packages bring a compiler, or load one, and it reads their headers and libraries."""
    files = {"x/core.h": b"", "x/lib.a": b"", "x/driver.c": b"", "x/tests/test_it.py": CODE}
    assert out_of(tmp_path, files, name) == {"x/tests/test_it.py"}


def test_record_tells_what_is_there(tmp_path: Path) -> None:
    """Every row of RECORD is a file of the layer, and every file has its row."""
    path = wheels.make(tmp_path, "pkg", dict.fromkeys((*NEEDLESS, *NEEDED), CODE))
    make_layer({"wheels": [str(path)], "python": "3.11", "slim": True, "out": str(tmp_path / "layer")})
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress((tmp_path / "layer").read_bytes()))) as archive:
        found = {entry.name: archive.extractfile(entry) for entry in archive if entry.isreg()}
        record = found[f"{SITE}/pkg-1.0.dist-info/RECORD"].read().decode()  # type: ignore[union-attr]
    listed = {str(Path("/", SITE, row[0]).resolve())[1:] for row in csv.reader(io.StringIO(record))}
    assert listed == set(found)
    assert not any("/tests/" in name and name.startswith(f"{SITE}/pkg/") for name in found)


def test_hostile_wheels_are_refused_before_they_are_read(tmp_path: Path) -> None:
    """A member that says that it is encrypted is told as such, and not opened."""
    path = wheels.make(tmp_path, "pkg", {"pkg/__init__.py": CODE, "pkg/tests/a.py": CODE})
    with zipfile.ZipFile(path) as archive:
        archive.infolist()[0].flag_bits |= 1
        with pytest.raises(wheel.BuildError, match="encrypted"):
            wheel.entries(archive, "3.11", slimmed=True)


def test_keys_without_slim_are_those_of_before(tmp_path: Path) -> None:
    """What caches and registries remember is found again; slim layers have keys of their own."""
    made = wheels.locked(wheels.make(tmp_path, "pkg", {"pkg/__init__.py": CODE}))
    lock = Lock(Platform("linux", "amd64"), "3.11", (made,), ("pkg",))
    [group] = plan.groups(lock)
    assert group.key("3.11") == plan.key_of("wheels", "3.11", [made.sha256])
    whole = plan.key_of("environment", lock.digest, BASE.python, BASE.executable, True)
    assert plan.environment_key(lock, BASE, bytecode=True) == f"env-{whole}"
    assert group.key("3.11", slim=True) != group.key("3.11")
    assert plan.environment_key(lock, BASE, bytecode=True, slim=True) != f"env-{whole}"

"""Which modules get bytecode, and that Python takes it for its own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from publisher.builders.layers import bytecode, compiler
from tests import wheels

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
FILES = {
    "pkg/__init__.py": b"from .direct import thing\nfrom . import sibling\ntry:\n    import optional\nexcept ImportError:\n    pass\n",
    "pkg/direct.py": b"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pkg import typing_only\nthing = 1\n",
    "pkg/sibling.py": b"import typing\nif typing.TYPE_CHECKING:\n    import pkg.typing_only\nelse:\n    import pkg.otherwise\n",
    "pkg/otherwise.py": b"class C:\n    from pkg import in_class\ndef f():\n    from pkg import in_function\n",
    "pkg/in_class.py": b"",
    "pkg/in_function.py": b"",
    "pkg/typing_only.py": b"",
    "optional.py": b"import lazy\n",
    "lazy/__init__.py": b"def __getattr__(name):\n    import importlib\n    return importlib.import_module('lazy.' + name)\n",
    "lazy/one.py": b"",
    "lazy/two/__init__.py": b"",
    "lazy/tests/__init__.py": b"",
    "broken.py": b"def (:\n",
    "unreached.py": b"",
}


def compiled(
    folder: Path,
    files: dict[str, bytes],
    seeds: list[str],
    *,
    native: bool = False,
    workers: int = 2,
    known: dict[str, list[str]] | None = None,
):
    """The compiler's answer for a wheel, run as it is run in an image: alone, by a bare interpreter."""
    path = wheels.make(folder, "pkg", files)
    modules = {name: [0, *where, source[2]] for name, source, where in bytecode.survey(path, MINOR)}
    job = {
        "archives": [str(path)],
        "native": [native],
        "modules": modules,
        "known": known or {},
        "seeds": seeds,
    }
    job |= {"out": str(folder / "out"), "workers": workers}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", Path(compiler.__file__).read_text()],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "0"},
    )
    return json.loads(done.stdout)


def test_imports_are_followed_as_they_run(tmp_path: Path) -> None:
    """What runs on import is reached, in classes and `try` too; functions and type checkers' imports are not."""
    found = set(compiled(tmp_path, FILES, ["pkg"]))
    assert {"pkg", "pkg.direct", "pkg.sibling", "pkg.otherwise", "pkg.in_class", "optional", "lazy"} <= found
    assert not found & {"pkg.in_function", "pkg.typing_only", "unreached"}


def test_what_is_known_is_passed_through(tmp_path: Path) -> None:
    """What was compiled for another platform is not compiled again, and what it leads to is still found."""
    found = set(compiled(tmp_path, FILES, ["pkg"], known={"pkg": ["optional"], "optional": ["lazy"]}))
    assert found == {"lazy", "lazy.one", "lazy.two"}


def test_lazy_packages_bring_their_parts(tmp_path: Path) -> None:
    """A package with a module-level __getattr__ (PEP 562) loads its parts by name: all but its tests."""
    found = set(compiled(tmp_path, FILES, ["lazy"]))
    assert found == {"lazy", "lazy.one", "lazy.two"}


def test_a_module_that_is_broken_is_left_out(tmp_path: Path) -> None:
    """A syntax error, which many wheels ship in templates and tests, has no bytecode and stops nothing."""
    found = compiled(tmp_path, FILES, ["broken", "pkg.in_class"])
    assert found["broken"][0] is None
    assert found["pkg.in_class"][0] is not None


def test_python_takes_it_without_the_source(tmp_path: Path) -> None:
    """The interpreter imports from what was written, although the source beside it says something else."""
    found = compiled(tmp_path, {"answer.py": b"value = 42\n"}, ["answer"], workers=1)
    _, start, length = found["answer"][0]
    site = tmp_path / "site"
    (site / "__pycache__").mkdir(parents=True)
    (site / "answer.py").write_text("raise SystemExit('compiled again')\n")
    cached = Path(importlib.util.cache_from_source(str(site / "answer.py")))
    cached.write_bytes((tmp_path / "out.0").read_bytes()[start : start + length])
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r}); import answer; print(answer.value, answer.__file__)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["42", str(site / "answer.py")], done.stderr


def test_the_bytes_do_not_depend_on_the_run(tmp_path: Path) -> None:
    """One worker or three, in any order: every module has the same bytes."""

    def all_bytes(folder: Path, workers: int) -> dict[str, bytes]:
        folder.mkdir()
        found = compiled(folder, FILES, ["pkg", "lazy", "unreached"], workers=workers)
        outs = [(folder / f"out.{number}").read_bytes() for number in range(workers)]
        return {
            name: outs[place[0]][place[1] : place[1] + place[2]]
            for name, (place, _) in found.items()
            if place
        }

    assert all_bytes(tmp_path / "a", 1) == all_bytes(tmp_path / "b", 3)


@pytest.mark.parametrize(
    ("name", "native", "kept"),
    [("__config__", False, True), ("__config__", True, False), ("cast", True, True)],
)
def test_modules_that_tell_their_build(tmp_path: Path, name: str, native: bool, kept: bool) -> None:
    """In a native wheel such a module names its machine, so it has no bytecode for all; others may name one."""
    found = compiled(tmp_path, {f"{name}.py": b"machine = 'x86_64'\n"}, [name], native=native)
    assert (found[name][0] is not None) == kept

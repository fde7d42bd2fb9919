"""conda.yaml: its Python, its pip list, and its own packages, by conda or under the names that they have on PyPI."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from packaging.requirements import InvalidRequirement, Requirement

from publisher.environments import files
from publisher.errors import RequirementsError

# Packages of conda-forge and defaults whose wheels have another name. All others are taken under their own.
NAMES = {
    "dask-core": "dask",
    "faiss": "faiss-cpu",
    "graphviz-python": "graphviz",
    "lightgbm-cpu": "lightgbm",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "opencv": "opencv-python-headless",
    "psycopg2": "psycopg2-binary",
    "py-lightgbm": "lightgbm",
    "py-opencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost",
    "pytables": "tables",
    "python-duckdb": "duckdb",
    "python-flatbuffers": "flatbuffers",
    "python-graphviz": "graphviz",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "ray-core": "ray",
    "ray-default": "ray[default]",
    "tensorflow-base": "tensorflow",
    "uvicorn-standard": "uvicorn[standard]",
}
# What `conda env export` adds because Python itself is built of it: the base image's Python brings its own.
PARTS_OF_PYTHON = frozenset(
    [
        "_libgcc_mutex",
        "_openmp_mutex",
        "bzip2",
        "ca-certificates",
        "icu",
        "krb5",
        "ld_impl_linux-64",
        "ld_impl_linux-aarch64",
        "libexpat",
        "libffi",
        "libgcc",
        "libgcc-ng",
        "libgomp",
        "libnsl",
        "libsqlite",
        "libstdcxx",
        "libstdcxx-ng",
        "libuuid",
        "libxcrypt",
        "libzlib",
        "ncurses",
        "openssl",
        "python_abi",
        "readline",
        "sqlite",
        "tk",
        "xz",
        "zlib",
        "zstd",
    ]
)
_NO_COUNTERPART = re.compile(
    r"_.*|cuda.*|cudatoolkit.*|cudnn|nccl|pytorch-cuda|pytorch-mutex|c-compiler|cxx-compiler|fortran-compiler|"
    r"compilers|gcc.*|gxx.*|gfortran.*|clang.*|binutils.*|sysroot.*|make|git|curl|openjdk|nodejs|r-.*|lib[a-z].*|"
    r"blas|openblas|mkl|mkl-service|ffmpeg|arrow-cpp|graphviz|hdf5|java.*|perl"
)
_SPEC = re.compile(r"(?:[\w./-]+::)?([A-Za-z0-9_][\w.-]*)\s*(.*)")
_VERSION = r"[0-9][\w.+!]*(\.\*|\*)?"


@dataclass(frozen=True, slots=True)
class Conda:
    """`python` as it is written, "" where it is not; `pip` lines; `own` packages and `channels` as they are written."""

    python: str = ""
    pip: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


def parse(document: dict[str, Any]) -> Conda:
    """The parts of a conda.yaml; raises RequirementsError where it is not of that form."""
    entries = document.get("dependencies") or []
    if not isinstance(entries, list):
        raise RequirementsError("conda.yaml: dependencies is not a list")
    python, pip, own = "", [], []
    for entry in entries:
        if isinstance(entry, dict) and set(entry) == {"pip"}:
            pip += files.strings(entry, "pip", "conda.yaml")
        elif not isinstance(entry, str) or not _SPEC.fullmatch(entry.strip()):
            raise RequirementsError(f"conda.yaml: {str(entry)[:80]!r} is no package")
        elif (name := name_of(entry)) == "python":
            python = _SPEC.fullmatch(entry.strip())[2].strip()  # type: ignore[index]
        elif name != "pip":
            own.append(entry.strip())
    channels = files.strings(document, "channels", "conda.yaml")
    return Conda(python, tuple(pip), tuple(own), tuple(channels))


def refuse(conda: Conda) -> None:
    """Raise RequirementsError where there are packages of conda, and say how they may be taken all the same."""
    if conda.own:
        raise RequirementsError(
            f"conda.yaml asks for conda packages, which are not in a package index of wheels: {', '.join(conda.own[:8])}",
            hint='List them under pip: in conda.yaml, or set conda = "pip" on the target to take PyPI\'s instead, or '
            'conda = "conda" to let conda install them while a Dockerfile engine builds.',
        )


def for_image(conda: Conda, lines: Sequence[str]) -> str:
    """A conda.yaml with the packages of `conda`, and `lines` as its pip list. Raises RequirementsError for a text
    that would not come out of it as one word of conda's."""
    for text in (*conda.channels, *conda.own, conda.python):
        if not text.isprintable() or text.startswith("-"):
            raise RequirementsError(f"conda.yaml: {text[:80]!r} is no channel and no package")
    python = [f"python{conda.python}" if re.match(r"[<>=!~ ]", conda.python) else f"python={conda.python}"]
    packages = [*(python if conda.python else ["python"]), "pip", *conda.own]
    document = {
        "channels": list(conda.channels) or ["conda-forge"],
        "dependencies": [*packages, *([{"pip": list(lines)}] if lines else [])],
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000)


def to_pip(conda: Conda) -> tuple[list[str], list[str]]:
    """(requirements, notes): conda's own packages as those of PyPI. Raises RequirementsError for what has none."""
    found, left_out, foreign = [], [], []
    for entry in conda.own:
        name = name_of(entry)
        if name in PARTS_OF_PYTHON:
            left_out.append(name)
        elif name not in NAMES and _NO_COUNTERPART.fullmatch(name):
            foreign.append(entry)
        else:
            found.append(_requirement(entry, NAMES.get(name, name)))
    if foreign:
        raise RequirementsError(
            f"conda.yaml asks for what PyPI has no counterpart of: {', '.join(foreign[:8])}",
            hint="Take it out of conda.yaml, or put it into a base image of your own, and register a new version.",
        )
    notes = [f"packages of conda.yaml are taken from the package index: {', '.join(found)}"] if found else []
    if left_out:
        notes.append(f"left to the base image, which has its own: {', '.join(sorted(left_out))}")
    return found, notes


def name_of(entry: str) -> str:
    """``pytorch`` of ``conda-forge::pytorch>=2``."""
    match = _SPEC.fullmatch(entry.strip())
    name = match[1].lower() if match else entry
    return re.sub(r"[.-]+$", "", name)


def _requirement(entry: str, name: str) -> str:
    """A match specification of conda as PEP 508 (conda.io, "Package match specifications")."""
    match = _SPEC.fullmatch(entry.strip())
    rest = match[2].strip() if match else ""
    if bracket := re.fullmatch(r"\[(.*)\]", rest):
        keys = dict(re.findall(r"(\w+)\s*=\s*['\"]?([^'\",\]]+(?:,[^'\"=\]]+)*)['\"]?", bracket[1]))
        rest = keys.get("version", "")
    try:
        return str(Requirement(f"{name}{_specifier(rest)}"))
    except (InvalidRequirement, ValueError) as error:
        raise RequirementsError(
            f"conda.yaml: {entry!r} cannot be told as a version of {name} on PyPI",
            hint="List it under pip: in conda.yaml, such as numpy>=1.26,<2.",
        ) from error


def _specifier(text: str) -> str:
    if re.search(r"[|()]", text):
        raise ValueError(text)
    # name=version=build and "name version build": the build string is a matter of conda alone.
    if exact := re.fullmatch(rf"={{0,2}}\s*({_VERSION})(\s*=\s*|\s+)[\w.*]+", text):
        return _pinned(exact[1], exact=True)
    if one := re.fullmatch(rf"(={{0,2}})\s*({_VERSION})", text):
        return _pinned(one[2], exact=one[1] != "=")
    return ",".join(_clause(part.strip()) for part in text.split(",") if part.strip() != "*")


def _clause(text: str) -> str:
    if not text:
        return ""
    if re.match(r"(>=|<=|!=|~=|>|<)", text):
        operator = re.match(r"[<>=!~]+", text)[0]  # type: ignore[index]
        version = text[len(operator) :].strip()
        return f"{operator}{version if operator == '!=' else version.removesuffix('.*')}"
    if one := re.fullmatch(rf"(={{0,2}})\s*({_VERSION})", text):
        return _pinned(one[2], exact=one[1] != "=")
    raise ValueError(text)


def _pinned(version: str, *, exact: bool) -> str:
    """conda's ``=1.26`` is any 1.26.x; a version of three parts is one version, as MLflow and exports write it."""
    bare = version.removesuffix("*").removesuffix(".")
    if version.endswith("*") or (not exact and bare.count(".") < 2):
        return f"=={bare}.*"
    return f"=={bare}"

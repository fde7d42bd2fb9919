"""The bytecode layer: what a prediction imports, compiled once for all architectures.

Which modules: those that are reached by imports at module level from the packages that the model asks for,
from MLflow's own scoring server and from the flavor of each package; submodules of packages that load lazily
too, and a few that only functions or machine code import. docs/images.md has the figures.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from publisher.builders.layers import compiler
from publisher.builders.layers.wheel import modules as modules_of
from publisher.builders.layers.wheel import readable
from publisher.domain import Wheel
from publisher.errors import BuildError, HostError
from publisher.faults import OF_THE_MOMENT
from publisher.oci import rootfs

_TIMEOUT = 600  # seconds
_SEEDS = ("mlflow.pyfunc", "mlflow.pyfunc.scoring_server", "mlflow.pyfunc.scoring_server.app")
_WHOLE = ("publisher", "uvicorn")  # packages that import their own parts in functions, or by strings
# Of MLflow, what a tracking server runs on and no prediction does; with it came sqlalchemy, flask, alembic …
_SERVER = re.compile(
    r"mlflow\.(server|gateway\.app|store\.\w+\.(sqlalchemy|dbmodels)\w*|store\.db\.(?!db_types)\w+)(\.|$)"
)
# Imported by functions or by machine code, which following imports cannot see: found by serving models of
# scikit-learn, pandas and onnx and listing what had no bytecode.
_HIDDEN = (
    "cachetools._cached",
    "databricks",
    "dateutil.parser",
    "dateutil.relativedelta",
    "dateutil.tz",
    "idna",
    "importlib_metadata",
    "mlflow.data.filesystem_dataset_source",
    "numpy._core._exceptions",
    "opentelemetry.baggage.propagation",
    "opentelemetry.util.re",
    "pyarrow.pandas_compat",
    "pydantic.plugin._loader",
    "scipy._lib.array_api_compat.numpy.fft",
    "scipy.sparse.csgraph._validation",
    "six",
    "sklearn.externals.array_api_compat.numpy.fft",
    "skops.io",
    "zipp",
)
Source = tuple[int, int, str]  # CRC-32, size, path in the image


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The image's own Python, unpacked: `root` its folder, `executable` its path in the image."""

    root: Path
    executable: str

    def run(self, code: str, job: Mapping[str, Any], folder: Path) -> str:
        """Run `code` with `job` as JSON on standard input; returns standard output."""
        home = (self.root / self.executable.strip("/")).parent.parent
        environment = {"PYTHONHOME": str(home), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [*rootfs.command(self.root, self.executable), "-S", "-s", "-c", code]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                input=json.dumps(job),
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            if isinstance(error, OSError) and error.errno in OF_THE_MOMENT:
                raise
            raise BuildError(f"the base image's Python cannot be run here: {error}") from error
        if done.returncode == -signal.SIGKILL or os.strerror(errno.ENOSPC) in done.stderr:
            fault = done.stderr.strip().splitlines()[-1:] or ["its process was killed"]
            raise HostError(
                f"modules cannot be compiled: {fault[0][-200:]}", hint="See this host's memory, and its disk"
            )
        if done.returncode:
            raise BuildError("the base image's Python failed to compile modules", detail=done.stderr[-2000:])
        return done.stdout


# The modules of one wheel: name, CRC-32 and size of the source, path in the image, and where it is in the
# wheel: offset of the local header, compressed size, method.
Survey = Sequence[tuple[str, Source, tuple[int, int, int]]]


@dataclass(frozen=True, slots=True)
class Modules:
    """The modules of one platform's wheels: name -> archive number, source, where it is in the archive."""

    sources: Mapping[str, tuple[int, Source, tuple[int, int, int]]]
    tops: Mapping[str, frozenset[str]]  # project -> its top-level modules


def survey(path: Path, python: str) -> Survey:
    """The modules of the wheel `path`; raises BuildError."""
    found = []
    with readable(path), zipfile.ZipFile(path) as archive:
        for name, place, member in modules_of(archive, python):
            if member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                where = (member.header_offset, member.compress_size, member.compress_type)
                found.append((name, (member.CRC, member.file_size, place), where))
    return found


def merge(surveys: Sequence[tuple[str, int, Survey]]) -> Modules:
    """The modules of one platform, from its wheels': project, archive number, survey. Later wheels win."""
    sources = {
        name: (n, source, where)
        for _, n, found in surveys
        for name, source, where in found
        if not _SERVER.match(name)
    }
    tops = {
        project: frozenset(name for name, _, _ in found if "." not in name) for project, _, found in surveys
    }
    return Modules(sources, tops)


def seeds(modules: Modules, roots: Sequence[str]) -> list[str]:
    """Where imports start from."""
    tops = {top for root in roots if root != "pip" for top in modules.tops.get(root, ())}
    found = {*tops, *_SEEDS, *_HIDDEN, *(f"mlflow.{top}" for top in tops)}
    found |= {name for name in modules.sources if name.split(".")[0] in _WHOLE}
    return sorted(name for name in found if name in modules.sources)


Piece = tuple[str, str, int, int]  # path in the image, file, offset, length


@dataclass(slots=True)
class Compilation:
    """Compiles the modules of one platform after the other, each distinct source once.

    `archives`: every wheel, by its number in the surveys. Files go to `folder`. What a platform gets does not
    depend on what was compiled before it.
    """

    interpreter: Interpreter
    archives: Sequence[tuple[Wheel, Path]]
    python: str
    folder: Path
    workers: int
    _places: dict[Source, tuple[str, int, int] | None] = field(default_factory=dict)
    _edges: dict[Source, list[str]] = field(default_factory=dict)
    _runs: int = 0

    def pieces(self, modules: Modules, roots: Sequence[str]) -> dict[bool, tuple[Piece, ...]]:
        """The bytecode of a platform's pure (True) and native packages, sorted by path."""
        starts = seeds(modules, roots)
        self._compile(modules, starts)
        edges = self._known(modules)
        tag = f"cpython-{self.python.replace('.', '')}"
        found: dict[bool, list[Piece]] = {True: [], False: []}
        for name in _reach(starts, edges, modules):
            number, source, _ = modules.sources[name]
            place = self._places.get(source)
            if place:
                folder, _, leaf = source[2].rpartition("/")
                path = f"{folder}/__pycache__/{leaf.removesuffix('.py')}.{tag}.pyc"
                found[self.archives[number][0].pure].append((path, *place))
        return {pure: tuple(sorted(pieces)) for pure, pieces in found.items()}

    def _known(self, modules: Modules) -> dict[str, list[str]]:
        """What each module that was compiled so far leads to, by its name on this platform."""
        sources = {name: source for name, (_, source, _) in modules.sources.items()}
        return {name: self._edges[source] for name, source in sources.items() if source in self._edges}

    def _compile(self, modules: Modules, starts: Sequence[str]) -> None:
        out = self.folder / f"bytecode-{self._runs}"
        self._runs += 1
        job = {
            "archives": [str(path) for _, path in self.archives],
            "native": [not wheel.pure for wheel, _ in self.archives],
            "modules": {
                name: [number, *where, source[2]] for name, (number, source, where) in modules.sources.items()
            },
            "known": self._known(modules),
            "seeds": starts,
            "out": str(out),
            "workers": self.workers,
        }
        code = Path(compiler.__file__).read_text()
        for name, (place, edges) in json.loads(self.interpreter.run(code, job, self.folder)).items():
            source = modules.sources[name][1]
            self._places[source] = (f"{out}.{place[0]}", place[1], place[2]) if place else None
            self._edges[source] = edges


def _reach(starts: Sequence[str], edges: Mapping[str, Sequence[str]], modules: Modules) -> frozenset[str]:
    seen, todo = set(starts), list(starts)
    while todo:
        new = [name for name in edges.get(todo.pop(), ()) if name in modules.sources and name not in seen]
        seen.update(new)
        todo.extend(new)
    return frozenset(seen)

"""A source becomes a wheel by its author's code, shut in: no network, no files of the host, no credentials.

What it needs to build is fetched before, from wheels alone, so that nothing of the author's runs outside.
Bubblewrap makes the enclosure: namespaces of its own, which need no root where the kernel allows them to users.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from datetime import datetime
from pathlib import Path

import uv
from packaging.requirements import InvalidRequirement, Requirement

from publisher import bubblewrap
from publisher.environments.index import Index
from publisher.errors import EngineError, IndexUnavailableError

_TIMEOUT = 600  # seconds
_MEMORY = 4 << 30  # bytes of address space of any one process
_FILE = 1 << 30  # bytes of any one file
_LEGACY = ["setuptools>=40.8.0", "wheel"]  # PEP 517: what a source without pyproject.toml is built with
_COMPILED = (".c", ".cc", ".cpp", ".cu", ".f", ".f90", ".pyx", ".rs")
_WORK = "/work"  # where the enclosure sees the build's folder: one path on all machines
_EPOCH = "315532800"  # 1980-01-01, the earliest that a zip can tell
_HINT = 'Install bubblewrap, put a wheel into an index, or trust the authors of sources: sdist = "build".'


def build(archive: Path, work: Path, index: Index, as_of: datetime | None, *, isolated: bool) -> Path | str:
    """The wheel that `archive` becomes, or why it does not. `work` is its folder, and disposable.

    Raises EngineError where this machine has no enclosure, IndexUnavailableError for what a build needs.
    """
    enclosure = _enclosure(work) if isolated else None
    requires = _requires(archive)
    if isinstance(requires, str):
        return requires
    if fault := _prepare(work, requires, index, as_of):
        return fault
    place = Path(_WORK) if enclosure is not None else work
    program = [*(enclosure or []), str(place / "uv"), "build", "--wheel", str(place / archive.name)]
    program += ["--out-dir", str(place / "out"), "--python", str(place / "venv" / "bin" / "python")]
    program += ["--no-build-isolation", "--offline", "--no-config", "--no-cache", "--color", "never"]
    bounded = (
        ["prlimit", f"--as={_MEMORY}", f"--fsize={_FILE}", *program] if shutil.which("prlimit") else program
    )
    (work / "out").mkdir()
    shutil.copyfile(uv.find_uv_bin(), work / "uv")
    (work / "uv").chmod(0o755)
    done = _run(bounded, {**_VARIABLES, "PATH": os.environ.get("PATH", os.defpath), "TMPDIR": str(work)})
    # The author's code could have put links there, which lead out of the folder on this side.
    out = work / "out"
    found = [] if out.is_symlink() else sorted(out.glob("*.whl"))
    if not done.returncode and len(found) == 1 and found[0].is_file() and not found[0].is_symlink():
        return found[0]
    native = f"it has native parts ({part}): " if (part := _native_part(archive)) else ""
    own = done.stderr.partition("error: Failed to build")[0]  # what follows is uv's account of it
    return f"{native}{_last_words(own.strip() or done.stderr) or 'it makes no wheel'}"


_VARIABLES = {
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": _EPOCH,
    "UV_PYTHON_DOWNLOADS": "never",
}


def _enclosure(work: Path) -> list[str]:
    """The command that shuts in what follows it. Raises EngineError where bubblewrap is missing or does not run."""
    program = bubblewrap.program()
    if program is None:
        raise EngineError(
            "a source must be built, and bubblewrap, which shuts its code in, is missing", hint=_HINT
        )
    variables = {**_VARIABLES, "PATH": "/usr/bin:/bin", "TMPDIR": "/tmp"}  # noqa: S108
    command = bubblewrap.shut_in(program, variables)
    command += ["--ro-bind", "/usr", "/usr", *bubblewrap.PROC, "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108
    for name in ("/bin", "/lib", "/lib64", "/sbin"):
        if Path(name).is_symlink():
            command += ["--symlink", str(Path(name).readlink()), name]
        elif Path(name).is_dir():
            command += ["--ro-bind", name, name]
    if Path("/etc/ld.so.cache").is_file():
        command += ["--ro-bind", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    python = Path(sys.base_prefix).resolve()
    if not python.is_relative_to("/usr"):
        command += ["--ro-bind", str(python), str(python)]
    command += ["--bind", str(work), _WORK, "--chdir", _WORK]
    done = _run([*command, "/bin/true"], dict(os.environ))
    if done.returncode:
        raise EngineError(
            f"a source must be built, and bubblewrap, which shuts its code in, does not run: {_last_words(done.stderr)}",
            hint=_HINT,
        )
    return command


def _requires(archive: Path) -> list[str] | str:
    """`build-system.requires` of the source (PEP 518), or why it has none that can be read."""
    try:
        text = _pyproject(archive)
        document = tomllib.loads(text.decode()) if text else {}
        requires = document.get("build-system", {}).get("requires", _LEGACY)
    except (OSError, ValueError, AttributeError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        return f"{archive.name} cannot be read: {error}"
    if not isinstance(requires, list) or not all(isinstance(each, str) for each in requires):
        return "its pyproject.toml has no list build-system.requires"
    wrong = [each for each in requires if not _is_plain(each)]
    return f"its build requires {wrong[0][:80]!r}" if wrong else requires


def _is_plain(line: str) -> bool:
    """Whether it may be a line of a requirements file: a name and versions, no option of uv, no URL."""
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return False
    return requirement.url is None and str(requirement).isprintable()


def _pyproject(archive: Path) -> bytes:
    """The top folder's pyproject.toml, read in memory; empty where there is none."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as members:
            name = next((n for n in members.namelist() if re.fullmatch(r"[^/]+/pyproject\.toml", n)), None)
            return members.open(name).read(1 << 20) if name else b""
    with tarfile.open(archive) as members:
        for member in members:
            if member.isfile() and re.fullmatch(r"(\./)?[^/]+/pyproject\.toml", member.name):
                stream = members.extractfile(member)
                return stream.read(1 << 20) if stream else b""
    return b""


def _native_part(archive: Path) -> str:
    """The name of a file in the source that a compiler would read, "" where there is none."""
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as members:
                names = members.namelist()
        else:
            with tarfile.open(archive) as members_of_tar:
                names = members_of_tar.getnames()
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile):
        return ""
    return next((name for name in names if name.endswith(_COMPILED)), "")


def _prepare(work: Path, requires: list[str], index: Index, as_of: datetime | None) -> str:
    """A virtual environment with what the build needs. Returns what is wrong. Nothing of it is run."""
    environment = dict(index.environment)
    program = [uv.find_uv_bin(), "--no-config", "--color", "never", "--quiet"]
    made = _run([*program, "venv", "--python", sys.executable, str(work / "venv")], environment)
    if made.returncode:
        raise EngineError(f"uv makes no virtual environment: {_last_words(made.stderr)}")
    (work / "requires.txt").write_text("\n".join(requires) + "\n")
    install = [*program, "pip", "install", "--python", str(work / "venv" / "bin" / "python")]
    install += ["--only-binary", ":all:", "--link-mode", "copy", "-r", str(work / "requires.txt")]
    if as_of:
        install += ["--exclude-newer", as_of.strftime("%Y-%m-%dT%H:%M:%SZ")]
    done = _run(install, environment)
    if not done.returncode:
        return ""
    if "No solution found" in done.stderr:
        return f"what its build needs is not to be had: {_last_words(done.stderr)}"
    raise IndexUnavailableError(
        f"what a build needs cannot be had from the index: {_last_words(done.stderr)}"
    )


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"it did not end within {_TIMEOUT} s")
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def _last_words(text: str) -> str:
    """The end of what a tool said, on one line, without credentials."""
    flat = re.sub(r"[^!-~]+", " ", re.sub(r"://[^/@\s]*@", "://", text)).strip()
    return flat if len(flat) <= 300 else f"…{flat[-300:]}"

"""The files of a build context: how they get there, which of them no template may replace, and their digest."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from publisher.domain import MACHINES, Environment, FileSet, Lock
from publisher.errors import BuildError, HostError, TemplateError
from publisher.rendering.render import Rendered

ENVIRONMENT = "environment"  # the folder of what the packages are made of


def copy(fileset: FileSet, folder: Path, *, link: bool) -> None:
    """The files of `fileset` below `folder`; `link`: as further names of the same files where the disk allows that.

    Raises HostError.
    """
    try:
        for file in fileset.files:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                if not link:
                    raise OSError
                os.link(fileset.root / file.path, path)
            except OSError:
                shutil.copyfile(fileset.root / file.path, path)
                path.chmod(0o755 if file.executable else 0o644)
    except OSError as error:
        raise HostError(f"the build context cannot be written: {error.strerror}") from error


def environment(found: Environment, locks: Iterable[Lock], folder: Path) -> bool:
    """Write what an engine makes the environment of: conda.yaml, or each platform's lock as pip reads it and
    the wheels that no index has. Returns whether there are such wheels. Raises HostError."""
    try:
        folder.mkdir(exist_ok=True)
        if found.conda:
            (folder / "conda.yaml").write_text(found.conda, "utf-8")
            return False
        direct = {canonicalize_name(r.name) for r in map(Requirement, found.requirements) if r.url}
        local = [_lock(lock, direct, folder) for lock in locks]
    except OSError as error:
        raise HostError(f"the build context cannot be written: {error.strerror}") from error
    return any(local)


def _lock(lock: Lock, direct: Collection[str], folder: Path) -> bool:
    lines, local = [], False
    for wheel in lock.wheels:
        if wheel.url.startswith("file:"):
            (folder / "wheels").mkdir(exist_ok=True)
            with suppress(FileExistsError):
                shutil.copyfile(unquote(urlsplit(wheel.url).path), folder / "wheels" / wheel.filename)
            local = True
        elif wheel.name in direct:  # no index has it
            lines.append(f"{wheel.name} @ {wheel.url} --hash=sha256:{wheel.sha256}")
            continue
        lines.append(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}")
    machine = MACHINES[lock.platform.architecture]
    (folder / f"requirements-{machine}.txt").write_text("".join(f"{line}\n" for line in lines))
    return local


def protect(rendered: Iterable[Rendered], names: Mapping[str, str]) -> None:
    """Raise TemplateError where a template would write into one of the folders `names`, which hold what they map to."""
    for one in rendered:
        for folder, what in names.items():
            if one.path == folder or one.path.startswith(f"{folder}/"):
                raise TemplateError(
                    f"the template for {one.path} would write among {what}",
                    hint="An image holds the model that was registered, and the packages that were locked: "
                    "let the template make a file elsewhere.",
                )


def settle(folder: Path, limit: int) -> str:
    """Give all files and folders below `folder` the modes that they are to have in an image, where its numeric user
    must read them, and return a hex SHA-256 over their paths, run bits and contents.

    Raises BuildError beyond `limit` bytes, HostError.
    """
    seen, size = hashlib.sha256(), 0
    try:
        folder.chmod(0o755)
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                continue
            if path.is_dir():
                path.chmod(0o755)
                continue
            status = path.stat()
            size += status.st_size
            if size > limit:
                raise BuildError(
                    f"the build context is larger than {limit / 2**20:,.0f} MiB",
                    hint="Raise `context_limit`, or log fewer files with the model.",
                )
            runs = bool(status.st_mode & 0o100)
            path.chmod(0o755 if runs else 0o644)
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            name = path.relative_to(folder).as_posix()
            seen.update(f"{name}\0{runs}\0{content}\n".encode("utf-8", "replace"))
    except OSError as error:
        raise HostError(f"the build context cannot be read: {error.strerror}") from error
    return seen.hexdigest()

"""The part of an image's file system that its Python needs, on disk, so that it runs without an engine.

Layers are read as streams. Nothing is written through a link: links are resolved in memory while files are
written, and made last, pointing inside the folder. Devices, owners and set-id bits are left out.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from publisher.errors import BuildError
from publisher.oci.untar import BLOCK, UNREADABLE, entries
from publisher.paths import is_relative

_WANTED = re.compile(
    r"(usr/(local/)?)?lib(64)?/(python3[^/]*(/|$)|[^/]+-linux-gnu[^/]*(/|$)|[^/]*\.so[^/]*$|ld-[^/]*$)"
    r"|usr/lib(64)?/?$|(usr/(local/)?)?bin/python[^/]*$|(usr/local/)?lib(64)?$|bin$"
)
_LIMIT = 4 << 30  # bytes
_HOPS = 40  # of links on the way of one path, as in the kernel
# What an archive that contradicts itself makes of the file system: a file below a file, a name too long.
_CONTRADICTION = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EINVAL,
}


class _Tree:
    """Which links an image has, so that a path can be followed without the host's file system."""

    def __init__(self) -> None:
        self.links: dict[str, str] = {}

    def real(self, path: str) -> str:
        """The path with all links followed; never above the root."""
        done: list[str] = []
        todo, hops = _parts(path), 0
        while todo:
            part = todo.pop()
            if part == "..":
                done[-1:] = []
                continue
            done.append(part)
            target = self.links.get("/".join(done))
            if target is None:
                continue
            hops += 1
            if hops > _HOPS:
                raise BuildError(f"the base image has a loop of links at {path[:200]!r}")
            done = [] if target.startswith("/") else done[:-1]
            todo += _parts(target)
        return "/".join(done)

    def place(self, path: str) -> str:
        """Where `path` itself is: the links of its parents followed, and not its own."""
        parent, _, leaf = path.rpartition("/")
        return "/".join(filter(None, (self.real(parent), leaf)))


def _parts(path: str) -> list[str]:
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def unpack(layers: Iterable[BinaryIO], folder: Path) -> None:
    """Unpack what a Python needs of `layers`, bottom first, into the new folder `folder`.

    The streams are gzip or plain tar. Raises BuildError for what is not, and for what no image holds.
    """
    tree, total = _Tree(), 0
    folder.mkdir(parents=True)
    try:
        for archive, entry in entries(layers):
            path = _wanted(entry, tree)
            if path is None:
                continue
            total += entry.size if entry.isreg() else 0
            if total > _LIMIT:
                raise BuildError(f"the base image's Python is larger than {_LIMIT >> 30} GiB")
            _write(archive, entry, folder, path, tree)
        for path, target in tree.links.items():
            _link(folder, path, target, tree)
    except UNREADABLE as error:  # cut short within a file
        raise BuildError(f"a layer of the base image cannot be read: {error}") from error
    except OSError as error:
        if error.errno not in _CONTRADICTION:
            raise
        raise BuildError(f"the files of the base image contradict each other: {error.strerror}") from error


def _wanted(entry: tarfile.TarInfo, tree: _Tree) -> str | None:
    """Where the entry goes, with links followed; None for what a Python does not need."""
    name = entry.name.removeprefix("./").strip("/")
    leaf = name.rpartition("/")[2]
    if leaf in ("", ".", "..") or leaf.startswith(".wh."):
        return None  # what a layer above removes does no harm below
    path = tree.place(name)
    return path if is_relative(path) and _WANTED.match(path) else None


def _write(archive: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path, path: str, tree: _Tree) -> None:
    where = folder / path
    if entry.issym():
        tree.links[path] = entry.linkname
        if not where.is_dir():
            where.unlink(missing_ok=True)
    elif entry.islnk():
        linked = tree.real(entry.linkname)
        if linked != path and is_relative(linked) and (folder / linked).is_file():
            _clear(where)
            os.link(folder / linked, where)
    elif entry.isreg():
        tree.links.pop(path, None)
        _clear(where)
        source = archive.extractfile(entry)
        mode = 0o755 if entry.mode & 0o111 else 0o644
        # O_EXCL: a name that is there is never written through, not even a hard link of the image's own.
        descriptor = os.open(where, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb", buffering=0) as sink:
            while source and (chunk := source.read(BLOCK)):
                sink.write(chunk)


def _clear(where: Path) -> None:
    where.parent.mkdir(parents=True, exist_ok=True)
    if where.is_dir():
        shutil.rmtree(where)
    where.unlink(missing_ok=True)


def _link(folder: Path, path: str, target: str, tree: _Tree) -> None:
    # Made last, and pointing to where no further link is on the way: so none leads on to another, and the
    # relative way holds. What lies below a folder that has become a link since is gone in the image, too.
    parent, where = path.rpartition("/")[0], folder / path
    if tree.real(parent) != parent or os.path.lexists(where):
        return
    inside = tree.real(target if target.startswith("/") else f"{parent}/{target}")
    if not inside or is_relative(inside):
        where.parent.mkdir(parents=True, exist_ok=True)
        where.symlink_to(os.path.relpath(folder / inside, where.parent))


def find_python(folder: Path, search: Iterable[str]) -> str | None:
    """The interpreter's own path, links followed: the first python3 of the directories in `search`."""
    for directory in [*search, "/usr/local/bin", "/usr/bin"]:
        if not is_relative(directory.strip("/")):
            continue  # the list is the image's own: it must not lead to an interpreter of this machine
        link = folder / directory.strip("/") / "python3"
        if link.exists() and link.resolve().is_relative_to(folder.resolve()):
            return "/" + str(link.resolve().relative_to(folder.resolve()))
    return None


def glibc_of(folder: Path) -> tuple[int, int] | None:
    """The C library's version, read from the library itself; None for another C library."""
    for path in sorted(folder.glob("**/libc.so.6")):
        match = re.search(rb"GNU C Library [^\n]*?version (\d+)\.(\d+)", path.read_bytes())
        if match:
            return int(match[1]), int(match[2])
    return None


def command(folder: Path, executable: str) -> list[str]:
    """The start of a command that runs the image's interpreter through the image's own loader."""
    loaders = sorted([*folder.glob("lib64/ld-linux-*.so.*"), *folder.glob("lib/ld-linux-*.so.*")])
    if not loaders:
        raise BuildError("the base image has no glibc loader, so its Python cannot be run without an engine")
    library = [
        *folder.glob("lib/*-linux-gnu*"),
        *folder.glob("usr/lib/*-linux-gnu*"),
        folder / "usr/local/lib",
    ]
    path = ":".join(str(place) for place in [*library, folder / "lib64", folder / "usr/lib64"])
    return [str(loaders[0]), "--library-path", path, str(folder / executable.strip("/"))]

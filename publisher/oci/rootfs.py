"""The part of an image's file system that its Python needs, on disk, so that it runs without an engine.

Layers are read as streams. Nothing is written through a link: links are resolved in memory while files are
written, and made last, pointing inside the folder. Devices, owners and set-id bits are left out.
"""

from __future__ import annotations

import os
import re
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from publisher.errors import BuildError

_WANTED = re.compile(
    r"(usr/(local/)?)?lib(64)?/(python3[^/]*(/|$)|[^/]+-linux-gnu[^/]*(/|$)|[^/]*\.so[^/]*$|ld-[^/]*$)"
    r"|usr/lib(64)?/?$|(usr/(local/)?)?bin/python[^/]*$|(usr/local/)?lib(64)?$|bin$"
)
_LIMIT = 4 << 30  # bytes
_BLOCK = 1 << 16  # bytes read at once; tarfile copies what is left of a block at each small read
_HOPS = 40  # of links, as in the kernel


class _Tree:
    """Which links an image has, so that a path can be followed without the host's file system."""

    def __init__(self) -> None:
        self.links: dict[str, str] = {}

    def real(self, path: str, hops: int = 0) -> str:
        """The path with the links of its parents followed; never above the root."""
        done: list[str] = []
        for part in PurePosixPath(path).parts:
            if part in ("/", "."):
                continue
            if part == "..":
                done[-1:] = []
                continue
            done.append(part)
            target = self.links.get("/".join(done))
            if target is not None:
                if hops > _HOPS:
                    raise BuildError(f"the base image has a loop of links at {path!r}")
                done.pop()
                joined = target if target.startswith("/") else "/".join([*done, target])
                done = self.real(joined, hops + 1).split("/") if joined.strip("/") else []
        return "/".join(done)


def unpack(layers: Iterable[BinaryIO], folder: Path) -> None:
    """Unpack what a Python needs of `layers`, bottom first, into the new folder `folder`.

    The streams are gzip or plain tar. Raises BuildError for what is not.
    """
    tree, total = _Tree(), 0
    folder.mkdir(parents=True)
    for layer in layers:
        with layer as stream:
            try:
                with tarfile.open(fileobj=cast("Any", _Plain(stream)), mode="r|", bufsize=_BLOCK) as archive:
                    for entry in archive:
                        total += _place(archive, entry, folder, tree)
                        if total > _LIMIT:
                            raise BuildError("the base image's Python is larger than 4 GiB")
            except (tarfile.TarError, zlib.error, EOFError) as error:
                raise BuildError(f"a layer of the base image cannot be read: {error}") from error
    for path, target in tree.links.items():
        where = folder / path
        if os.path.lexists(where):
            continue
        inside = tree.real(target if target.startswith("/") else f"{PurePosixPath(path).parent}/{target}")
        where.parent.mkdir(parents=True, exist_ok=True)
        where.symlink_to(os.path.relpath(folder / inside, where.parent))


def _place(archive: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path, tree: _Tree) -> int:
    name = entry.name.removeprefix("./").strip("/")
    parent, _, leaf = name.rpartition("/")
    if leaf.startswith(".wh."):
        return 0  # what a layer above removes does no harm below
    path = "/".join(filter(None, (tree.real(parent), leaf)))
    if ".." in path.split("/") or not _WANTED.match(path):
        return 0
    where = folder / path
    if entry.issym():
        tree.links[path] = entry.linkname
        where.unlink(missing_ok=True) if not where.is_dir() else None
        return 0
    if entry.islnk():
        source = folder / tree.real(entry.linkname.removeprefix("./"))
        if source.is_file():
            where.parent.mkdir(parents=True, exist_ok=True)
            where.unlink(missing_ok=True)
            os.link(source, where)
        return 0
    if not entry.isreg():
        return 0
    tree.links.pop(path, None)
    where.parent.mkdir(parents=True, exist_ok=True)
    where.unlink(missing_ok=True)
    source_file = archive.extractfile(entry)
    mode = 0o755 if entry.mode & 0o111 else 0o644
    with os.fdopen(os.open(where, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb", buffering=0) as sink:
        while source_file and (chunk := source_file.read(_BLOCK)):
            sink.write(chunk)
    return entry.size


class _Plain:
    """A layer's tar out of gzip (one member or many) or as it is, in large pieces: gzip.py's are small."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._raw = stream.read(_BLOCK)
        self._engine: Any = zlib.decompressobj(31) if self._raw[:2] == b"\x1f\x8b" else None

    def read(self, size: int) -> bytes:
        out = bytearray()
        while len(out) < size and self._raw:
            if self._engine is None:
                take = size - len(out)
                out += self._raw[:take]
                self._raw = self._raw[take:]
            else:
                out += self._engine.decompress(self._raw, size - len(out))
                self._raw = self._engine.unconsumed_tail
                if self._engine.eof:
                    self._raw = self._engine.unused_data
                    self._engine = zlib.decompressobj(31)
            self._raw = self._raw or self._stream.read(_BLOCK)
        return bytes(out)


def find_python(folder: Path, search: Iterable[str]) -> str | None:
    """The interpreter's own path, links followed: the first python3 of the directories in `search`."""
    for directory in [*search, "/usr/local/bin", "/usr/bin"]:
        link = folder / directory.strip("/") / "python3"
        if link.exists():
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

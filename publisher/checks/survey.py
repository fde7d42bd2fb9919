"""What one layer brings: each of its entries, read from the stream once, and nothing written to disk.

Of a file its name and size are kept, and what decides whether programs start: the loader's view of an ELF file,
the first line of a script, which Python package it belongs to, the few small files that the loader and the kernel
go by. It depends on the layer's digest alone, so it is kept under that (surveys.py).
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, cast

from publisher.checks import elf
from publisher.checks.elf import Elf
from publisher.checks.packages import Package, Packages
from publisher.errors import BuildError
from publisher.oci import untar
from publisher.oci.layout import Blob, Descriptor

Kind = Literal["file", "folder", "link", "hard", "other", "gone", "opaque"]

_IN_MEMORY = 64 << 20  # bytes; larger ELF files lie in a temporary file while they are read
_LARGEST = 8 << 30  # bytes of an ELF file that is read
_PATH, _NAME = 4096, 255  # bytes: PATH_MAX and NAME_MAX of Linux
_NAMES = 256 << 20  # bytes of all names of a layer
_FAULTS = 50  # entries that are told; a hostile layer has as many as it likes
# What the loader and `User` go by. An include of ld.so.conf that leads elsewhere is not followed.
_TEXTS = re.compile(r"etc/(passwd|group|ld\.so\.conf|ld\.so\.conf\.d/[^/]+|ld-musl-[^/]+\.path)")
_TEXT = 1 << 20  # bytes of one of those
_MOST_TEXTS = 200
_LINE = 256  # bytes of a script's first line that the kernel reads (BINPRM_BUF_SIZE)
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"  # image-spec, "layer.md"


class Entry(NamedTuple):
    """`path` without a leading slash. `target`: of links; `package`: place in the survey's packages, -1 for none;
    `line`: what follows ``#!``. `mode` and ids as in the tar header, `size` in bytes."""

    kind: Kind
    path: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    target: str = ""
    package: int = -1
    line: str = ""
    elf: Elf | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """`entries` in the layer's order, the last where a path is there twice. `faults`: path, and what is wrong."""

    digest: str
    entries: tuple[Entry, ...]
    packages: tuple[Package, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[tuple[str, str], ...] = ()


def survey(layer: Descriptor, blob: Blob, room: Path | None = None) -> Survey:
    """Read a layer. `room`: a folder for a large file while it is read; None: the system's own.

    Raises BuildError where it is no layer, is more than any image needs, or is not what its digest says; what the
    blob's stream raises passes through.
    """
    found = _Found(room)
    with closing(Proven(blob.open(), layer)) as stream:
        for archive, entry in untar.entries([cast("BinaryIO", stream)], "the image"):
            found.add(archive, entry)
        stream.finish()
    return found.survey(layer.digest)


class _Found:
    def __init__(self, room: Path | None) -> None:
        self._room = room
        self._entries: dict[str, Entry] = {}
        self._packages = Packages()
        self._texts: dict[str, str] = {}
        self._faults: list[tuple[str, str]] = []
        self._names = 0

    def add(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        path, fault = path_of(entry.name)
        if fault:
            if len(self._faults) < _FAULTS:
                self._faults.append((entry.name[:200], fault))
            return
        self._names += len(path) + len(entry.linkname)
        if self._names > _NAMES:
            raise BuildError(f"the names in a layer of the image are longer than {_NAMES >> 20} MiB together")
        made = self._read(archive, entry, path)
        self._entries.pop(path, None)  # so that the order is that of the last
        self._entries[path] = made

    def _read(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, path: str) -> Entry:
        head, _, name = path.rpartition("/")
        if name == _OPAQUE:
            return Entry("opaque", head)
        if name.startswith(_WHITEOUT):
            return Entry("gone", f"{head}/{name[len(_WHITEOUT) :]}".strip("/"))
        made = Entry("other", path, entry.mode & 0o7777, entry.uid, entry.gid)
        if entry.isdir():
            made = made._replace(kind="folder")
        elif entry.issym():
            made = made._replace(kind="link", target=entry.linkname[:_PATH])
        elif entry.islnk():
            made = made._replace(kind="hard", target=path_of(entry.linkname)[0])
        elif entry.isreg():
            made = made._replace(kind="file", size=entry.size)
            try:
                made = self._file(archive, entry, made)
            except untar.UNREADABLE as error:
                raise BuildError(f"a layer of the image cannot be read at {path[:200]!r}: {error}") from error
        return made

    def _file(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, made: Entry) -> Entry:
        source = archive.extractfile(entry) if entry.size else None
        if source is None:
            return made
        begin = source.read(4)
        if begin == elf.MAGIC:
            return made._replace(elf=self._elf(begin, source, entry.size))
        if begin[:2] == b"#!":
            line = (begin + source.read(_LINE - 4))[2:].partition(b"\n")[0]
            made = made._replace(line=line.decode("utf-8", "surrogateescape").strip())
        elif _TEXTS.fullmatch(made.path):
            if len(self._texts) < _MOST_TEXTS:
                self._texts[made.path] = (begin + source.read(_TEXT)).decode("utf-8", "replace")
        elif limit := self._packages.wants(made.path):
            self._packages.add(made.path, begin + source.read(limit))
        return made

    def _elf(self, begin: bytes, source: Any, size: int) -> Elf:
        if size > _LARGEST:
            return Elf(fault=f"is larger than {_LARGEST >> 30} GiB, and was not read")
        if size <= _IN_MEMORY:
            # By its size: without one, a tar's file is read in pieces of 8 KiB.
            return elf.read(io.BytesIO(begin + source.read(size)))
        with tempfile.TemporaryFile(dir=self._room) as spare:
            spare.write(begin)
            while piece := source.read(1 << 20):
                spare.write(piece)
            return elf.read(cast("BinaryIO", spare))

    def survey(self, digest: str) -> Survey:
        packages, owners = self._packages.owners(self._entries)
        entries = tuple(
            entry._replace(package=owners[path]) if path in owners else entry
            for path, entry in self._entries.items()
        )
        return Survey(digest, entries, packages, self._texts, tuple(self._faults))


def path_of(name: str) -> tuple[str, str]:
    """The path as engines take it, below the image's root; and why it is none, empty where it is one."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        return "", "its path leads out of the folder that it is in"
    if "\0" in name or len(name) > _PATH or any(len(part) > _NAME for part in parts):
        return "", "its path is none that a file system takes"
    return "/".join(parts), ""


class Proven:
    """A blob's stream that must be what its descriptor says: another layer's survey would be kept under its digest."""

    def __init__(self, stream: BinaryIO, layer: Descriptor) -> None:
        self._stream = stream
        self._layer = layer
        self._seen = hashlib.sha256()
        self._size = 0

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(size)
        self._seen.update(piece)
        self._size += len(piece)
        if self._size > self._layer.size:
            raise BuildError(f"the layer {self._layer.digest} is longer than its manifest says")
        return piece

    def finish(self) -> None:
        """Read what is left, and compare."""
        while self.read(1 << 20):
            pass
        if f"sha256:{self._seen.hexdigest()}" != self._layer.digest:
            raise BuildError(f"a layer does not have the digest {self._layer.digest} that its manifest names")

    def __enter__(self) -> Proven:
        return self

    def __exit__(self, *_: object) -> None:
        pass  # untar leaves a layer when it has read its tar; what follows is still to be read

    def close(self) -> None:
        self._stream.close()

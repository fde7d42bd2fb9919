"""A layer as a stream of tar entries, within bounds: what a hostile archive promises costs neither memory nor time."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, cast

from publisher.errors import BuildError

BLOCK = 1 << 16  # bytes read at once; tarfile copies what is left of a block at each small read
MAX_ENTRIES = 1_000_000  # of all layers together
MAX_INFLATED = 64 << 30  # bytes of all layers together
MAX_HEADER = 1 << 20  # bytes of one long name or PAX header, which tarfile reads into memory
_IN_MEMORY = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


# What reading an archive raises that is none. ValueError and OverflowError: numbers in headers that no file system has.
UNREADABLE = (tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError)


class _Entry(tarfile.TarInfo):
    """Judges a header before tarfile acts on it."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str | None, errors: str) -> _Entry:
        entry = super().frombuf(buf, encoding or "utf-8", errors)
        if entry.size < 0 or (entry.type in _IN_MEMORY and entry.size > MAX_HEADER):
            raise BuildError(f"a layer has a header of {entry.size:,} bytes")
        if entry.type == tarfile.GNUTYPE_SPARSE:
            raise BuildError("a layer holds a sparse file, which image layers do not have")
        return entry


def entries(
    layers: Iterable[BinaryIO], image: str = "the base image"
) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Every entry of `layers` (gzip or plain tar), bottom first, with the archive to read it from at once.

    `image`: what they are of, for people. Raises BuildError for what is no tar, and for more than any image
    needs; what is read from an archive here raises UNREADABLE.
    """
    count = inflated = 0
    for layer in layers:
        with layer as stream:
            plain = _Plain(stream, MAX_INFLATED - inflated, image)
            try:
                with tarfile.open(
                    fileobj=cast("Any", plain), mode="r|", bufsize=BLOCK, tarinfo=_Entry
                ) as archive:
                    for entry in archive:
                        archive.members.clear()  # type: ignore[attr-defined]  # it keeps each one that it met
                        count += 1
                        if count > MAX_ENTRIES:
                            raise BuildError(f"{image} has more than {MAX_ENTRIES:,} files")
                        if not getattr(entry, "sparse", None):
                            yield archive, entry
            except UNREADABLE as error:
                raise BuildError(f"a layer of {image} cannot be read: {error}") from error
            inflated += plain.inflated


class _Plain:
    """A layer's tar out of gzip (one member or many) or as it is, in large pieces: gzip.py's are small."""

    def __init__(self, stream: BinaryIO, limit: int, image: str) -> None:
        self._stream = stream
        self._image = image
        self._limit = limit
        self.inflated = 0
        self._raw = stream.read(BLOCK)
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
            self._raw = self._raw or self._stream.read(BLOCK)
        self.inflated += len(out)
        if self.inflated > self._limit:
            raise BuildError(f"{self._image}'s layers are larger than {MAX_INFLATED >> 30} GiB")
        return bytes(out)

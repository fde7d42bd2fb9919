"""A deterministic layer: a tar in gzip members, so that streams which are already deflated are copied.

A gzip file may be many members one after the other (RFC 1952, 2.2). Content that a wheel holds as a deflate
stream becomes a member as it lies there; all else is compressed in members of 1 MiB by libdeflate, whose
version is pinned and whose output does not depend on the processor. Owner and times are zero.
"""

from __future__ import annotations

import hashlib
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import deflate

from publisher.errors import BuildError
from publisher.oci.layout import LAYER_GZIP, Descriptor

CHUNK = 1 << 20
PIECE = 16 << 20  # a deflate stream up to this size is inflated at once, a larger one in pieces of it
_WHOLE = 64 << 20  # ... and no entry that inflates to more than this is, to keep memory flat
_GZIP = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # no name, no time, unknown system
_STORED = 65535  # largest stored block (RFC 1951, 3.2.4)
_POOR = 0.97  # a chunk that shrinks less than this is kept as it is ...
_SKIP = 15  # ... and so are as many chunks after it: a model's weights seldom shrink


@dataclass(frozen=True, slots=True)
class Layer:
    """A finished layer: digest and size (bytes) of the compressed form, `diff_id` of the tar."""

    digest: str
    size: int
    diff_id: str

    def descriptor(self) -> Descriptor:
        return Descriptor(LAYER_GZIP, self.digest, self.size)


class LayerWriter:
    """Writes a layer to `sink`, entry by entry, in the order it is called. Paths have no leading slash."""

    def __init__(self, sink: BinaryIO, *, level: int = 1) -> None:
        self._sink = sink
        self._level = level
        self._digest = hashlib.sha256()
        self._diff = hashlib.sha256()
        self._size = 0
        self._pending = bytearray()  # tar bytes that are in no member yet
        self._skip = 0

    def directory(self, path: str, mode: int = 0o755, owner: int = 0) -> None:
        self._tar(header(path.rstrip("/") + "/", 0, mode, tarfile.DIRTYPE, owner=owner))

    def symlink(self, path: str, target: str) -> None:
        self._tar(header(path, 0, 0o777, tarfile.SYMTYPE, target))

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        self._tar(header(path, len(content), mode))
        self._tar(content)
        self._tar(bytes(-len(content) % 512))

    def stream(
        self,
        path: str,
        size: int,
        source: BinaryIO,
        mode: int = 0o644,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        """A file of `size` bytes read from `source`; raises BuildError when it is shorter or longer."""
        self._tar(header(path, size, mode))
        left = size
        # Read what fills a member, so that from the second one on nothing is copied.
        while chunk := source.read(CHUNK - len(self._pending)):
            left -= len(chunk)
            if left < 0:
                break
            self._tar(chunk)
            if on_bytes:
                on_bytes(len(chunk))
        if left:
            raise BuildError(
                f"{path} changed its size while it was read", hint="Try again when nothing writes to it."
            )
        self._tar(bytes(-size % 512))

    def deflated(self, path: str, size: int, crc: int, raw: Iterator[bytes], mode: int = 0o644) -> None:
        """A file whose content is at hand as a raw deflate stream with its CRC-32; copied, not recompressed.

        `raw` gives the stream in pieces of PIECE bytes. Raises BuildError where it does not inflate to `size`
        bytes, all of it.
        """
        self._tar(header(path, size, mode))
        if size:
            self._flush()
            first, trailer = next(raw, b""), struct.pack("<II", crc, size & 0xFFFFFFFF)
            try:
                if len(first) < PIECE and size <= _WHOLE:
                    member = b"".join((_GZIP, first, trailer))
                    # As gzip, so that the CRC is proven and nothing may follow the deflate stream.
                    content = deflate.gzip_decompress(member, size)
                    self._diff.update(content)
                    self._emit(member)
                else:
                    self._emit(_GZIP)
                    self._inflate(size, crc, chain([first], raw))
                    self._emit(trailer)
            except (deflate.DeflateError, zlib.error) as error:
                raise BuildError(
                    f"{path} does not inflate to the {size} bytes that its archive promises"
                ) from error
        self._tar(bytes(-size % 512))

    def close(self) -> Layer:
        """End the tar and the last member. The sink stays open."""
        self._tar(bytes(1024))
        self._flush()
        return Layer(f"sha256:{self._digest.hexdigest()}", self._size, f"sha256:{self._diff.hexdigest()}")

    def _inflate(self, size: int, crc: int, raw: Iterable[bytes]) -> None:
        engine, total, seen = zlib.decompressobj(-15), 0, 0
        for piece in raw:
            self._emit(piece)
            left = piece
            while left and total <= size:
                content = engine.decompress(left, PIECE)
                self._diff.update(content)
                seen = zlib.crc32(content, seen)
                total += len(content)
                left = engine.unconsumed_tail
        if total != size or seen != crc or not engine.eof or engine.unused_data:
            raise zlib.error(f"{total} bytes with CRC {seen:08x}")

    def _tar(self, content: bytes) -> None:
        if len(content) == CHUNK and not self._pending:
            # Of a large file: the two hashes, which are most of the work, on two processors.
            hashed = _aside().submit(self._diff.update, content)
            self._member(content)
            hashed.result()
            return
        self._diff.update(content)
        self._pending += content
        while len(self._pending) >= CHUNK:
            chunk = bytes(memoryview(self._pending)[:CHUNK])
            del self._pending[:CHUNK]
            self._member(chunk)

    def _flush(self) -> None:
        if self._pending:
            chunk = bytes(self._pending)
            self._pending.clear()
            self._member(chunk)

    def _member(self, chunk: bytes) -> None:
        trailer = struct.pack("<II", deflate.crc32(chunk), len(chunk))
        if self._skip:
            self._skip -= 1
        else:
            packed = deflate.deflate_compress(chunk, self._level)
            if len(packed) < len(chunk) * _POOR:
                return self._emit(_GZIP, packed, trailer)
            self._skip = _SKIP if len(chunk) == CHUNK else 0
        for part in (_GZIP, *stored(chunk), trailer):
            self._emit(part)
        return None

    def _emit(self, *parts: bytes | memoryview) -> None:
        member = parts[0] if len(parts) == 1 else b"".join(parts)
        self._digest.update(member)
        self._size += len(member)
        self._sink.write(member)


@cache
def _aside() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(4, thread_name_prefix="hash")


def stored(content: bytes) -> Iterator[bytes | memoryview]:
    """A deflate stream of stored blocks, in parts."""
    view = memoryview(content)
    for start in range(0, len(content), _STORED):
        block = view[start : start + _STORED]
        yield struct.pack("<BHH", start + _STORED >= len(content), len(block), len(block) ^ 0xFFFF)
        yield block


def header(
    path: str, size: int, mode: int, kind: bytes = tarfile.REGTYPE, target: str = "", *, owner: int = 0
) -> bytes:
    """The tar header of an entry: plain ustar where it fits, else with a PAX record before it."""
    name, link = path.encode("utf-8", "surrogateescape"), target.encode("utf-8", "surrogateescape")
    if len(name) <= 100 and len(link) <= 100 and size < 8**11 and path.isascii() and target.isascii():
        block = bytearray(
            b"%s%07o\0%07o\0%07o\0%011o\0%011o\0        %s%s"
            % (name.ljust(100, b"\0"), mode, owner, owner, size, 0, kind, link.ljust(100, b"\0"))
            + b"ustar\x0000"
        ).ljust(512, b"\0")
        block[148:156] = b"%06o\0 " % sum(block)
        return bytes(block)
    info = tarfile.TarInfo(path.rstrip("/"))
    info.size, info.mode, info.type, info.linkname, info.uid, info.gid = (
        size,
        mode,
        kind,
        target,
        owner,
        owner,
    )
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def write_layer(path: Path, fill: Callable[[LayerWriter], None], *, level: int = 1) -> Layer:
    """Write a layer into a file that appears under `path` only when it is whole."""
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb", buffering=CHUNK) as sink:
            writer = LayerWriter(sink, level=level)
            fill(writer)
            layer = writer.close()
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return layer

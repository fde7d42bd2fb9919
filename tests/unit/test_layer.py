"""Layers: what is written can be read by everybody, and the same input gives the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import tarfile
import zlib
from collections.abc import Callable

import pytest

from publisher.errors import BuildError
from publisher.oci.layer import PIECE, Layer, LayerWriter, stored
from tests import pinned


def written(fill: Callable[[LayerWriter], None]) -> tuple[Layer, bytes]:
    sink = io.BytesIO()
    writer = LayerWriter(sink)
    fill(writer)
    return writer.close(), sink.getvalue()


def raw_deflate(content: bytes) -> bytes:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return engine.compress(content) + engine.flush()


def test_entries_come_back_as_they_went_in() -> None:
    """Python's own tarfile reads every kind of entry back, with long and non-ASCII names and large files."""
    noise = random.Random(1).randbytes(3 << 20)
    text = b"a line of text\n" * 5000

    def fill(writer: LayerWriter) -> None:
        writer.directory("opt/venv", 0o755)
        writer.symlink("opt/venv/bin/python", "/usr/bin/python3.11")
        writer.file("x" * 120 + "/ü", b"long")
        writer.stream("noise", len(noise), io.BytesIO(noise))
        writer.deflated("text", len(text), zlib.crc32(text), iter([raw_deflate(text)]), 0o755)
        writer.deflated("empty", 0, 0, iter([b"\x03\x00"]))

    layer, data = written(fill)
    assert (layer.digest, layer.size) == ("sha256:" + hashlib.sha256(data).hexdigest(), len(data))
    plain = gzip.decompress(data)
    assert layer.diff_id == "sha256:" + hashlib.sha256(plain).hexdigest()
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        found = {entry.name: entry for entry in archive}
        assert list(found) == ["opt/venv", "opt/venv/bin/python", "x" * 120 + "/ü", "noise", "text", "empty"]
        assert found["opt/venv"].isdir()
        assert found["opt/venv/bin/python"].linkname == "/usr/bin/python3.11"
        assert archive.extractfile("noise").read() == noise  # type: ignore[union-attr]
        assert archive.extractfile("text").read() == text  # type: ignore[union-attr]
        assert (found["text"].mode, found["empty"].mode, found["empty"].size) == (0o755, 0o644, 0)
        assert {(e.uid, e.gid, e.mtime, e.uname) for e in found.values()} == {(0, 0, 0, "")}


def test_a_deflate_stream_is_copied() -> None:
    """The wheel's own compressed bytes lie in the layer as they are."""
    content = os.urandom(100) * 50
    raw = raw_deflate(content)
    _, data = written(lambda w: w.deflated("a", len(content), zlib.crc32(content), iter([raw])))
    assert raw in data


def test_a_large_deflate_stream_is_inflated_in_pieces() -> None:
    """A stream of several pieces has the diff_id of the whole, so that no member must fit into memory."""
    content = random.Random(2).randbytes(PIECE + 5_000_000)
    raw = raw_deflate(content)
    assert len(raw) > PIECE
    pieces = [raw[start : start + PIECE] for start in range(0, len(raw), PIECE)]
    layer, data = written(lambda w: w.deflated("big", len(content), zlib.crc32(content), iter(pieces)))
    assert layer.diff_id == "sha256:" + hashlib.sha256(gzip.decompress(data)).hexdigest()


@pytest.mark.parametrize("size", [10, 999, 1001, 5000])
def test_a_lying_size_is_refused(size: int) -> None:
    """A stream that does not inflate to the size that its archive names is an error, not a broken image."""
    content = b"a" * 1000
    with pytest.raises(BuildError, match="does not inflate"):
        written(lambda w: w.deflated("a", size, zlib.crc32(content), iter([raw_deflate(content)])))


@pytest.mark.parametrize("broken", ["crc", "junk", "cut"])
def test_a_broken_stream_is_refused(broken: str) -> None:
    """A wrong checksum, bytes after the stream, and a stream cut short are all found while it is copied."""
    content = b"content " * 500
    raw, crc = raw_deflate(content), zlib.crc32(content)
    raw = {"crc": raw, "junk": raw + b"junk", "cut": raw[:-3]}[broken]
    with pytest.raises(BuildError, match="does not inflate"):
        written(lambda w: w.deflated("a", len(content), crc ^ (broken == "crc"), iter([raw])))


def test_a_file_that_shrinks_is_refused() -> None:
    """A file that is shorter than its header says would shift everything behind it."""
    with pytest.raises(BuildError, match="changed its size"):
        written(lambda w: w.stream("a", 10, io.BytesIO(b"123")))


def test_stored_blocks_are_deflate() -> None:
    """zlib reads our stored blocks, at and around the limit of one block."""
    for length in (1, 65534, 65535, 65536, 200_000):
        content = os.urandom(length)
        assert zlib.decompress(b"".join(stored(content)), -15) == content


def test_the_bytes_are_pinned() -> None:
    """The digest of this layer never changes: not by machine, Python or run. Raise RECIPE where it must."""
    assert pinned.digest() == pinned.DIGEST

"""An OCI layout out of a pipe: what a builder sends becomes files of a layout, or an error."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from publisher.errors import BuildError, EngineError
from publisher.oci.layout_archive import receiving, unpack

BLOB = f"blobs/sha256/{'a' * 64}"


def archive(*entries: tuple[str, bytes | str]) -> bytes:
    """A tar of files, and of links where the content is a text."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        folder = tarfile.TarInfo("blobs/")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                tar.addfile(entry)
            else:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def test_a_layout_arrives(tmp_path: Path) -> None:
    """Its files are there when the pipe is closed."""
    folder = tmp_path / "layout"
    with receiving(folder) as sink:
        sink.write(archive(("./index.json", b"{}"), (BLOB, b"x" * 3_000_000), ("manifest.json", b"[]")))
    assert (folder / "index.json").read_bytes() == b"{}"
    assert (folder / BLOB).stat().st_size == 3_000_000


@pytest.mark.parametrize(
    "entry",
    [
        ("../outside", b"x"),
        ("/tmp/outside", b"x"),
        ("blobs/sha256/../../../outside", b"x"),
        ("blobs/sha256/short", b"x"),
        (BLOB, "/etc/passwd"),
        ("index.json", "../outside"),
        ("other", b"x"),
    ],
)
def test_nothing_but_a_layout(tmp_path: Path, entry: tuple[str, bytes | str]) -> None:
    """No other name, and no link: nothing is written beside the folder."""
    with pytest.raises(EngineError, match="no OCI layout"):
        unpack(io.BytesIO(archive(entry)), tmp_path / "a" / "layout")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()]


@pytest.mark.parametrize("content", [b"", b"no tar" * 500, archive((BLOB, b"x" * 5000))[:3000]])
def test_what_is_cut_short(tmp_path: Path, content: bytes) -> None:
    """A builder that was killed leaves half a tar."""
    with pytest.raises(EngineError, match="no OCI layout"), receiving(tmp_path / "layout") as sink:
        sink.write(content)


def test_the_writer_s_own_error_comes_first(tmp_path: Path) -> None:
    """That nothing arrived says less than why nothing was sent."""
    with pytest.raises(BuildError, match="RUN"), receiving(tmp_path / "layout"):
        raise BuildError("RUN failed")


def test_want_of_room_comes_before_it(tmp_path: Path) -> None:
    """A writer whose pipe is closed only says that it is."""
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError), receiving(tmp_path / "file" / "layout") as sink:
        try:
            for _ in range(100):
                sink.write(archive((BLOB, b"x" * 100_000)))
        except BrokenPipeError:
            raise BuildError("broken pipe") from None
        raise BuildError("the rest was not read")

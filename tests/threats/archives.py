"""Hostile archives, made entry by entry."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

KINDS = {
    "link": tarfile.SYMTYPE,
    "hard": tarfile.LNKTYPE,
    "folder": tarfile.DIRTYPE,
    "character device": tarfile.CHRTYPE,
    "block device": tarfile.BLKTYPE,
    "pipe": tarfile.FIFOTYPE,
}
Entry = tuple[str, str, bytes | str]  # kind, path, content or target


def layer(entries: Iterable[Entry], form: int = tarfile.PAX_FORMAT) -> io.BytesIO:
    """A gzip layer. PAX, for its names may be of any length and hold anything."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=form, encoding="utf-8") as archive:
        for kind, path, content in entries:
            info = tarfile.TarInfo(path)
            info.mode = 0o6777
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = KINDS[kind], content
                archive.addfile(info)
    return io.BytesIO(gzip.compress(sink.getvalue(), 1))


def raw_header(path: str, size: int, kind: bytes = tarfile.REGTYPE, **more: object) -> bytes:
    """One header that promises `size` bytes, whatever follows."""
    info = tarfile.TarInfo(path)
    info.size, info.type = size, kind
    for name, value in more.items():
        setattr(info, name, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def packed(*parts: bytes) -> io.BytesIO:
    return io.BytesIO(gzip.compress(b"".join(parts), 1))


@contextmanager
def untouched(folder: Path) -> Iterator[Path]:
    """A folder, deep below `folder`, to unpack into; nothing beside it may change."""
    deep = folder / "a" / "b" / "c" / "d"
    deep.mkdir(parents=True)
    for place in (folder, *deep.parents[:3], deep):
        (place / "canary").write_text("as it was")
    before = _state(folder)
    yield deep / "root"
    after = {path: kind for path, kind in _state(folder).items() if not path.startswith("a/b/c/d/root")}
    assert after == before


def _state(folder: Path) -> Mapping[str, object]:
    return {
        path.relative_to(folder).as_posix(): (path.lstat().st_mode, path.lstat().st_nlink)
        + ((path.read_bytes(),) if path.is_file() and not path.is_symlink() else ())
        for path in sorted(folder.rglob("*"))
        if not path.relative_to(folder).as_posix().startswith("a/b/c/d/root/")
        and path.relative_to(folder).as_posix() not in ("a/b/c/d", "a/b/c/d/root")
    }

"""The cache folder as a whole: how much lies in it, when each thing was used last, and what may go.

Other publishers use the folder meanwhile. A publication marks that it is under way (`in_use`), and marks each
thing that it finds there (`used`). What was used since the oldest of them began stays; and nothing goes between
being found and being marked, because both are done under one lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from publisher import scratch

# Of each folder: what lies in it, for people. Whatever else there is are notes.
KINDS = {
    "wheels": "wheels",
    "built": "built wheels",
    "blobs": "layers",
    "rootfs": "base images",
    "unpacked": "unpacked images",
    "logs": "build logs",
}
NOTES = "notes"
# Where a folder is one thing; its last use is that of a file directly in it.
_TREES = frozenset({"rootfs", "built", "unpacked"})
COMPLETE = ".complete"  # a file in a tree that is whole; marked when the tree is used
_MARK = "publication"
_LOCK = "lock"
_TURNS = "turns"  # locks (turns.py)
_SLACK = 60.0  # seconds; clocks of machines that share a folder differ


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, or a tree that is one thing. `size` in bytes; `used`: seconds since the epoch."""

    kind: str
    path: Path
    size: int
    used: float


@dataclass(frozen=True, slots=True)
class Trimmed:
    """In bytes: what was removed, what is left, and what of it could not go because somebody may need it."""

    removed: int
    left: int
    held: int


@dataclass(frozen=True, slots=True)
class CacheFolder:
    folder: Path

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """A publication is under way: what it uses from now on stays."""
        mark = scratch.below(self.folder).part(_MARK)
        mark.touch()
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)

    def used(self, path: Path) -> bool:
        """Mark `path` (of a tree: a file directly in it) as used now; False where it is not there."""
        with self._gate(fcntl.LOCK_SH):
            try:
                os.utime(path)
            except FileNotFoundError:
                return False
            except OSError:  # somebody else's, or on a read-only disk: then it does not go either
                return path.exists()
        return True

    def adopt(self, new: Path, folder: Path) -> None:
        """Give the finished tree `new` its real name, unless another publisher was faster: that one's may be in use."""
        for _ in range(2):
            try:
                new.rename(folder)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            else:
                return
            if (folder / COMPLETE).exists():
                return
            folder.rename(new.with_name("broken"))

    def keep(self, top: str, most: int) -> None:
        """Of the trees in the folder `top`, remove those beyond the `most` used last; what is in use stays."""
        since, paths = self._since(), list((self.folder / top).iterdir())
        if len(paths) > most:
            entries = [entry for path in paths if (entry := _entry(KINDS[top], path)) and entry.used < since]
            for entry in sorted(entries, key=lambda entry: entry.used)[: len(paths) - most]:
                self._remove(entry)

    def entries(self) -> list[Entry]:
        """Everything but what is being made, sorted by its last use."""
        found: list[Entry] = []
        for top in self._tops():
            kind = KINDS.get(top.name, NOTES)
            paths = top.iterdir() if top.name in _TREES else _files(top)
            found += [entry for path in paths if (entry := _entry(kind, path))]
        return sorted(found, key=lambda entry: entry.used)

    def trim(self, limit: int) -> Trimmed:
        """Remove what was not used for longest, until no more than `limit` bytes are left."""
        entries = self.entries()
        since = self._since()
        left, removed, held = sum(entry.size for entry in entries), 0, 0
        for entry in entries:
            if left <= limit:
                break
            if entry.used < since and self._remove(entry):
                left, removed = left - entry.size, removed + entry.size
            else:
                held += entry.size
        return Trimmed(removed, left, held)

    def _since(self) -> float:
        """When the oldest publication that is under way began; now, where there is none."""
        scratch.reap(self.folder)
        begun = [time.time()]
        for mark in self.folder.glob(f"{scratch.PREFIX}*/*-{_MARK}"):
            try:
                begun.append(mark.stat().st_mtime - _SLACK)
            except FileNotFoundError:
                continue
        return min(begun)

    def _remove(self, entry: Entry) -> bool:
        """False where it was used since it was listed, or cannot be removed."""
        aside = scratch.below(self.folder).part("trimmed")
        with self._gate(fcntl.LOCK_EX):
            now = _entry(entry.kind, entry.path)
            if now is None or now.used != entry.used:
                return now is None
            try:
                entry.path.rename(aside)
            except OSError:
                return False
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink()
        return True

    def _tops(self) -> list[Path]:
        try:
            found = sorted(self.folder.iterdir())
        except FileNotFoundError:
            return []
        return [
            path for path in found if path.is_dir() and not path.name.startswith((scratch.PREFIX, _TURNS))
        ]

    @contextmanager
    def _gate(self, how: int) -> Iterator[None]:
        # Opened anew each time: threads that shared a descriptor would share, and end, each other's locks.
        try:
            lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:  # a read-only folder: nobody removes anything there
            yield
            return
        try:
            with suppress(OSError):  # some network file systems have no locks: the slack has to do
                fcntl.flock(lock, how)
            yield
        finally:
            os.close(lock)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _entry(kind: str, path: Path) -> Entry | None:
    """None where it is gone, or is being made."""
    try:
        if not path.is_dir():
            found = path.lstat()
            return Entry(kind, path, found.st_size, found.st_mtime)
        size = sum(file.lstat().st_size for file in _files(path))
        used = max(file.lstat().st_mtime for file in path.iterdir() if file.is_file())
        return Entry(kind, path, size, used)
    except (OSError, ValueError):
        return None

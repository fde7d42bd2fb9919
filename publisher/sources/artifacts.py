"""Listing and downloading a version's files from any storage, trusting neither its names nor its sizes."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from publisher.errors import ArtifactError, HostError
from publisher.paths import clash, relative
from publisher.progress import Progress

MAX_ENTRIES = 200_000  # files and folders of one version
ATTEMPTS = 2
THREADS = 8
SPARE = 64 << 20  # bytes of the disk that a download leaves free
TASK = "fetch"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a listing: `path` from the storage's root, `size` in bytes (None: it does not tell)."""

    path: str
    size: int | None = None
    folder: bool = False


class Storage(Protocol):
    """Where files are. Both methods are called from several threads at once."""

    def list(self, path: str) -> Sequence[Entry]:
        """What lies directly in a folder ('' is the root); nothing where there is no such folder."""
        ...

    def read(self, path: str, into: Path, limit: int | None, advance: Callable[[int], None]) -> None:
        """Write a file's bytes into the file `into`, streaming; stop with ArtifactError beyond `limit`.

        Raises TransferError where the bytes ended too soon, so that a second attempt may help.
        """
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """A file to bring: from `path` of a storage to `destination` below the work folder."""

    storage: Storage
    path: str
    destination: str
    size: int | None


def walk(storage: Storage, folder: str, subject: str) -> list[Entry]:
    """All files below a folder, sorted by path; raises ArtifactError for a listing that cannot be trusted."""
    files: list[Entry] = []
    level, count = [folder], 0
    with ThreadPoolExecutor(THREADS) as pool:
        while level:
            below: list[str] = []
            for parent, entries in zip(level, pool.map(storage.list, level), strict=True):
                count += len(entries)
                if count > MAX_ENTRIES:
                    raise ArtifactError(f"{subject} has more than {MAX_ENTRIES:,} files and folders")
                for entry in entries:
                    check(entry, parent, subject)
                    if entry.folder:
                        below.append(entry.path)
                    else:
                        files.append(entry)
            level = below
    return sorted(files, key=lambda entry: entry.path)


def check(entry: Entry, parent: str, subject: str) -> None:
    """Raise ArtifactError unless the entry lies directly in `parent`, under a plain name, with a real size."""
    prefix = f"{parent}/" if parent else ""
    try:
        name = relative(entry.path).removeprefix(prefix)
        if not entry.path.startswith(prefix) or "/" in name:
            raise ValueError(f"it does not lie directly in {parent or 'the root'!r}")
        if entry.size is not None and entry.size < 0:
            raise ValueError(f"its size is {entry.size}")
    except ValueError as fault:
        raise ArtifactError(
            f"the listing of {subject} holds {entry.path[:120]!r}, which is refused: {fault}",
            hint="rename the artifact in its run and register the model again",
        ) from None


def download(items: Sequence[Item], root: Path, progress: Progress, subject: str) -> int:
    """Bring all items below `root`, an empty or absent folder; returns bytes. On failure `root` is emptied.

    Raises ArtifactError, TransferError; HostError where the disk has no room or refuses.
    """
    pair = clash(item.destination for item in items)
    if pair:
        raise ArtifactError(
            f"two files of {subject} differ only in case: {pair[0]!r} and {pair[1]!r}",
            hint="rename one of them: on macOS and Windows one would overwrite the other",
        )
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(root.iterdir()):
            raise HostError(f"the folder {root} is not empty", hint="empty it, or name another")
    except OSError as error:
        raise _host(error, root) from error
    total = sum(item.size or 0 for item in items)
    free = shutil.disk_usage(root).free
    if total + SPARE > free:
        raise HostError(
            f"{subject} has {total:,} bytes and the disk of {root} has {free:,} free",
            hint="free some space, or set TMPDIR to a larger disk",
        )
    progress.expect(subject, TASK, total)
    try:
        return _all(items, root, lambda amount: progress.advance(subject, TASK, amount), subject)
    except BaseException:
        for path in root.iterdir():
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
        raise


class _StoppedError(Exception):
    """Another file failed: nobody waits for this one any more."""


def _all(items: Iterable[Item], root: Path, advance: Callable[[int], None], subject: str) -> int:
    stop = threading.Event()

    def count(amount: int) -> None:
        if stop.is_set():
            raise _StoppedError
        advance(amount)

    # One iterator for all threads: of 100,000 files, as many futures took more memory than all else.
    waiting, turn = iter(items), threading.Lock()

    def work() -> int:
        done = 0
        while True:
            with turn:
                item = next(waiting, None)
            if item is None or stop.is_set():
                return done
            done += _one(item, root, count, subject)

    with ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(work) for _ in range(THREADS)]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            return sum(future.result() for future in futures)
        finally:
            stop.set()


def _one(item: Item, root: Path, advance: Callable[[int], None], subject: str) -> int:
    path = root / item.destination
    counted = 0

    def count(amount: int) -> None:
        nonlocal counted
        counted += amount
        advance(amount)

    for attempt in range(1, ATTEMPTS + 1):
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # O_EXCL: a name that is there already, a link above all, is never written through.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
            item.storage.read(item.path, path, item.size, count)
            return _size(path, item, subject)
        except ArtifactError:
            if attempt == ATTEMPTS:
                raise
            path.unlink()
            advance(-counted)
            counted = 0
        except OSError as error:
            raise _host(error, path) from error
    raise AssertionError("the last attempt returns or raises")


def _size(path: Path, item: Item, subject: str) -> int:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise ArtifactError(f"the file {item.destination} of {subject} is not a regular file")
    if item.size is not None and found.st_size != item.size:
        raise ArtifactError(
            f"the file {item.destination} of {subject} has {found.st_size:,} bytes and its listing says "
            f"{item.size:,}, twice",
            hint="log the artifact again: it is corrupt or was cut short",
        )
    path.chmod(0o600)  # some storages bring modes of their own: the same files come the same from each
    return found.st_size


def _host(error: OSError, path: Path) -> HostError:
    return HostError(
        f"cannot write {path}: {error.strerror or error}",
        hint="see that the disk has room and that the folder is writable",
    )

"""Folders for what is not finished yet: of each place that a process writes to, one folder is its own.

A process that is killed leaves its folder behind. Whoever comes next removes it, and knows from a lock that its
owner is gone: the kernel lets go of a lock with the process that held it, while a process number may be in use
again, and means nothing to another container that shares the place.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import itertools
import os
import re
import shutil
import stat
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "publisher-run-"
_NAME = re.compile(rf"{PREFIX}[A-Za-z0-9_]{{8}}")
_LOCK = "lock"
_OLD = 2 * 86400  # seconds; where locks do not work (some network file systems), age has to do
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(slots=True)
class Scratch:
    """A folder of this process alone; `lock` is held open for as long as the process lives."""

    folder: Path
    lock: int
    owner: int = field(default_factory=os.getpid)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def part(self, name: str) -> Path:
        """A path that nobody else has, for a file that is renamed to its real name when it is whole."""
        return self.folder / f"{next(self._numbers)}-{name[-100:]}"

    @property
    def claim(self) -> str:
        """Names this process to others: `abandoned` tells when it is gone. Empty where that cannot be known."""
        place = _place(self.folder.parent) if self.lock >= 0 else ""
        return f"{place}-{self.folder.name.removeprefix(PREFIX)}" if place else ""


_mine: dict[tuple[int, str], Scratch] = {}
_making = threading.Lock()


def below(parent: Path | None) -> Scratch:
    """This process's own folder below `parent` (None: the system's place for temporary files).

    Made when it is first asked for, removed when the process ends. Raises OSError where it cannot be made.
    """
    place = _parent(parent)
    key = os.getpid(), str(place)
    with _making:
        known = _mine.get(key)
        if known is None or not known.folder.is_dir():  # a cleaner of old temporary files may have come
            reap(place)
            place.mkdir(parents=True, exist_ok=True)
            _mine[key] = known = _make(place)
    return known


def reap(parent: Path | None) -> None:
    """Remove what processes that are gone left below `parent`. Raises nothing: the next one tries again."""
    try:
        found = [path for path in _parent(parent).iterdir() if _NAME.fullmatch(path.name)]
    except OSError:
        return
    for path in found:
        _remove(path)


def abandoned(claim: str, parent: Path | None) -> bool:
    """True when `claim` is of a process that worked below this very `parent`, on this very machine, and is gone."""
    place, _, name = claim.rpartition("-")
    folder = _parent(parent) / f"{PREFIX}{name}"
    if not place or place != _place(folder.parent) or not _NAME.fullmatch(folder.name):
        return False
    try:
        lock = _hold(folder, wait=False, make=False)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    except OSError:
        return False
    os.close(lock)
    return True


def _make(parent: Path) -> Scratch:
    while True:
        # mkdtemp: mode 0700, and never a folder that is there already
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        try:
            lock = _hold(folder, wait=True)
        except FileNotFoundError:
            continue  # taken for a leftover in the moment before it was locked
        except OSError:
            return Scratch(folder, -1)  # no locks here: its age protects it
        try:
            if (folder / _LOCK).stat().st_ino == os.fstat(lock).st_ino:
                return Scratch(folder, lock)
        except FileNotFoundError:
            pass
        os.close(lock)


def _hold(folder: Path, *, wait: bool, make: bool = True) -> int:
    """Lock a folder by the file in it, and return its descriptor; BlockingIOError where another one has it.

    A file and not the folder itself, because NFS locks only what is open for writing.
    """
    lock = os.open(
        folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if make else 0), 0o600
    )
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        os.close(lock)
        raise
    return lock


def _remove(folder: Path) -> None:
    lock = None
    try:
        found = folder.lstat()
    except OSError:
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    try:
        lock = _hold(folder, wait=False)
    except BlockingIOError:
        return
    except OSError:
        if time.time() - found.st_mtime < _OLD:
            return
    shutil.rmtree(folder, ignore_errors=True)
    if lock is not None:
        os.close(lock)


def _parent(parent: Path | None) -> Path:
    return parent.absolute() if parent else Path(tempfile.gettempdir())


def _place(parent: Path) -> str:
    """Which folder of which running system this is; containers have file systems, and so devices, of their own."""
    try:
        found = parent.stat()
        text = f"{_BOOT.read_text().strip()} {found.st_dev} {found.st_ino} {os.geteuid()}"
    except OSError:
        return ""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@atexit.register
def _end() -> None:
    for (process, _), scratch in _mine.items():
        if process == os.getpid():  # a fork has its parent's list, and not its folders
            shutil.rmtree(scratch.folder, ignore_errors=True)

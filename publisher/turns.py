"""One at a time for each key: among the threads of this process, and the processes that share a folder.

Nothing depends on it but speed: whoever waits finds done what it came for, and where locks do not work, or
somebody holds one for too long, the same work is done twice, to the same result.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PATIENCE = 900.0  # seconds; a process that was stopped in the middle holds its lock as long as it likes
_EVERY = 0.05  # seconds


def _ignore() -> None: ...


@contextmanager
def held(folder: Path, key: str, check: Callable[[], None] = _ignore) -> Iterator[None]:
    """Hold the turn for `key` while the block runs. `check` is called while it is waited for, and may raise."""
    path = folder / "turns" / hashlib.sha256(key.encode()).hexdigest()[:32]
    lock = _take(path, check)
    try:
        yield
    finally:
        if lock is not None:
            with suppress(OSError):
                path.unlink()  # while it is held: whoever waits for this file finds that it is no longer the one
            os.close(lock)


def _take(path: Path, check: Callable[[], None]) -> int | None:
    """The descriptor that holds the lock; None where there are no locks, or no patience left."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        try:
            lock = _try(path)
        except OSError:
            return None
        if lock is not None:
            return lock
        time.sleep(_EVERY)
        check()
    return None


def _try(path: Path) -> int | None:
    """The descriptor; None where somebody else has the lock, or had it and took the file away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    mine = False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = path.stat().st_ino == os.fstat(lock).st_ino
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        if not mine:
            os.close(lock)
    return lock if mine else None

"""Any exception as one of the tree in errors.py, so that every edge and every status tells it alike."""

from __future__ import annotations

import errno
import sys
import traceback
from pathlib import Path

from publisher.errors import EngineError, HostError, PublisherError

# What another moment may find otherwise: no room, no memory, no more files or processes.
OF_THE_MOMENT = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EIO}
)
_ROOM = {errno.ENOSPC, errno.EDQUOT}
_RIGHTS = {errno.EACCES, errno.EPERM, errno.EROFS}


def as_ours(error: BaseException) -> PublisherError:
    """`error` itself where it is ours, else what it means for a user; a plain PublisherError is a bug."""
    if isinstance(error, PublisherError):
        return error
    if isinstance(error, ModuleNotFoundError) and not (error.name or "publisher").startswith("publisher"):
        root = Path(__file__).resolve().parent.parent
        what = root if (root / "pyproject.toml").exists() else "--force-reinstall model-publisher"
        hint = f"Run: {sys.executable} -m pip install {what}"
        return EngineError(f"the Python package {error.name} is not installed", hint=hint)
    if isinstance(error, OSError) and error.errno in OF_THE_MOMENT | _RIGHTS:
        what = f"{error.filename or ('the disk' if error.errno in _ROOM else 'this host')}: {error.strerror}"
        folders = error.errno in _ROOM | _RIGHTS
        return HostError(
            what,
            hint="Free space, or choose another cache_folder and work_folder"
            if folders
            else "See its memory and its limits of open files and processes (ulimit -a)",
        )
    # The message may hold anything, a password too; the place is what a report needs.
    return PublisherError(
        f"this is a bug in publisher ({_place(error)})",
        hint="Please run again with --debug and report what it shows",
    )


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"

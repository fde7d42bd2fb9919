"""How a command ends: one line on stderr and an exit code for every way in which it can go wrong."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from publisher.errors import EngineError, HostError, PublisherError, SettingsError
from publisher.terminal import plain

BUG = 1
INTERRUPTED = 130  # 128 + SIGINT, as shells say it
READER_GONE = 141  # 128 + SIGPIPE

_HOST_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


def guarded(work: Callable[[], int], *, debug: bool = False) -> int:
    """Run `work`, which returns its exit code; never raises. With `debug`, errors show their traceback."""
    try:
        code = work()
        sys.stdout.flush()
    except KeyboardInterrupt:
        _tell("interrupted")
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_gone():
            return READER_GONE
        if debug:
            traceback.print_exc()
        return _explain(error)
    return code


def _explain(error: Exception) -> int:
    known = _known(error)
    if known is None:
        # The message may hold anything, a password too; the place is what a report needs.
        _tell(
            f"error: this is a bug in publisher ({_place(error)}). "
            "Please run again with --debug and report what it shows"
        )
        return BUG
    if isinstance(known, SettingsError) and len(known.faults) > 1:
        hint = f". {known.hint}" if known.hint else ""
        _tell(f"error: {len(known.faults)} faults in the settings{hint}", *known.faults)
    else:
        _tell(f"error: {known.line}", *known.detail.splitlines())
    return known.exit_code


def _known(error: Exception) -> PublisherError | None:
    if isinstance(error, PublisherError):
        return error
    if isinstance(error, ModuleNotFoundError) and not (error.name or "publisher").startswith("publisher"):
        root = Path(__file__).resolve().parent.parent
        what = root if (root / "pyproject.toml").exists() else "--force-reinstall model-publisher"
        hint = f"Run: {sys.executable} -m pip install {what}"
        return EngineError(f"the Python package {error.name} is not installed", hint=hint)
    if isinstance(error, OSError) and error.errno in _HOST_FAULTS:
        return HostError(
            f"{error.filename or 'the disk'}: {error.strerror}", hint="Free space, or choose another folder"
        )
    return None


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


def _tell(line: str, *details: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # a closed stderr leaves the exit code to tell it all
        print(plain(line), *(f"  {plain(detail)}" for detail in details), sep="\n", file=sys.stderr)


def _reader_gone() -> bool:
    """Whether it was our own output that broke, and not a connection or a tool's pipe."""
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # no real stream: a notebook, a test
        return False
    # Asked of the system: writing again would not tell, for what an unbuffered stream failed to write is gone.
    poll = select.poll()
    poll.register(output, 0)
    if not poll.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # the interpreter flushes once more, and would complain
    return True

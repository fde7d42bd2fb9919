"""How a command ends: one line on stderr and an exit code for every way in which it can go wrong."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import traceback
from collections.abc import Callable

from publisher.errors import SettingsError
from publisher.faults import as_ours
from publisher.redaction import redacted
from publisher.terminal import plain

BUG = 1
INTERRUPTED = 130  # 128 + SIGINT, as shells say it
READER_GONE = 141  # 128 + SIGPIPE


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
            sys.stderr.write(redacted("".join(traceback.format_exception(error))))
        return _explain(error)
    return code


def _explain(error: Exception) -> int:
    known = as_ours(error)
    if isinstance(known, SettingsError) and len(known.faults) > 1:
        hint = f". {known.hint}" if known.hint else ""
        _tell(f"error: {len(known.faults)} faults in the settings{hint}", *known.faults)
    else:
        _tell(f"error: {known.line}", *known.detail.splitlines())
    return known.exit_code


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

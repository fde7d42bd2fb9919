"""SIGTERM and Ctrl-C: the first one asks for a clean end at the next stage, the second one ends at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from publisher.running import Running

GRACE = 20.0  # seconds; Kubernetes kills 30 s after SIGTERM, and the claims must be given up before
_HEARD = (signal.SIGTERM, signal.SIGINT)


@dataclass(slots=True)
class Signals:
    """`number` is the first signal that came, 0 before; `tell` says one line to a person."""

    running: Running
    tell: Callable[[str], None]
    number: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def handle(self, number: int, _: FrameType | None) -> None:
        # Not here: the main thread, which this interrupts, may hold the very lock that an Event or a stream takes.
        threading.Thread(target=self._heard, args=(number,), daemon=True).start()

    def _heard(self, number: int) -> None:
        with self._lock:
            first, self.number = not self.number, self.number or number
        if not first:
            _end(number)
        self.running.stop.set()
        name = signal.Signals(number).name
        self.tell(f"{name}: ending after the stage at hand; once more ends at once")
        if number == signal.SIGTERM:
            time.sleep(GRACE)
            self.running.give_up()
            _end(number)


@contextmanager
def listening(running: Running, tell: Callable[[str], None]) -> Iterator[Signals]:
    """Let both signals stop `running` while the block runs. Only in the main thread."""
    signals = Signals(running, tell)
    before = {number: signal.signal(number, signals.handle) for number in _HEARD}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int) -> None:
    """End this process and all that it started, without waiting for anything."""
    for process in descendants(os.getpid()):
        with suppress(OSError):
            os.kill(process, signal.SIGKILL)
    with suppress(OSError, ValueError):
        if sys.stderr.isatty():
            sys.stderr.write("\x1b[?25h")  # a live display hides the cursor
            sys.stderr.flush()
    os._exit(128 + number)


def descendants(process: int) -> list[int]:
    """The processes that `process` has started, and theirs, as the kernel knows them; empty where it has no /proc."""
    found: list[int] = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, path.read_text().split()):
                found += [child, *descendants(child)]
    return found

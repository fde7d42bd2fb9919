"""Who may begin what needs memory, so that the sum stays below a limit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_EVERY = 0.2  # seconds between two looks at whether waiting still makes sense


def _ignore() -> None: ...


@dataclass(slots=True)
class Admission:
    """`limit` in bytes; None for none. Who comes first goes first, and one alone may always: it streams."""

    limit: int | None = None
    _used: int = 0
    _queue: list[object] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def held(self, need: int, check: Callable[[], None] = _ignore) -> Iterator[None]:
        """Hold `need` bytes while the block runs. `check` is called while they are waited for, and may raise."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                while self._queue[0] is not ticket or not self._fits(need):
                    self._changed.wait(_EVERY)
                    check()
                self._used += need
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._used -= need
                self._changed.notify_all()

    def _fits(self, need: int) -> bool:
        return self.limit is None or not self._used or self._used + need <= self.limit


PROCESS = 160 << 20  # bytes: this process with MLflow's client and everything else imported
PUBLICATION = 64 << 20  # bytes: buffers of its transfers, and uv, which locks a platform at a time
BUILD = 256 << 20  # bytes: one small environment in the making, for which there is always to be room
_MOST = 8  # publications at once; more of them only share the same network


def publications(processors: int, memory: int) -> int:
    """How many publications go on at once where nobody says it: half of their time they wait for the network."""
    return max(1, min(2 * processors, _MOST, (memory - PROCESS - BUILD) // PUBLICATION))


def for_builds(memory: int, parallel: int) -> int:
    """Bytes that are left for making layers."""
    return max(0, memory - PROCESS - parallel * PUBLICATION)

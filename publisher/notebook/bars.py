"""Progress where a person looks: as HTML in a notebook, as bars on a terminal, nowhere else."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from publisher.display import TerminalProgress
from publisher.domain import Outcome
from publisher.notebook import views
from publisher.progress import Progress, Silent, subject_of
from publisher.terminal import amount

_EVERY = 0.25  # seconds between two drawings: a notebook's page is drawn over a network


def in_notebook() -> bool:
    """Whether a kernel runs this, so that there is a page to draw on."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def watching(*, quiet: bool = False) -> Iterator[Progress]:
    """The progress of what happens inside; nothing of it stays on the page."""
    if quiet:
        yield Silent()
    elif in_notebook():
        from IPython.display import HTML, display  # noqa: PLC0415 - there is one, for a notebook's kernel has it

        page = display(HTML(""), display_id=True)
        try:
            yield HtmlProgress(lambda text: page.update(HTML(text)))
        finally:
            page.update(HTML(""))
    elif sys.stderr.isatty():
        with TerminalProgress(sys.stderr) as bars:
            yield bars
    else:
        yield Silent()


@dataclass(slots=True)
class _Line:
    stage: str = ""
    began: float = field(default_factory=time.monotonic)
    tasks: dict[str, list[int]] = field(default_factory=dict)  # task -> [done, total], in bytes


class HtmlProgress:
    """Listens to the pipeline, and gives HTML to `draw`. See progress.Progress."""

    def __init__(self, draw: Callable[[str], Any]) -> None:
        self._draw = draw
        self._lock = threading.RLock()
        self._lines: dict[str, _Line] = {}
        self._notes: list[str] = []
        self._drawn = 0.0

    def stage(self, subject: str, stage: str) -> None:
        with self._lock:
            line = self._lines.setdefault(subject, _Line())
            if line.stage != stage:
                line.stage, line.tasks = stage, {}
            self._show()

    def expect(self, subject: str, task: str, total: int) -> None:
        self._count(subject, task, 1, total)

    def advance(self, subject: str, task: str, amount: int) -> None:
        self._count(subject, task, 0, amount)

    def _count(self, subject: str, task: str, which: int, size: int) -> None:
        with self._lock:
            pair = self._lines.setdefault(subject, _Line()).tasks.setdefault(task, [0, 0])
            pair[which] = size if which else pair[which] + size
            self._show()

    def end(self, subject: str, stage: str, seconds: float, outcome: str) -> None:
        """The next stage tells it."""

    def note(self, subject: str, text: str, *, usual: bool = False) -> None:
        with self._lock:
            self._notes.append(f"{subject}: {text}" if subject else text)
            self._show()

    def line(self, subject: str, text: str) -> None:
        """What tools print is for logs: a notebook's page shows how far it is."""

    def done(self, outcome: Outcome) -> None:
        with self._lock:
            self._lines.pop(subject_of(outcome.version, outcome.target), None)
            self._show()

    def polled(self, counts: Mapping[str, int], seconds: float) -> None:
        """No notebook polls."""

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._drawn < _EVERY:
            return
        self._drawn = now
        self._draw(
            views.progress(
                [self._row(name, line, now) for name, line in self._lines.items()], self._notes[-5:]
            )
        )

    def _row(self, subject: str, line: _Line, now: float) -> views.Moving:
        done = sum(pair[0] for pair in line.tasks.values())
        total = sum(max(pair) for pair in line.tasks.values())
        moved = f"{amount(done)} of {amount(total)}" if total else ""
        return views.Moving(subject, line.stage, done / total if total else None, moved, now - line.began)

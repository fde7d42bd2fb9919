"""Progress on a terminal: live bars. Where there is none, logs.py tells it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from publisher.domain import Outcome
from publisher.progress import subject_of
from publisher.terminal import amount, plain

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_ROWS = 12  # a live display must stay lower than its terminal


class TerminalProgress:
    """Listens to the pipeline, and draws a bar for each version that is on its way. See progress.Progress."""

    def __init__(self, stream: TextIO) -> None:
        self._lock = threading.RLock()
        self._stages: dict[str, str] = {}
        self._bytes: dict[str, dict[str, list[int]]] = {}  # subject -> task -> [done, total]
        self._rows: dict[str, TaskID] = {}  # the most recently used last
        self._bars = _bars(stream)

    def __enter__(self) -> TerminalProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def stage(self, subject: str, stage: str) -> None:
        with self._lock:
            if self._stages.get(subject) != stage:
                self._stages[subject] = stage
                self._bytes[subject] = {}
                self._draw(subject)

    def expect(self, subject: str, task: str, total: int) -> None:
        with self._lock:
            self._bytes.setdefault(subject, {}).setdefault(task, [0, 0])[1] = total
            self._draw(subject)

    def advance(self, subject: str, task: str, amount: int) -> None:
        with self._lock:
            self._bytes.setdefault(subject, {}).setdefault(task, [0, 0])[0] += amount
            self._draw(subject)

    def end(self, subject: str, stage: str, seconds: float, outcome: str) -> None:
        """The next stage tells it."""

    def done(self, outcome: Outcome) -> None:
        subject = subject_of(outcome.version, outcome.target)
        with self._lock:
            if outcome.state in ("failed", "stopped"):
                self._line(f"{subject}: {outcome.reason}")
            for kept in (self._stages, self._bytes):
                kept.pop(subject, None)
            if (row := self._rows.pop(subject, None)) is not None:
                self._bars.remove_task(row)

    def polled(self, counts: Mapping[str, int], seconds: float) -> None:
        """The results on stdout tell it."""

    def note(self, subject: str, text: str, *, usual: bool = False) -> None:
        with self._lock:
            self._line(f"{subject}: {text}" if subject else text)

    def line(self, subject: str, text: str) -> None:
        with self._lock:
            self._line(f"  {text}", style="dim")

    def _moved(self, subject: str) -> str:
        done, total = self._sums(subject)
        return f"{amount(done)} of {amount(total)}" if total else ""

    def _sums(self, subject: str) -> tuple[int, int]:
        tasks = self._bytes.get(subject, {}).values()
        return sum(done for done, _ in tasks), sum(max(pair) for pair in tasks)

    def _draw(self, subject: str) -> None:
        done, total = self._sums(subject)
        row = self._rows.pop(subject, None)
        if row is None:
            if len(self._rows) == _ROWS:  # the one that has been silent for longest makes room
                self._bars.remove_task(self._rows.pop(next(iter(self._rows))))
            row = self._bars.add_task(plain(subject), total=None, stage="", moved="")
        self._rows[subject] = row
        self._bars.update(
            row,
            total=total or None,
            completed=done,
            stage=plain(self._stages.get(subject, "")),
            moved=self._moved(subject),
        )

    def _line(self, text: str, style: str = "") -> None:
        from rich.text import Text  # noqa: PLC0415 - for terminals only

        self._bars.console.print(Text(plain(text), style))


def _bars(stream: TextIO) -> RichProgress:
    from rich.console import Console  # noqa: PLC0415 - for terminals only
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[stage]}", markup=False, style="cyan"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[moved]}", markup=False),
        TimeElapsedColumn(),
        console=Console(file=stream, force_terminal=True, highlight=False, markup=False, emoji=False),
        transient=True,
    )

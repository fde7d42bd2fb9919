"""What a person sees: progress on stderr, results on stdout.

Plain lines wherever the stream is no terminal, so that a pod's log has no control sequences, and rich, which
takes a tenth of a second to import, is imported for terminals only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from publisher.domain import ModelVersion, Outcome
from publisher.json_output import stamp
from publisher.progress import subject_of

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID
    from rich.text import Text

    from publisher.wiring import StatusRow

_STYLES = {
    "published": "green",
    "failed": "bold red",
    "skipped": "dim",
    "planned": "cyan",
    "publishing": "cyan",
}
_UNITS = ("B", "kB", "MB", "GB", "TB")
_ROWS = 12  # a live display must stay lower than its terminal
_EVERY = 10.0  # seconds between two lines about the same stage's bytes in a log


def plain(text: str) -> str:
    """`text` on one line, with control, bidirectional and other invisible characters spelled out.

    Names, tags and what servers say come from others: an escape sequence in them must not reach a terminal.
    """
    line = text.replace("\n", " ").replace("\t", " ")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def amount(size: int) -> str:
    """Bytes for people: ``12.3 MB``."""
    value, unit = float(size), 0
    while value >= 999.95 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{size} B"


class TerminalProgress:
    """Listens to the pipeline: live bars on a terminal, else a line per stage. See progress.Progress."""

    def __init__(
        self, stream: TextIO, *, live: bool | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`live`: whether to draw; None asks the stream whether it is a terminal."""
        self._stream = stream
        self._clock = clock
        self._lock = threading.RLock()
        self._stages: dict[str, str] = {}
        self._bytes: dict[str, dict[str, list[int]]] = {}  # subject -> task -> [done, total]
        self._told: dict[str, float] = {}
        self._rows: dict[str, TaskID] = {}  # the most recently used last
        self._bars = _bars(stream) if (stream.isatty() if live is None else live) else None

    def __enter__(self) -> TerminalProgress:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def stage(self, subject: str, stage: str) -> None:
        with self._lock:
            if self._stages.get(subject) == stage:
                return
            self._stages[subject] = stage
            self._bytes[subject] = {}
            self._told[subject] = self._clock()
            if self._bars:
                self._draw(subject)
            else:
                self._line(f"{subject}: {stage}")

    def expect(self, subject: str, task: str, total: int) -> None:
        with self._lock:
            self._bytes.setdefault(subject, {}).setdefault(task, [0, 0])[1] = total
            self._draw(subject)

    def advance(self, subject: str, task: str, amount: int) -> None:
        with self._lock:
            self._bytes.setdefault(subject, {}).setdefault(task, [0, 0])[0] += amount
            self._draw(subject)
            now = self._clock()
            if not self._bars and now - self._told.setdefault(subject, now) >= _EVERY:
                self._told[subject] = now
                self._line(f"{subject}: {self._stages.get(subject, '')} {self._moved(subject)}")

    def note(self, subject: str, text: str) -> None:
        with self._lock:
            self._line(f"{subject}: {text}" if subject else text)

    def _moved(self, subject: str) -> str:
        done, total = self._sums(subject)
        return f"{amount(done)} of {amount(total)}" if total else ""

    def _sums(self, subject: str) -> tuple[int, int]:
        tasks = self._bytes.get(subject, {}).values()
        return sum(done for done, _ in tasks), sum(max(pair) for pair in tasks)

    def _draw(self, subject: str) -> None:
        if not self._bars:
            return
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

    def _line(self, text: str) -> None:
        if self._bars:
            from rich.text import Text  # noqa: PLC0415 - for terminals only

            self._bars.console.print(Text(plain(text)))
            return
        try:
            self._stream.write(f"{plain(text)}\n")
            self._stream.flush()
        except (OSError, ValueError):  # the reader of stderr is gone; the work goes on
            pass


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


class _Paper:
    """Lines with one coloured word, on a terminal or not."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._console: Any = None
        if stream.isatty():
            from rich.console import Console  # noqa: PLC0415 - for terminals only

            self._console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def line(self, before: str, word: str = "", after: str = "") -> None:
        parts = plain(before), plain(word), plain(after)
        if self._console is None:
            self._stream.write(f"{_joined(*parts)}\n")
            return
        from rich.text import Text  # noqa: PLC0415 - for terminals only

        text: Text = Text(_joined(*parts))
        start = len(parts[0]) + 1 if parts[0] else 0
        text.stylize(_STYLES.get(word, ""), start, start + len(parts[1]))
        self._console.print(text)


def _joined(before: str, word: str, after: str) -> str:
    return " ".join(part for part in (before, word) if part) + (f", {after}" if after else "")


def print_outcomes(outcomes: Sequence[Outcome], stream: TextIO) -> None:
    """A line that sums up, then a line for each version and target."""
    paper = _Paper(stream)
    paper.line(_summary(outcomes))
    for outcome in outcomes:
        paper.line(f"{subject_of(outcome.version, outcome.target)}:", outcome.state, _about(outcome))


def _summary(outcomes: Sequence[Outcome]) -> str:
    versions = len({(o.version.name, o.version.version) for o in outcomes})
    if not outcomes:
        return "nothing to do: no model version carries the tag of a target"
    if all(outcome.state == "skipped" for outcome in outcomes):
        return f"nothing to do: {versions} version{'s' if versions > 1 else ''}"
    states = [outcome.state for outcome in outcomes]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def _about(outcome: Outcome) -> str:
    image = f"{outcome.image}@{outcome.digest}" if outcome.image and outcome.digest else outcome.image
    if outcome.state in ("failed", "skipped"):
        return outcome.reason
    parts = [image] if image else []
    if outcome.state == "planned" or not image:
        parts.append(outcome.reason)
    if outcome.seconds:
        # "build: download" is a part of "build".
        stages = {stage: seconds for stage, seconds in outcome.seconds.items() if ": " not in stage}
        shown = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in stages.items())
        parts.append(f"{sum(stages.values()):.1f} s ({shown})")
    if outcome.state == "published":
        parts.append(f"sent {amount(outcome.sent)}")
    if outcome.downloaded:
        parts.append(f"downloaded {amount(outcome.downloaded)}")
    return ", ".join(parts)


def print_status(rows: Sequence[StatusRow], stream: TextIO) -> None:
    """A line for each version and target: what its status tags say, and what the next poll would do."""
    paper = _Paper(stream)
    if not rows:
        paper.line("no model version carries the tag of a target")
    for row in rows:
        status = row.status
        parts = []
        if status:
            image = f"{status.image}@{status.digest}" if status.digest else status.image
            parts = [image if status.state == "published" else status.reason or image, stamp(status.updated)]
        parts.append(f"next poll: {row.decision.action}, {row.decision.reason}")
        state = status.state if status else "not published"
        paper.line(f"{subject_of(row.version, row.target)}:", state, ", ".join(filter(None, parts)))


def print_downloads(found: Iterable[tuple[ModelVersion, Path]], stream: TextIO) -> None:
    """A line for each version and its folder."""
    paper = _Paper(stream)
    count = 0
    for count, (version, folder) in enumerate(found, 1):  # noqa: B007 - its last value tells whether there was one
        paper.line(f"{version}: {folder}")
    if not count:
        paper.line("nothing to download: no model version carries the tag of a target")

"""What a publisher tells where nobody watches: one event for each stage and each outcome, as JSON or as text.

structlog, which takes a tenth of a second to import, is imported with the first event that is written.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from types import TracebackType
from typing import Any, Literal, TextIO

from publisher.domain import Outcome
from publisher.progress import Subject, subject_of
from publisher.redaction import redacted
from publisher.terminal import plain

Format = Literal["json", "text"]
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_EVERY = 30.0  # seconds between two events of one stage that goes on
_OF_OUTCOMES = {"failed": "error", "stopped": "warning", "skipped": "debug"}


class LogProgress:
    """Listens to the pipeline, and to what libraries log. See progress.Progress."""

    def __init__(
        self,
        stream: TextIO,
        form: Format,
        level: str = "info",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._format = form
        self._level = LEVELS[level]
        self._clock = clock
        self._lock = threading.RLock()
        self._bytes: dict[str, dict[str, list[int]]] = {}  # subject -> task -> [done, total]
        self._stages: dict[str, str] = {}
        self._told: dict[str, float] = {}
        self._before: list[logging.Handler] = []

    def __enter__(self) -> LogProgress:
        root = logging.getLogger()
        self._before, root.handlers = root.handlers, [_Foreign(self)]
        logging.captureWarnings(True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.captureWarnings(False)
        logging.getLogger().handlers = self._before

    def stage(self, subject: str, stage: str) -> None:
        with self._lock:
            self._bytes[subject], self._stages[subject] = {}, stage
            self._told[subject] = self._clock()
        # Of a version's stage the end is told; other work has only beginnings.
        level = "debug" if isinstance(subject, Subject) else "info"
        self.event(level, "begin", **_about(subject), stage=stage)

    def expect(self, subject: str, task: str, total: int) -> None:
        with self._lock:
            self._bytes.setdefault(subject, {}).setdefault(task, [0, 0])[1] = total

    def advance(self, subject: str, task: str, amount: int) -> None:
        with self._lock:
            self._bytes.setdefault(subject, {}).setdefault(task, [0, 0])[0] += amount
            now = self._clock()
            if now - self._told.setdefault(subject, now) < _EVERY:
                return
            self._told[subject] = now
            done, total = self._sums(subject)
        stage = self._stages.get(subject, "")
        self.event("info", "progress", **_about(subject), stage=stage, bytes=done, total=total)

    def end(self, subject: str, stage: str, seconds: float, outcome: str) -> None:
        with self._lock:
            done, _ = self._sums(subject)
        self.event(
            "info",
            "stage",
            **_about(subject),
            stage=stage,
            seconds=round(seconds, 3),
            bytes=done,
            outcome=outcome,
        )

    def note(self, subject: str, text: str, *, usual: bool = False) -> None:
        self.event("info" if usual else "warning", text, **_about(subject))

    def line(self, subject: str, text: str) -> None:
        self.event("debug", text, **_about(subject), stage=self._stages.get(subject, ""))

    def done(self, outcome: Outcome) -> None:
        subject = subject_of(outcome.version, outcome.target)
        with self._lock:
            for kept in (self._bytes, self._stages, self._told):
                kept.pop(subject, None)
        facts = {
            "reason": outcome.reason,
            "image": outcome.image,
            "digest": outcome.digest,
            "sent": outcome.sent,
            "downloaded": outcome.downloaded,
            "exit_code": outcome.exit_code,
            "detail": outcome.detail,
        }
        # "build: download" is a part of "build".
        seconds = sum(spent for stage, spent in outcome.seconds.items() if ": " not in stage)
        self.event(
            _OF_OUTCOMES.get(outcome.state, "info"),
            outcome.state,
            **_about(subject),
            seconds=round(seconds, 3),
            **{key: value for key, value in facts.items() if value},
        )

    def polled(self, counts: Mapping[str, int], seconds: float) -> None:
        self.event("info", "poll", seconds=round(seconds, 3), **counts)

    def event(self, level: str, event: str, **facts: Any) -> None:
        """Write one event, unless it is below the level that was asked for."""
        if LEVELS[level] < self._level:
            return
        if self._format == "text":  # a line break in a name must not make a line of its own
            event = plain(event)
            facts = {
                key: plain(value) if isinstance(value, str) and key != "exception" else value
                for key, value in facts.items()
            }
        getattr(self._logger, level)(event, **facts)

    def _sums(self, subject: str) -> tuple[int, int]:
        tasks = self._bytes.get(subject, {}).values()
        return sum(done for done, _ in tasks), sum(max(pair) for pair in tasks)

    @cached_property
    def _logger(self) -> Any:
        import structlog  # noqa: PLC0415

        render: Any = structlog.processors.JSONRenderer()
        if self._format == "text":
            render = structlog.dev.ConsoleRenderer(colors=False)
        return structlog.wrap_logger(
            _Sink(self._stream, self._lock, self._format),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                render,
            ],
            wrapper_class=structlog.BoundLogger,
        )


class _Sink:
    """Where every line goes: no secret passes, and the reader of the stream may be gone."""

    def __init__(self, stream: TextIO, lock: Any, form: Format) -> None:
        self._stream = stream
        self._lock = lock
        self._format = form

    def write(self, line: str) -> None:
        # A JSON line is ASCII, and its control characters are escaped; a text line is made so.
        shown = redacted(line) if self._format == "json" else "\n".join(map(plain, line.split("\n")))
        with self._lock:
            try:
                self._stream.write(f"{shown}\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass

    debug = info = warning = error = write


class _Foreign(logging.Handler):
    """What libraries log, and Python's warnings, as events beside ours."""

    def __init__(self, progress: LogProgress) -> None:
        super().__init__()
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        facts: dict[str, Any] = {"logger": record.name}
        if record.exc_info:
            facts["exception"] = logging.Formatter().formatException(record.exc_info)
        known = [name for name, number in LEVELS.items() if number <= record.levelno]
        self._progress.event(known[-1] if known else "debug", record.getMessage(), **facts)


def of_stream(stream: TextIO, wanted: str) -> Format | None:
    """The format for `wanted` (auto, text, json); None where a terminal is there to be drawn on."""
    if wanted == "auto":
        return None if stream.isatty() else "json"
    return "json" if wanted == "json" else "text"


def _about(subject: str) -> dict[str, str]:
    if isinstance(subject, Subject):
        return {"model": subject.model, "version": subject.version, "target": subject.target}
    return {"subject": subject} if subject else {}

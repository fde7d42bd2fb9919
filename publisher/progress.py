"""How stages tell what they are doing. The terminal, a log and the tests each listen in their own way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from publisher.domain import ModelVersion, Outcome


class Progress(Protocol):
    """Called from several threads at once. A listener never raises."""

    def stage(self, subject: str, stage: str) -> None:
        """`subject` (a model version and a target) entered `stage`: fetch, lock, build, push …"""
        ...

    def expect(self, subject: str, task: str, total: int) -> None:
        """A task of `total` bytes starts, or its total grew."""
        ...

    def advance(self, subject: str, task: str, amount: int) -> None:
        """`amount` more bytes of the task are done."""
        ...

    def end(self, subject: str, stage: str, seconds: float, outcome: str) -> None:
        """`stage` took so long and is done, or failed."""
        ...

    def note(self, subject: str, text: str, *, usual: bool = False) -> None:
        """One line that a person should see: a decision, a warning; `usual`: nothing is wrong."""
        ...

    def line(self, subject: str, text: str) -> None:
        """A line that a tool printed while it works: for those who watch."""
        ...

    def done(self, outcome: Outcome) -> None:
        """What became of a version for a target. Nothing more comes of this subject."""
        ...

    def polled(self, counts: Mapping[str, int], seconds: float) -> None:
        """A poll has looked at everything; `counts`: outcomes by their state."""
        ...


class Subject(str):
    """What progress calls a version on its way to a target: a text for people, with its parts for a log."""

    __slots__ = ("model", "target", "version")
    model: str
    version: str
    target: str


def subject_of(version: ModelVersion, target: str) -> Subject:
    """What progress calls a version on its way to a target."""
    subject = Subject(f"{version} → {target}")
    subject.model, subject.version, subject.target = version.name, version.version, target
    return subject


class Silent:
    """Listens to nothing."""

    def stage(self, subject: str, stage: str) -> None: ...

    def expect(self, subject: str, task: str, total: int) -> None: ...

    def advance(self, subject: str, task: str, amount: int) -> None: ...

    def end(self, subject: str, stage: str, seconds: float, outcome: str) -> None: ...

    def note(self, subject: str, text: str, *, usual: bool = False) -> None: ...

    def line(self, subject: str, text: str) -> None: ...

    def done(self, outcome: Outcome) -> None: ...

    def polled(self, counts: Mapping[str, int], seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Both:
    """Two listeners that hear the same."""

    first: Progress
    second: Progress

    def stage(self, subject: str, stage: str) -> None:
        self.first.stage(subject, stage)
        self.second.stage(subject, stage)

    def expect(self, subject: str, task: str, total: int) -> None:
        self.first.expect(subject, task, total)
        self.second.expect(subject, task, total)

    def advance(self, subject: str, task: str, amount: int) -> None:
        self.first.advance(subject, task, amount)
        self.second.advance(subject, task, amount)

    def end(self, subject: str, stage: str, seconds: float, outcome: str) -> None:
        self.first.end(subject, stage, seconds, outcome)
        self.second.end(subject, stage, seconds, outcome)

    def note(self, subject: str, text: str, *, usual: bool = False) -> None:
        self.first.note(subject, text, usual=usual)
        self.second.note(subject, text, usual=usual)

    def line(self, subject: str, text: str) -> None:
        self.first.line(subject, text)
        self.second.line(subject, text)

    def done(self, outcome: Outcome) -> None:
        self.first.done(outcome)
        self.second.done(outcome)

    def polled(self, counts: Mapping[str, int], seconds: float) -> None:
        self.first.polled(counts, seconds)
        self.second.polled(counts, seconds)


def _go_on() -> None: ...


@dataclass(frozen=True, slots=True)
class Report:
    """A Progress for one subject, as a stage is given it."""

    progress: Progress
    subject: str
    check: Callable[[], None] = (
        _go_on  # raises where the work shall end; for whoever waits, or begins something long
    )

    def stage(self, stage: str) -> None:
        self.progress.stage(self.subject, stage)

    def expect(self, task: str, total: int) -> None:
        self.progress.expect(self.subject, task, total)

    def advance(self, task: str, amount: int) -> None:
        self.progress.advance(self.subject, task, amount)

    def end(self, stage: str, seconds: float, outcome: str) -> None:
        self.progress.end(self.subject, stage, seconds, outcome)

    def note(self, text: str, *, usual: bool = False) -> None:
        self.progress.note(self.subject, text, usual=usual)

    def line(self, text: str) -> None:
        self.progress.line(self.subject, text)

"""What the way of a version is made of, and the clock that it goes by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from publisher.builders.base import Builder, Memory
from publisher.builders.bases import Bases
from publisher.contexts import Contexts
from publisher.destinations.base import Destination
from publisher.domain import Target
from publisher.environments.lock import Resolver
from publisher.progress import Progress, Report
from publisher.proving import Proving
from publisher.running import Running, Watch
from publisher.sources.base import Source

if TYPE_CHECKING:  # it needs the extra `kubernetes`
    from publisher.cluster.fan import Fan


@dataclass(frozen=True, slots=True)
class Stages:
    """What the way is made of; wiring.py puts it together."""

    source: Source
    bases: Bases
    resolver: Resolver
    builders: Mapping[str, Builder]
    contexts: Contexts
    memory: Memory  # on this machine
    proving: Proving
    destination: Callable[[Target], Destination]
    progress: Progress
    work_folder: Path | None
    now: Callable[[], datetime]
    running: Running = field(default_factory=Running)
    deadline: timedelta | None = None  # of targets that have none
    fan: Callable[[], Fan] | None = None  # who has images built elsewhere; None: they are built here
    # While this lasts, the cache of this machine loses nothing that is used.
    holding: Callable[[], AbstractContextManager[None]] = nullcontext


def memories(stages: Stages, destination: Destination) -> list[Memory]:
    """Where earlier builds are found: on this machine first."""
    return [place for place in (stages.memory, destination.memory()) if place]


@dataclass(slots=True)
class Clock:
    """How long each stage took, in seconds, and whether the next one may begin."""

    report: Report
    watch: Watch
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.watch.enter(name)
        with self.always(name):
            yield

    @contextmanager
    def always(self, name: str) -> Iterator[None]:
        """A stage behind the commit point: whoever has come so far goes to the end."""
        self.report.stage(name)
        begin, outcome = time.monotonic(), "failed"
        try:
            yield
            outcome = "done"
        finally:
            seconds = time.monotonic() - begin
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
            self.report.end(name, seconds, outcome)

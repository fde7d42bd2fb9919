"""What this process is at: whether it is asked to stop, which versions it has claimed, and for how long it may go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from publisher.errors import DeadlineError, StoppedError
from publisher.quantities import shown


@dataclass(slots=True)
class Running:
    """One for the process, or for as long as its polls follow one another. Safe for several threads.

    `claims`: by subject, how to give up what this process has said in MLflow to be at. `away`: MLflow failed us in
    the middle of a poll, which then begins nothing more.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    claims: dict[str, Callable[[], None]] = field(default_factory=dict)
    away: bool = False

    def give_up(self) -> None:
        """Give up every claim, as far as MLflow lets us."""
        for release in list(self.claims.values()):
            release()


@dataclass(slots=True)
class Watch:
    """How long one piece of work may go on. `clock` in seconds."""

    running: Running
    limit: timedelta | None = None
    clock: Callable[[], float] = time.monotonic
    begin: float = 0.0
    stage: str = ""  # the one that was entered last

    def __post_init__(self) -> None:
        self.begin = self.clock()

    def check(self) -> None:
        """Raise StoppedError where the process is asked to stop, DeadlineError where the time is over."""
        if self.running.stop.is_set():
            raise StoppedError(f"stopped {self._where()}: the publisher was asked to end")
        left = self.left()
        if self.limit is not None and left is not None and left <= 0:
            raise DeadlineError(
                f"not done within its deadline of {shown(self.limit)}: its time was over {self._where()}",
                hint="The next try comes by itself; a longer `deadline` of the target gives it more time.",
            )

    def enter(self, stage: str) -> None:
        """The boundary before `stage`. Raises as `check`."""
        self.check()
        self.stage = stage

    def left(self) -> float | None:
        """Seconds until the deadline; None where there is none."""
        return None if self.limit is None else self.limit.total_seconds() - (self.clock() - self.begin)

    def _where(self) -> str:
        return f"in the stage {self.stage}" if self.stage else "before its first stage"

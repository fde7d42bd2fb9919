"""One poll, and polls one after the other."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from publisher.cli import outcomes
from publisher.domain import Outcome
from publisher.errors import SOME_FAILED, ModelRegistryError, PublisherError, StoppedError
from publisher.faults import as_ours
from publisher.health import Health
from publisher.progress import Progress
from publisher.quantities import shown
from publisher.running import Running

if TYPE_CHECKING:
    from publisher.app import App


def exit_code(done: Sequence[Outcome], running: Running) -> int:
    """Of a poll: why it ended before its end, else whether some versions failed."""
    if running.stop.is_set():
        return StoppedError.exit_code
    if running.away:
        return ModelRegistryError.exit_code
    return SOME_FAILED if any(outcome.state == "failed" for outcome in done) else 0


@dataclass(slots=True)
class Polls:
    """`connect` makes a connection for one poll: what a base image or a credential is, is asked anew each time."""

    connect: Callable[[], AbstractContextManager[App]]
    progress: Progress
    running: Running
    json: bool
    health: Health | None = None
    _begun: bool = False

    def once(self) -> int:
        """Poll, print what became of each version, and return the exit code."""
        done = self._poll()
        outcomes.show(done, json=self.json)
        return exit_code(done, self.running)

    def forever(self, every: timedelta, jitter: timedelta) -> int:
        """Poll until the process is asked to stop, and print what was done; returns 0.

        A poll that cannot be done is skipped. Only at the first one, what no later poll can mend is raised.
        """
        from publisher import schedule

        schedule.repeat(lambda: self._next(every), every, self.running.stop, jitter=jitter)
        return 0

    def _next(self, every: timedelta) -> None:
        try:
            done = self._poll()
        except Exception as error:
            fault = as_ours(error)
            if not self._begun and not fault.retryable:
                raise
            self._skipped(fault, every)
            return
        finally:
            self._begun = True
        acted = [outcome for outcome in done if outcome.state != "skipped"]
        if acted:
            outcomes.show(acted, json=self.json)

    def _poll(self) -> list[Outcome]:
        begin = time.monotonic()
        with self.connect() as app:
            done = app.poll()
        if not (self.running.away or self.running.stop.is_set()):
            self.progress.polled(Counter(outcome.state for outcome in done), time.monotonic() - begin)
        return done

    def _skipped(self, fault: PublisherError, every: timedelta) -> None:
        self.progress.note("", f"this poll is skipped: {fault.line} (the next one comes in {shown(every)})")
        if self.health:
            self.health.skipped(fault.line)

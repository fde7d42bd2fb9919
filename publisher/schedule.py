"""Polls one after the other, never two at once, until the process is asked to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import schedule


def repeat(
    work: Callable[[], None], every: timedelta, stop: threading.Event, *, jitter: timedelta = timedelta(0)
) -> None:
    """Call `work` at once, and again `every` so long after its end, plus up to `jitter`, until `stop` is set.

    What `work` raises ends it.
    """
    shortest, longest = (max(1, round(time.total_seconds())) for time in (every, every + jitter))
    scheduler = schedule.Scheduler()
    scheduler.every(shortest).to(longest).seconds.do(work)
    scheduler.run_all()
    while not stop.is_set():
        idle = scheduler.idle_seconds or 0.0
        # The scheduler goes by the local clock, which summer time or an operator sets back: an hour's silence.
        set_back = idle > longest
        if not stop.wait(longest if set_back else max(0.0, idle)):
            scheduler.run_all() if set_back else scheduler.run_pending()

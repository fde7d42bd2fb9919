"""Polls follow one another: the first at once, never two at a time, until somebody says stop."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
import schedule as library

from publisher.schedule import repeat


def test_the_first_at_once_and_then_a_period_after_each_end() -> None:
    """Work that lasts longer than the period is never begun twice at once, and the wait begins at its end."""
    stop, spans = threading.Event(), []

    def work() -> None:
        begin = time.monotonic()
        time.sleep(0.3)
        spans.append((begin, time.monotonic()))
        if len(spans) == 3:
            stop.set()

    begun = time.monotonic()
    repeat(work, timedelta(seconds=1), stop)
    assert spans[0][0] - begun < 0.9
    for before, after in pairwise(spans):
        assert 0.9 < after[0] - before[1] < 1.9


def test_stop_ends_the_wait() -> None:
    """Nobody waits for the end of a period of an hour."""
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    begun, calls = time.monotonic(), []
    repeat(lambda: calls.append(1), timedelta(hours=1), stop)
    assert time.monotonic() - begun < 20
    assert len(calls) == 1


def test_what_work_raises_ends_it() -> None:
    """An error is not swallowed."""
    with pytest.raises(ZeroDivisionError):
        repeat(lambda: 1 // 0, timedelta(seconds=1), threading.Event())  # type: ignore[arg-type,return-value]


def test_a_clock_that_is_set_back_costs_no_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Summer time ends between two polls: the next one comes a period later all the same."""

    class Clock(datetime):
        back = timedelta(0)

        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now() - cls.back

    class Module:
        datetime, timedelta = Clock, timedelta

    monkeypatch.setattr(library, "datetime", Module)
    stop, calls = threading.Event(), []

    def work() -> None:
        calls.append(time.monotonic())
        if len(calls) == 2:
            stop.set()
        else:
            threading.Timer(0.2, lambda: setattr(Clock, "back", timedelta(hours=1))).start()

    threading.Timer(20, stop.set).start()
    repeat(work, timedelta(seconds=1), stop, jitter=timedelta(seconds=1))
    # The wait that had begun ends, finds the clock behind, and a second whole one follows.
    assert len(calls) == 2
    assert calls[1] - calls[0] < 6

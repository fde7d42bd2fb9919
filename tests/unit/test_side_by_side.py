"""Work in lanes: order of results, turns, and what is begun at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from publisher.side_by_side import Job, run


def go_on() -> bool:
    return True


def stop() -> None: ...


def test_results_keep_the_order_of_the_jobs() -> None:
    """The last one to end may be the first one that was named."""
    jobs = [Job(str(n), lambda n=n: time.sleep(0.02 * (5 - n)) or n) for n in range(5)]  # type: ignore[misc]
    assert run(jobs, 5, go_on=go_on, stop=stop) == [0, 1, 2, 3, 4]
    assert run([], 5, go_on=go_on, stop=stop) == []


def test_no_more_than_allowed_at_once_and_never_two_of_a_lane() -> None:
    """Of thirty jobs in five lanes, at most three run, each of another lane; and three do run."""
    lock, now, most, doubled = threading.Lock(), [], 0, False

    def work(lane: str) -> None:
        nonlocal most, doubled
        with lock:
            doubled |= lane in now
            now.append(lane)
            most = max(most, len(now))
        time.sleep(0.005)
        with lock:
            now.remove(lane)

    jobs = [Job(lane, lambda lane=lane: work(lane)) for lane in "aabbccddee" * 3]  # type: ignore[misc]
    run(jobs, 3, go_on=go_on, stop=stop)
    assert (most, doubled) == (3, False)


def test_lanes_take_turns() -> None:
    """A model with a hundred versions, all slow, does not keep the others waiting for their first."""
    begun: list[str] = []

    def work(name: str) -> Callable[[], None]:
        return lambda: begun.append(name)

    jobs = [Job("many", work(f"many-{n}")) for n in range(100)]
    jobs += [Job(lane, work(f"{lane}-{n}")) for lane in ("few", "one") for n in range(2)]
    run(jobs, 1, go_on=go_on, stop=stop)
    assert begun[:6] == ["many-0", "few-0", "one-0", "many-1", "few-1", "one-1"]
    assert begun[6:] == [f"many-{n}" for n in range(2, 100)]


def test_nothing_more_is_begun_when_it_shall_not_go_on() -> None:
    """What runs is finished, what was not begun is None."""
    done: list[int] = []
    jobs = [Job(str(n), lambda n=n: done.append(n) or n) for n in range(10)]  # type: ignore[misc,func-returns-value]
    found = run(jobs, 2, go_on=lambda: len(done) < 4, stop=stop)
    begun = [each for each in found if each is not None]
    assert begun == list(range(len(begun)))
    assert 4 <= len(begun) <= 5


def test_an_interruption_asks_what_runs_to_stop() -> None:
    """An error of the waiting thread reaches the running work before it is waited for."""
    stopped = threading.Event()

    def interrupted() -> bool:
        raise KeyboardInterrupt

    asked = 0

    def once() -> bool:
        nonlocal asked
        asked += 1
        return asked == 1 or interrupted()

    jobs = [Job(str(n), lambda: stopped.wait(10)) for n in range(3)]
    with pytest.raises(KeyboardInterrupt):
        run(jobs, 2, go_on=once, stop=stopped.set)
    assert stopped.is_set()

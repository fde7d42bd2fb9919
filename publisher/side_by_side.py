"""Several pieces of work at once, in lanes: within a lane one after the other, and every lane gets its turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """`work` raises nothing. What shares a `lane` would do the same work twice if it ran at once."""

    lane: str
    work: Callable[[], T]


def run(
    jobs: Sequence[Job[T]], parallel: int, *, go_on: Callable[[], bool], stop: Callable[[], None]
) -> list[T | None]:
    """The results in the order of `jobs`; None for what was not begun.

    Lanes take turns, in the order in which `jobs` names them first, so that one with a thousand jobs, or with slow
    ones, holds up no other. `go_on` is asked before each job: where it says False, nothing more is begun. `stop` is
    called where this is interrupted, before what runs is waited for.
    """
    results: list[T | None] = [None] * len(jobs)
    lanes: dict[str, deque[int]] = {}
    for number, job in enumerate(jobs):
        lanes.setdefault(job.lane, deque()).append(number)
    waiting = deque(lanes)
    running: dict[Future[T], int] = {}
    with ThreadPoolExecutor(max(1, min(parallel, len(lanes))), thread_name_prefix="publication") as pool:
        try:
            while True:
                while waiting and len(running) < parallel and go_on():
                    number = lanes[waiting.popleft()].popleft()
                    running[pool.submit(jobs[number].work)] = number
                if not running:
                    return results
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    number = running.pop(future)
                    results[number] = future.result()
                    if lanes[jobs[number].lane]:
                        waiting.append(jobs[number].lane)
        except BaseException:
            stop()
            raise

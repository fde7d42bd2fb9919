"""Memory is given out up to a limit, in order, and one alone always gets it."""

from __future__ import annotations

import threading
import time

import pytest

from publisher.admission import BUILD, PROCESS, PUBLICATION, Admission, for_builds, publications


def test_the_sum_stays_below_the_limit_and_nobody_is_overtaken() -> None:
    """Twelve that need 1 to 4 of 5: never more than 5 at once, and they begin in the order in which they came."""
    admission, lock, now, most, begun = Admission(5), threading.Lock(), 0, 0, []

    def work(number: int, need: int) -> None:
        nonlocal now, most
        with admission.held(need):
            with lock:
                begun.append(number)
                now += need
                most = max(most, now)
            time.sleep(0.01)
            with lock:
                now -= need

    with admission.held(5):
        threads = [threading.Thread(target=work, args=(n, n % 4 + 1)) for n in range(12)]
        for thread in threads:
            thread.start()
            time.sleep(0.01)
        assert begun == []
    for thread in threads:
        thread.join(10)
    assert begun == list(range(12))
    assert most == 5


def test_one_alone_may_need_more_than_there_is() -> None:
    """A limit below what one build needs slows publishing down to one at a time, and does not end it."""
    admission = Admission(5)
    with admission.held(50):
        waiting = threading.Thread(target=lambda: admission.held(1).__enter__(), daemon=True)
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
    waiting.join(5)
    assert not waiting.is_alive()


def test_whoever_waits_may_be_called_off_and_leaves_its_place() -> None:
    """What `check` raises ends the wait, and the next one in the queue is not held up by it."""

    def check() -> None:
        raise TimeoutError

    admission = Admission(5)
    with admission.held(5), pytest.raises(TimeoutError), admission.held(1, check):
        pass
    with admission.held(5):
        pass


def test_without_a_limit_nobody_waits() -> None:
    """As in a library's use, where nobody said how much there is."""
    admission = Admission()
    with admission.held(1 << 60), admission.held(1 << 60):
        pass


@pytest.mark.parametrize(
    ("processors", "mib", "expected"), [(2, 256, 1), (2, 512, 1), (2, 1024, 4), (1, 1024, 2), (64, 65536, 8)]
)
def test_how_many_at_once_where_nobody_says_it(processors: int, mib: int, expected: int) -> None:
    """Two for each processor, fewer where memory is short, at least one, and there is room for a build."""
    memory = mib << 20
    found = publications(processors, memory)
    assert found == expected
    if found > 1:
        assert for_builds(memory, found) >= BUILD
        assert PROCESS + found * PUBLICATION + for_builds(memory, found) <= memory
    assert for_builds(1 << 20, 8) == 0

"""One at a time for each key, in this process and in others."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from publisher import turns


def test_threads_take_turns_and_other_keys_do_not_wait(tmp_path: Path) -> None:
    """Of twenty threads on one key one is inside; a thread on another key is inside beside it."""
    inside, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal inside, most
        with turns.held(tmp_path, "one"):
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.002)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(20)]
    with turns.held(tmp_path, "other"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert (most, inside) == (1, 0)
    assert list((tmp_path / "turns").iterdir()) == []


def test_another_process_is_waited_for_and_a_killed_one_is_not(tmp_path: Path) -> None:
    """A process that holds the turn keeps us waiting, until it is killed: the kernel lets go of what it held."""
    code = (
        "import sys, time; from pathlib import Path; from publisher import turns\n"
        "with turns.held(Path(sys.argv[1]), 'key'):\n    print('mine', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert other.stdout
    assert other.stdout.readline() == b"mine\n"
    threading.Timer(0.5, other.kill).start()
    begin = time.monotonic()
    with turns.held(tmp_path, "key"):
        assert 0.4 < time.monotonic() - begin < 10
    other.wait()
    other.stdout.close()


def test_whoever_waits_may_be_called_off(tmp_path: Path) -> None:
    """What `check` raises ends the wait, and the turn stays with its holder."""

    def check() -> None:
        raise TimeoutError

    with turns.held(tmp_path, "key"):
        with pytest.raises(TimeoutError), turns.held(tmp_path, "key", check):
            pass
        assert list((tmp_path / "turns").iterdir())


def test_without_locks_work_is_done_all_the_same(tmp_path: Path) -> None:
    """A folder that cannot be written to costs speed and nothing else."""
    (tmp_path / "turns").write_text("in the way")
    with turns.held(tmp_path, "key"), turns.held(tmp_path, "key"):
        pass

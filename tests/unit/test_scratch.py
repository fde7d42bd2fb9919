"""Folders of a process: its own while it lives, gone with it, reaped by the next where it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from publisher import scratch

OWNER = """
import sys, time
from pathlib import Path
from publisher import scratch
own = scratch.below(Path(sys.argv[1]))
own.part("x").write_text("half")
print(own.folder, own.claim, flush=True)
sys.stdin.read()
"""


@contextmanager
def owner(parent: Path) -> Iterator[tuple[subprocess.Popen[str], Path, str]]:
    """Another process with a folder below `parent`: it, the folder, its claim."""
    command = [sys.executable, "-c", OWNER, str(parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        folder, claim = process.stdout.readline().split()
        try:
            yield process, Path(folder), claim
        finally:
            process.kill()


def test_a_running_process_keeps_its_folder(tmp_path: Path) -> None:
    """Neither a reaper nor another process that makes a folder beside it touches it; its claim holds."""
    with owner(tmp_path) as (_, folder, claim):
        scratch.reap(tmp_path)
        scratch.below(tmp_path)
        assert [path.read_text() for path in folder.glob("*-x")] == ["half"]
        assert not scratch.abandoned(claim, tmp_path)


def test_what_a_killed_process_left_is_reaped(tmp_path: Path) -> None:
    """After SIGKILL the claim is known to be dead, and the folder goes with whatever is in it."""
    with owner(tmp_path) as (process, folder, claim):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert folder.is_dir()
        assert scratch.abandoned(claim, tmp_path)
        (folder / "deep" / "er").mkdir(parents=True)
        scratch.reap(tmp_path)
        assert not folder.exists()
        assert scratch.abandoned(claim, tmp_path)


def test_a_process_that_ends_leaves_nothing(tmp_path: Path) -> None:
    """An ordinary end removes the folder."""
    with owner(tmp_path) as (process, folder, _):
        assert process.stdin
        process.stdin.close()
        assert process.wait(10) == 0
        assert not folder.exists()
        assert list(tmp_path.iterdir()) == []


def test_a_claim_of_another_place_is_nobody_s_to_judge(tmp_path: Path) -> None:
    """The same name below another folder, another boot, nonsense: such a process may be alive."""
    with owner(tmp_path) as (process, _, claim):
        process.kill()
        process.wait()
        other = tmp_path / "other"
        other.mkdir()
        name = claim.rpartition("-")[2]
        for text in (claim.replace(claim[0], "x", 1), f"0000-{name}", f"-{name}", "", "x", f"{claim}/.."):
            assert not scratch.abandoned(text, tmp_path), text
        assert not scratch.abandoned(claim, other)


def test_only_own_names_are_removed(tmp_path: Path) -> None:
    """Folders of other names, files, links and what they lead to stay."""
    kept = tmp_path / "elsewhere"
    kept.mkdir()
    (kept / "file").write_text("mine")
    (tmp_path / f"{scratch.PREFIX}abcdefg").mkdir()  # one letter short
    (tmp_path / f"{scratch.PREFIX}abcdefgh").symlink_to(kept)
    (tmp_path / f"{scratch.PREFIX}abcdefgi").write_text("a file")
    before = sorted(path.name for path in tmp_path.iterdir())
    scratch.reap(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (kept / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what another user owns")
def test_another_user_s_folder_is_left_alone(tmp_path: Path) -> None:
    """In a shared /tmp even root leaves alone what it did not make: it may be in use on another host."""
    foreign = tmp_path / f"{scratch.PREFIX}abcdefgh"
    foreign.mkdir()
    os.chown(foreign, 12345, 12345)
    scratch.reap(tmp_path)
    assert foreign.is_dir()


def test_where_locks_do_not_work_age_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A young folder stays, one of last week goes, and nobody claims to know who lives."""

    def refuse(*_: object) -> None:
        raise OSError("no locks available")

    young, old = (tmp_path / f"{scratch.PREFIX}{name}" for name in ("abcdefgh", "abcdefgi"))
    young.mkdir()
    old.mkdir()
    os.utime(old, (time.time() - 7 * 86400,) * 2)
    monkeypatch.setattr(scratch.fcntl, "flock", refuse)
    assert scratch.below(tmp_path).claim == ""
    assert young.is_dir()
    assert not old.exists()


def test_makers_and_reapers_at_once(tmp_path: Path) -> None:
    """However they meet, every maker ends up with a folder that is there and that it has locked."""
    stop = threading.Event()

    def reap() -> None:
        while not stop.is_set():
            scratch.reap(tmp_path)

    reapers = [threading.Thread(target=reap) for _ in range(3)]
    for thread in reapers:
        thread.start()
    try:
        made = [scratch._make(tmp_path) for _ in range(200)]
    finally:
        stop.set()
        for thread in reapers:
            thread.join()
    scratch.reap(tmp_path)
    assert all((one.folder / "lock").stat().st_ino == os.fstat(one.lock).st_ino for one in made)
    for one in made:
        os.close(one.lock)

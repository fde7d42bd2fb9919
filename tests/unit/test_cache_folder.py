"""The cache folder is trimmed by last use, and nothing goes that a publication is using."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from publisher.builders.layers.cache import Cache
from publisher.cache_folder import CacheFolder
from publisher.cli import cache as command
from publisher.cli import main

DAY = 86400.0
SHA256 = "a" * 64


def put(folder: Path, path: str, size: int, days: float) -> Path:
    """A file that was used so many days ago."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size)
    then = time.time() - days * DAY
    os.utime(file, (then, then))
    return file


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    """Down to the limit and no further; a tree counts and goes as one thing, by its own last use."""
    old = put(tmp_path, "wheels/old.whl", 100, 9)
    new = put(tmp_path, "wheels/new.whl", 100, 1)
    tree = put(tmp_path, "rootfs/abc/usr/bin/python", 500, 99).parents[2]
    put(tmp_path, "rootfs/abc/.complete", 10, 5)
    layer = put(tmp_path, "blobs/sha256/aa", 100, 3)
    done = CacheFolder(tmp_path).trim(250)
    assert (done.removed, done.left, done.held) == (610, 200, 0)
    assert (old.exists(), tree.exists(), layer.exists(), new.exists()) == (False, False, True, True)
    assert CacheFolder(tmp_path).trim(250).removed == 0
    assert CacheFolder(tmp_path).trim(0).left == 0


def test_what_is_found_counts_as_used(tmp_path: Path) -> None:
    """Looking a wheel or a layer up keeps it for longer than what nobody looks at."""
    cache = Cache(tmp_path)
    wheel, other = put(tmp_path, f"wheels/{SHA256}.whl", 100, 9), put(tmp_path, "wheels/b.whl", 100, 5)
    blob = put(tmp_path, "blobs/sha256/aa", 100, 9)
    assert cache.wheel(SHA256) == wheel
    assert cache.has("sha256:aa", 100)
    CacheFolder(tmp_path).trim(200)
    assert (wheel.exists(), other.exists(), blob.exists()) == (True, False, True)


def test_what_a_publication_uses_stays(tmp_path: Path) -> None:
    """While a publication is under way, what was used since it began stays, even beyond the limit."""
    whole = CacheFolder(tmp_path)
    used, unused = put(tmp_path, "wheels/a.whl", 100, 9), put(tmp_path, "wheels/b.whl", 100, 9)
    with whole.in_use():
        assert whole.used(used)
        done = whole.trim(0)
        assert (done.removed, done.left, done.held) == (100, 100, 100)
        assert (used.exists(), unused.exists()) == (True, False)
    assert whole.trim(0).left == 0


def test_a_publisher_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    """Its mark goes with its own folder: what it used can be trimmed at once."""
    used = put(tmp_path, "wheels/a.whl", 100, 9)
    code = (
        "import os, pathlib\nfrom publisher.cache_folder import CacheFolder\n"
        f"whole = CacheFolder(pathlib.Path({str(tmp_path)!r}))\n"
        "with whole.in_use():\n    whole.used(whole.folder / 'wheels' / 'a.whl')\n    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert list(tmp_path.glob("publisher-run-*/*-publication"))
    assert CacheFolder(tmp_path).trim(0).left == 0
    assert not used.exists()


def test_nothing_goes_while_somebody_looks(tmp_path: Path) -> None:
    """Being found and being marked is one step: a trim waits for it, and then sees that the thing is used."""
    wheel = put(tmp_path, "wheels/a.whl", 100, 9)
    whole = CacheFolder(tmp_path)
    with whole.in_use(), (tmp_path / "lock").open("a+") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        trimming = threading.Thread(target=whole.trim, args=(0,))
        trimming.start()
        trimming.join(0.3)
        assert trimming.is_alive()
        assert whole.used(wheel)
        fcntl.flock(looking, fcntl.LOCK_UN)
        trimming.join(10)
    assert wheel.exists()


def test_nobody_finds_what_is_just_going(tmp_path: Path) -> None:
    """While a trim removes something, whoever looks for it waits, and then does not find it."""
    wheel, found = put(tmp_path, "wheels/a.whl", 100, 9), []
    with (tmp_path / "lock").open("a+") as trimming:
        fcntl.flock(trimming, fcntl.LOCK_EX)
        looking = threading.Thread(target=lambda: found.append(CacheFolder(tmp_path).used(wheel)))
        looking.start()
        looking.join(0.3)
        assert looking.is_alive()
        wheel.unlink()
    looking.join(10)
    assert found == [False]


def test_the_command_shows_and_trims(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes by kind, for people and as JSON; a size that is none, and both options at once, are told."""
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "cache/wheels/a.whl", 2000, 2)
    put(tmp_path, "cache/locks/pylock.toml", 10, 1)
    assert command.run(CacheFolder(tmp_path / "cache"), None, json=False) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["notes: 1, 10 B", "wheels: 1, 2.0 kB"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("PUBLISHER_CACHE_FOLDER", str(tmp_path / "cache"))
    assert main(["cache", "--limit", "1kB", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["removed"], document["bytes"], document["held"]) == (2000, 10, 0)
    assert document["kinds"] == {"notes": {"entries": 1, "bytes": 10}}
    assert main(["cache", "--limit", "lots"]) == main(["cache", "--limit", "1GB", "--clear"]) == 2
    assert "expected a size such as" in capsys.readouterr().err


def test_few_trees_of_a_kind_are_kept(tmp_path: Path) -> None:
    """Those used last, and those that a publication is using."""
    cache = CacheFolder(tmp_path)
    for number in range(4):
        put(tmp_path, f"unpacked/{number}/root/file", 10, 0)
        put(tmp_path, f"unpacked/{number}/.complete", 10, 9 - number)
    with cache.in_use():
        assert cache.used(tmp_path / "unpacked/0/.complete")
        cache.keep("unpacked", 2)
        assert sorted(path.name for path in (tmp_path / "unpacked").iterdir()) == ["0", "3"]
        cache.keep("unpacked", 1)
        assert sorted(path.name for path in (tmp_path / "unpacked").iterdir()) == ["0"]
        cache.keep("unpacked", 0)
        assert sorted(path.name for path in (tmp_path / "unpacked").iterdir()) == ["0"]


def test_a_whole_tree_takes_its_name_once(tmp_path: Path) -> None:
    """What was there first stays, for it may be in use; what is not whole gives way."""
    cache, place = CacheFolder(tmp_path), tmp_path / "unpacked" / "name"
    for number in range(2):
        put(tmp_path, f"new{number}/.complete", number, 0)
    (place / "half").mkdir(parents=True)
    cache.adopt(tmp_path / "new0", place)
    assert sorted(path.name for path in place.iterdir()) == [".complete"]
    cache.adopt(tmp_path / "new1", place)
    assert (place / ".complete").stat().st_size == 0

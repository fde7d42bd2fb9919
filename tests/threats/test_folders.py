"""File system: the cache is believed, so nobody else may have put anything there, and nobody else reads the work."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from publisher import folders, scratch, wiring
from publisher.errors import HostError
from publisher.progress import Silent
from publisher.settings import load

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def connect(cache: Path) -> None:
    """What every command does first."""
    settings = load({"mlflow_tracking_uri": "http://127.0.0.1:9", "cache_folder": str(cache)}, {})
    with wiring.connect(settings, {}, Silent()):
        pass


def test_a_new_cache_is_for_one_user(tmp_path: Path) -> None:
    """The folder is made with mode 0700, whatever the umask, and its unfinished files lie in another such folder."""
    before = os.umask(0)
    try:
        connect(tmp_path / "new" / "cache")
        own = scratch.below(tmp_path / "new" / "cache").folder
    finally:
        os.umask(before)
    for folder in (tmp_path / "new" / "cache", own):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@needs_root
@pytest.mark.parametrize("name", ["", "wheels", "rootfs", "locks", "publisher-run-abcdefgh"])
def test_what_another_user_put_there(tmp_path: Path, name: str) -> None:
    """A cache of another user, or one where another user made a folder first, is refused before anything is read."""
    cache = tmp_path / "cache"
    (cache / name).mkdir(parents=True)
    os.chown(cache / name, 1234, 1234)
    with pytest.raises(HostError, match="belongs to another user"):
        connect(cache)


@pytest.mark.parametrize("name", ["wheels", "rootfs", "remembered"])
def test_links_in_the_cache(tmp_path: Path, name: str) -> None:
    """A link in place of a folder is refused: its owner is not the owner of what it leads to."""
    cache = tmp_path / "cache"
    (tmp_path / "elsewhere").mkdir()
    cache.mkdir()
    (cache / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostError, match="is a link"):
        connect(cache)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_volume_that_all_may_write_to(tmp_path: Path) -> None:
    """A pod's empty volume has mode 0777: it is taken, since what is in it is ours."""
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    (cache / "wheels").mkdir()
    connect(cache)


def test_a_cache_that_is_a_file(tmp_path: Path) -> None:
    """A file in place of the cache is told as what it is."""
    (tmp_path / "cache").touch()
    with pytest.raises(HostError, match="not a folder"):
        folders.trusted(tmp_path / "cache", "cache_folder")


def test_nobody_can_wait_for_a_name(tmp_path: Path) -> None:
    """In a shared /tmp every file of ours lies in a folder of an unpredictable name that nobody else may enter."""
    names = set()
    for number in range(2):
        place = tmp_path / str(number)
        place.mkdir(mode=0o1777)
        own = scratch.below(place)
        names.add(own.folder.name)
        assert stat.S_IMODE(own.folder.stat().st_mode) == 0o700
        assert own.part("wheel").parent == own.folder
    assert len(names) == 2

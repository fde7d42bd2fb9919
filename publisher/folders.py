"""Folders whose content is believed: whoever can write to the cache decides what images hold and what runs here."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from publisher.errors import HostError


def trusted(folder: Path, setting: str) -> None:
    """Make `folder` for this user alone where it is missing; raise HostError where others put something there.

    `setting` names it to people. A folder that is there may be shared (a volume of a pod belongs to root, and
    anybody may write to it): then what lies in it must be ours, or root's.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _check(folder, folder.stat(), setting)
        with os.scandir(folder) as found:
            for entry in found:
                _check(Path(entry.path), entry.stat(follow_symlinks=False), setting)
    except FileExistsError:
        raise HostError(f"the {setting} {folder} is not a folder", hint=f"Name another {setting}") from None


def _check(path: Path, found: os.stat_result, setting: str) -> None:
    hint = f"See who put it there, and name a {setting} of your own"
    if found.st_uid not in (os.geteuid(), 0):
        raise HostError(
            f"{path} belongs to another user (number {found.st_uid}), and is not believed", hint=hint
        )
    if stat.S_ISLNK(found.st_mode):
        raise HostError(f"{path} is a link, and what it leads to is not believed", hint=hint)

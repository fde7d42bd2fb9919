"""How a program of an image is shut in on this machine: the best way that the machine allows.

bubblewrap    namespaces, made by bubblewrap: the image is all that there is, and cannot be written to; no network
namespaces    the same, made by launcher.py, where bubblewrap is missing or cannot mount /proc (containers)
chroot        root in a container without the right to namespaces: the image is all that there is, and it is run by
              nobody; no network and no signals to others (a seccomp filter)
landlock      anybody else, as in a restricted pod: of this machine's files it reads only the image's, at their place on
              this machine; no network, no tracing of and no signals to others (Landlock and a seccomp filter)
limits        none of these: limits alone
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from publisher import bubblewrap, machine
from publisher.checks import supervised
from publisher.domain import MACHINES, Platform
from publisher.errors import HostError

Way = Literal["bubblewrap", "namespaces", "chroot", "landlock", "limits"]
WAYS: tuple[Way, ...] = ("bubblewrap", "namespaces", "chroot", "landlock", "limits")
MAPPED: tuple[Way, ...] = ("landlock", "limits")  # the image's files are where they were unpacked
EMULATOR = "dev/emulator"  # where a program of the image sees it

_TOLD: Mapping[Way, str] = {
    "bubblewrap": "no network, its own processes and read-only files (bubblewrap)",
    "namespaces": "no network, its own processes and read-only files (namespaces)",
    "chroot": "no network, its own read-only files, as nobody (chroot and seccomp)",
    "landlock": "no network, of this machine's files only its own, which are read-only (Landlock and seccomp)",
    "limits": "not shut in: it sees this machine's files and network",
}
_PROCESSES = 1000
_FILES = 4096  # open at once
_FILE = 1 << 30  # bytes of any one file that it writes
_ROOM = 1 << 30  # bytes of each of its folders for temporary files, which lie in memory
_ASK = 20.0  # seconds


@dataclass(frozen=True, slots=True)
class Enclosed:
    """What runs is shut in `way`. `root`: the folder of the image; `joints`: folder, and where it is put below that.

    `emulator`: the program that runs the image's; empty for none. `memory`: bytes of all its processes together.
    """

    way: Way
    root: Path
    joints: Sequence[tuple[Path, str]]
    uid: int
    gid: int
    memory: int
    emulator: str = ""

    def told(self) -> str:
        emulated = f", emulated by {Path(self.emulator).name}" if self.emulator else ""
        return f"{_TOLD[self.way]}{emulated}, {self.memory / (1 << 30):.1f} GiB"

    def run(
        self, command: Sequence[str], variables: Mapping[str, str], workdir: str, seconds: float
    ) -> supervised.Ran:
        """Run `command`, as the enclosure sees it. Raises HostError where it cannot be started."""
        processors, emulators = machine.processors(), [self.emulator] if self.emulator else []
        job: dict[str, Any] = {
            "way": self.way,
            "root": str(self.root),
            "joints": [(str(source), place) for source, place in self.joints],
            "emulator": self.emulator,
            "command": [*self._emulated(), *command],
            "environment": dict(variables),
            "workdir": workdir,
            "uid": self.uid,
            "gid": self.gid,
            "seconds": seconds,
            "memory": self.memory,
            "room": min(_ROOM, self.memory // 4),
            "processes": _PROCESSES,
            "readable": [
                str(each) for each in (self.root, *(source for source, _ in self.joints), *emulators)
            ],
            "writable": [str(self.root / "tmp")],
            "limits": {
                "CORE": 0,
                "FSIZE": _FILE,
                "NOFILE": _FILES,
                "CPU": int(seconds + 5) * processors,
                # What it could write to, not what it does: threads and allocators reserve more than they use.
                "DATA": 2 * self.memory + (1 << 30),
            },
        }
        if self.way == "bubblewrap":
            job |= self._wrapped(job)
        return supervised.run(job, wrapped=self.way in ("bubblewrap", "namespaces"))

    def _emulated(self) -> list[str]:
        if not self.emulator:
            return []
        return [self.emulator if self.way in MAPPED else f"/{EMULATOR}"]

    def _wrapped(self, job: Mapping[str, Any]) -> dict[str, Any]:
        program = bubblewrap.program() or "bwrap"
        command = bubblewrap.shut_in(program, job["environment"], self.uid, self.gid)
        command += ["--ro-bind", str(self.root), "/"]
        for source, place in self.joints:
            command += ["--ro-bind", str(source), f"/{place}"]
        command += [*_own(job["room"])]
        if self.emulator:
            command += ["--ro-bind", self.emulator, f"/{EMULATOR}"]
        command += ["--remount-ro", "/dev", "--chdir", job["workdir"], "--", *job["command"]]
        return {"command": command, "environment": {}, "workdir": "/"}


def _own(room: int) -> list[str]:
    """The file systems that a program has for itself, for bubblewrap."""
    bounded = ["--size", str(room)]
    return [*bubblewrap.PROC, "--dev", "/dev", *bounded, "--tmpfs", "/dev/shm", *bounded, "--tmpfs", "/tmp"]  # noqa: S108


@cache
def best() -> Way:
    """The first way that works here; found out once, by starting nothing."""
    return next(way for way in WAYS if _works(way))


def _works(way: Way) -> bool:
    """Whether the Python that runs here starts that way, with this machine's files as those of an image."""
    if way == "limits":
        return True
    if way == "chroot" and os.geteuid():
        return False
    if sys.platform != "linux" or (way == "bubblewrap" and bubblewrap.program() is None):
        return False
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("dev", "proc", "sys", "tmp", "joint"):
            (root / name).mkdir()
        nobody = bubblewrap.NOBODY
        probe = Enclosed(way, root, [(root / "sys", "joint")], nobody, nobody, 1 << 30)
        try:
            # It need not be found: that all was mounted before tells what there is to know.
            probe.run(["/nothing"], {}, "/", _ASK)
        except HostError as error:
            return "/nothing" in str(error)
    return True


def emulator(platform: Platform) -> str:
    """The program that runs those of `platform` without being asked to find any file; empty where there is none."""
    name = MACHINES.get(platform.architecture, platform.architecture)
    return shutil.which(f"qemu-{name}-static") or ""

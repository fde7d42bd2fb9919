"""Which platforms' programs run on this machine: its own, and those that the kernel hands to an emulator."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from publisher.builders.bases import host_platform
from publisher.domain import MACHINES, Platform

_BINFMT = Path("/proc/sys/fs/binfmt_misc")
# For each architecture ELF's number of its machine, and a program that calls exit(0).
_NOTHING = {
    "amd64": (0x3E, bytes.fromhex("31ff b83c000000 0f05")),
    "arm64": (0xB7, bytes.fromhex("000080d2 a80b80d2 010000d4")),
}
_ASK = 10.0  # seconds


def lacking(platforms: Sequence[Platform], own: Platform | None = None) -> list[Platform]:
    """Those of `platforms` whose programs do not run here; `own` is this machine's."""
    mine = own or host_platform()
    return [each for each in platforms if each.architecture != mine.architecture and not _registered(each)]


def why_not(platforms: Sequence[Platform]) -> str:
    """Why this machine cannot run a build for `platforms`; empty where it can."""
    if missing := lacking(platforms):
        return (
            f"programs for {', '.join(map(str, missing))} do not run here: install emulation "
            "(apt-get install qemu-user-static binfmt-support, or "
            "docker run --privileged --rm tonistiigi/binfmt --install all)"
        )
    return ""


def _registered(platform: Platform) -> bool:
    """Whether an emulator is registered with the flag F, without which it is not found inside a container."""
    if not (_BINFMT / "status").exists():
        return _runs(platform)  # a container sees no entries, but the kernel heeds them for it, too
    entry = _BINFMT / f"qemu-{MACHINES.get(platform.architecture, platform.architecture)}"
    try:
        lines = entry.read_text().splitlines()
    except OSError:
        return False
    return "enabled" in lines and any(line.startswith("flags:") and "F" in line for line in lines)


def _runs(platform: Platform) -> bool:
    """Whether the smallest program for a platform runs here."""
    machine, code = _NOTHING.get(platform.architecture, (0, b""))
    if not code or not hasattr(os, "memfd_create"):
        return False
    start, page = 64 + 56, 1 << 16
    size = start + len(code)
    program = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, machine, 1, page + start, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    program += struct.pack("<IIQQQQQQ", 1, 5, 0, page, page, size, size, page) + code
    file = os.memfd_create("nothing")
    try:
        os.write(file, program)
        with suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(
                [f"/proc/self/fd/{file}"], pass_fds=[file], capture_output=True, check=False, timeout=_ASK
            )
            return done.returncode == 0
    finally:
        os.close(file)
    return False

"""Which platforms' programs run on this machine: its own, and those that the kernel hands to an emulator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from publisher.builders.bases import host_platform
from publisher.domain import MACHINES, Platform

_BINFMT = Path("/proc/sys/fs/binfmt_misc")


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
    entry = _BINFMT / f"qemu-{MACHINES.get(platform.architecture, platform.architecture)}"
    try:
        lines = entry.read_text().splitlines()
    except OSError:
        return False
    return "enabled" in lines and any(line.startswith("flags:") and "F" in line for line in lines)

"""Bubblewrap: namespaces of its own for a program, which need no root where the kernel allows them to users."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

NOBODY = 65534
# Its own processes. Read-only: what root runs has root's number in there, too, by which alone the kernel lets it set
# /proc/sys, and bubblewrap covers that only where the folder itself can be written to.
PROC = ("--proc", "/proc", "--remount-ro", "/proc")


def program() -> str | None:
    """Its path; None where it is not installed."""
    return shutil.which("bwrap")


def shut_in(program: str, variables: Mapping[str, str], uid: int = NOBODY, gid: int = NOBODY) -> list[str]:
    """The start of a command: no network, no rights, no processes of others, and of variables these alone.

    What of the file system is seen follows, and then what is run.
    """
    command = [program, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"]
    # Run by root, bubblewrap would leave the program root's rights over what it can see.
    command += ["--uid", str(uid), "--gid", str(gid), "--cap-drop", "ALL"]
    for name, value in variables.items():
        command += ["--setenv", name, value]
    return command

"""Starts a program as root that sees a folder as its whole file system. A script of the standard library alone.

    python -I enclosed.py ROOT NAMES PROGRAM [ARGUMENT…]

NAMES: the environment variables that the program keeps, separated by commas. Where the kernel lets us (a machine's
root, a privileged container) the program has processes and mounts of its own, and all of them end with it; in an
ordinary container it has a changed root alone. In both it loses the rights by which root leaves such a folder.
What is wrong before the program runs is told on one line that begins with FAULT, with the exit code 125.
"""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import sys
from typing import NoReturn

FAULT = "cannot start: "
# Numbers of Linux' capabilities (linux/capability.h): what unpacking files and installing packages takes.
KEPT = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "NET_BIND_SERVICE": 10,
    "AUDIT_WRITE": 29,
    "SETFCAP": 31,
}
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
_NEW_MOUNTS, _NEW_IPC, _NEW_PROCESSES = 0x00020000, 0x08000000, 0x20000000  # CLONE_NEWNS, _NEWIPC, _NEWPID
_NOSUID, _NODEV, _NOEXEC, _REC, _PRIVATE = 2, 4, 8, 0x4000, 1 << 18  # MS_…
_PARENT_DEATH, _BOUND_READ, _BOUND_DROP = 1, 23, 24  # PR_SET_PDEATHSIG, PR_CAPBSET_READ, PR_CAPBSET_DROP

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    root, names, *command = sys.argv[1:]
    kept = {name: os.environ[name] for name in names.split(",") if name in os.environ}
    _libc.prctl(_PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
    apart = _libc.unshare(_NEW_MOUNTS | _NEW_PROCESSES | _NEW_IPC) == 0
    if apart and (child := os.fork()):
        _follow(child)
    _libc.prctl(_PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
    os.umask(0)
    try:
        if not (apart and _mounted(root)):
            # What tells a program where mounts are; a folder here, as empty as it looks.
            os.makedirs(f"{root}/proc/self")
            os.close(os.open(f"{root}/proc/self/mountinfo", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444))
        _devices(f"{root}/dev")
        os.chroot(root)
        os.chdir("/")
        os.dup2(os.open("/dev/null", os.O_RDWR), 0)  # the one from outside has a mode that root may change
        os.umask(0o022)
        _drop()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and what it starts would
            signal.signal(number, signal.SIG_DFL)
        os.execve(command[0], command, kept)
    except OSError as error:
        print(f"{FAULT}{error}", file=sys.stderr)
        os._exit(125)


def _follow(child: int) -> NoReturn:
    """End as the child ends."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _mounted(root: str) -> bool:
    """Whether the new mounts could be made: what guards a container may forbid them all (AppArmor does)."""
    if _libc.mount(b"none", b"/", None, ctypes.c_ulong(_REC | _PRIVATE), None):
        return False
    for kind, place, flags in (("proc", "proc", _NODEV), ("tmpfs", "dev", 0)):
        path = f"{root}/{place}".encode()
        if _libc.mount(kind.encode(), path, kind.encode(), ctypes.c_ulong(flags | _NOSUID | _NOEXEC), None):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), f"the mount {path.decode()}")
    return True


def _devices(folder: str) -> None:
    for name, (major, minor) in DEVICES.items():
        os.mknod(f"{folder}/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
    os.mkdir(f"{folder}/shm", 0o1777)
    os.symlink("/proc/self/fd", f"{folder}/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"{folder}/{name}")
    os.close(os.open(f"{folder}/null", os.O_WRONLY))  # fails where the file system is mounted with nodev


def _drop() -> None:
    """Of the capabilities that root has after the next exec, keep what building takes."""
    number = 0
    while (held := _libc.prctl(_BOUND_READ, number, 0, 0, 0)) >= 0:  # fails for the first that there is not
        if held and number not in KEPT.values() and _libc.prctl(_BOUND_DROP, number, 0, 0, 0):
            code = ctypes.get_errno()
            raise OSError(code, f"capability {number} cannot be given up: {os.strerror(code)}")
        number += 1


if __name__ == "__main__":
    main()

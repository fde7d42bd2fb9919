"""Landlock: the kernel keeps a process to some of the machine's files, without any right of its own (Linux 5.13).

Imported by launcher.py: standard library alone. What an older kernel does not know is left out of the rules; what
of it counts is then for seccomp.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Sequence

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # calls; the numbers of every processor but alpha
_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _MAKE_CHAR, _MAKE_BLOCK = 1, 2, 4, 8, 1 << 6, 1 << 11
_TRUNCATE, _IOCTL_DEVICE = 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE
_KNOWN = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # version -> how many rights over files it has
_TCP, _SCOPED, SIGNALS = 4, 6, 6  # the versions that are the first to know of these
_BIND_CONNECT, _ABSTRACT_SIGNAL = 3, 3

# What a Python and its libraries read of any machine. Of /proc its own folder alone: another process of this account
# has its variables in there.
_MACHINE = (
    ("/proc/self", _READ_FILE | _READ_DIR),
    *((f"/proc/{name}", _READ_FILE) for name in ("cpuinfo", "filesystems", "meminfo", "stat")),
    ("/proc/sys/vm/overcommit_memory", _READ_FILE),
    ("/sys/devices/system", _READ_FILE | _READ_DIR),
    ("/sys/fs/cgroup", _READ_FILE),  # joblib counts processors there
    *((f"/dev/{name}", _READ_FILE | _WRITE_FILE) for name in ("full", "null", "zero")),
    *((f"/dev/{name}", _READ_FILE) for name in ("random", "urandom")),
)

_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """Which version of Landlock the kernel has. Raises OSError where there is none, or it may not be asked."""
    return _call("landlock_create_ruleset", _CREATE, None, 0, _VERSION)


def confine(readable: Sequence[str], writable: Sequence[str], known: int) -> None:
    """Keep this process, and all that it starts, to what is below these paths: reading and executing, or all.

    `known`: the version to be used, at most the kernel's. From 4 on there is no TCP, from `SIGNALS` on there are no
    signals to others; in each, no tracing of others. The process has no way to new privileges already. Raises
    OSError.
    """
    rights = (1 << _KNOWN.get(known, _KNOWN[5])) - 1
    handled = struct.pack("Q", rights)
    handled += struct.pack("Q", _BIND_CONNECT) if known >= _TCP else b""
    handled += struct.pack("Q", _ABSTRACT_SIGNAL) if known >= _SCOPED else b""
    ruleset = _call("landlock_create_ruleset", _CREATE, handled, len(handled), 0)
    try:
        for path in readable:
            _allow(ruleset, path, (_EXECUTE | _READ_FILE | _READ_DIR) & rights)
        for path in writable:
            _allow(ruleset, path, rights & ~(_EXECUTE | _MAKE_CHAR | _MAKE_BLOCK))
        for path, right in _MACHINE:
            with contextlib.suppress(FileNotFoundError, PermissionError):  # masked in a container
                _allow(ruleset, path, right & rights)
        _call("landlock_restrict_self", _RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights &= -1 if os.path.isdir(path) else _OF_FILES
        rule = struct.pack("=Qi", rights, place)
        _call(f"landlock_add_rule {path}", _ADD, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(place)


def _call(what: str, number: int, *arguments: int | bytes | None) -> int:
    words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *words))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result

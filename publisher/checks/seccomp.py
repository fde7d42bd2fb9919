"""A seccomp filter: the calls by which a program gets at the network and at other processes of this machine fail.

Imported by launcher.py: standard library alone. For what is kept to some files by Landlock or a changed root, and has
no namespaces: what those leave open is closed here. It names what is refused, because libraries call almost
everything else; calls that are newer than this page are unknown to the program.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence

_SET, _FILTER = 22, 2  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000  # SECCOMP_RET_…
_LOAD, _EQUAL, _AT_LEAST, _ANY_OF, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06  # BPF
_NUMBER, _MACHINE, _FIRST = 0, 4, 16  # places in seccomp_data; an argument has 8 bytes, little-endian
_NEW = 471  # the first call that nothing is known of here; the numbers of x32 are above it, too
_NAMESPACES = 0x7E020000  # CLONE_NEW…, as clone takes them
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # AUDIT_ARCH_…, the column below

# name: number on x86-64, on aarch64; None where there is no such call.
_CALLS: dict[str, tuple[int | None, int | None]] = {
    **{"socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200)},
    **{"listen": (50, 201), "accept": (43, 202), "accept4": (288, 242)},
    **{"io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427)},
    **{"ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271)},
    **{"process_madvise": (440, 440), "kcmp": (312, 272), "pidfd_getfd": (438, 438), "prlimit64": (302, 261)},
    **{"kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "pidfd_send_signal": (424, 424)},
    **{"rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240)},
    **{"keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218)},
    **{
        "shmget": (29, 194),
        "shmat": (30, 196),
        "shmctl": (31, 195),
        "semget": (64, 190),
        "semctl": (66, 191),
    },
    **{"msgget": (68, 186), "msgctl": (71, 187), "mq_open": (240, 180), "mq_unlink": (241, 181)},
    **{"perf_event_open": (298, 241), "bpf": (321, 280), "userfaultfd": (323, 282), "syslog": (103, 116)},
    **{"clone": (56, 220), "clone3": (435, 435), "unshare": (272, 97), "setns": (308, 268)},
    **{"mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51)},
    **{"fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433)},
    **{"open_tree": (428, 428), "move_mount": (429, 429), "mount_setattr": (442, 442)},
    **{"open": (2, None), "openat": (257, 56), "openat2": (437, 437), "truncate": (76, 45)},
    **{"fcntl": (72, 25), "ioctl": (16, 29), "inotify_add_watch": (254, 27), "fanotify_init": (300, 262)},
    **{"setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463)},
    **{"removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16)},
    **{"removexattrat": (466, 466), "file_setattr": (469, 469)},
}
# Of the account's own files, wherever they are: neither Landlock nor a mode would stop it.
_KEPT: dict[str, tuple[int | None, int | None]] = {
    **{"chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452)},
    **{"chown": (92, None), "lchown": (94, None), "fchown": (93, 55), "fchownat": (260, 54)},
    **{"utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88)},
}
_UNKNOWN = {
    "clone3",
    "openat2",
}  # their arguments lie in memory, which no filter reads; others are used instead
_SIGNALS = {"kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"}  # the first argument is a process
_ANY_SIGNAL = {"tkill", "pidfd_send_signal"}
# Who gets a signal (F_SETOWN, F_SETOWN_EX, FIOSETOWN, SIOCSPGRP), who waits (F_SETLEASE), what a terminal was told.
_COMMANDS = {"fcntl": (8, 15, 1024), "ioctl": (0x8901, 0x8902, 0x5412, 0x541C)}

_Code = tuple[int, int, int, int]  # what, how many to skip if so, and if not, a number


def install(*, signals: bool, modes: bool) -> None:
    """Filter the calls of this process and of all that it starts, from here on.

    `signals`: it may send them to others, because something else sees to that; else only to itself. `modes`: it may
    change those of files; else that comes to nothing, and it is told that it has. The process has no way to new
    privileges already. Raises OSError, also for a processor that is not known here.
    """
    machine = os.uname().machine
    if machine not in _MACHINES:
        raise OSError(errno.ENOSYS, f"no seccomp filter for {machine} is known")
    code = b"".join(struct.pack("HBBI", *each) for each in _program(machine, os.getpid(), signals, modes))
    kept = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(kept))
    if ctypes.CDLL(None, use_errno=True).prctl(_SET, _FILTER, head, 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, f"seccomp: {os.strerror(error)}")


def _program(machine: str, process: int, signals: bool, modes: bool) -> Iterator[_Code]:
    architecture, column = _MACHINES[machine]
    yield from [(_LOAD, 0, 0, _MACHINE), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL)]
    yield from [(_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, _NEW), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    for name, numbers in _CALLS.items():
        if signals and name in _SIGNALS | _ANY_SIGNAL:
            continue
        yield from _called(numbers[column], _rule(name, process))
    if not modes:
        for places in _KEPT.values():
            yield from _called(places[column], _refused(0))
    yield (_RETURN, 0, 0, _ALLOW)


def _called(number: int | None, then: Sequence[_Code]) -> Iterator[_Code]:
    """`then`, which returns in any case, for the call of this number."""
    if number is not None:
        yield (_EQUAL, 0, len(then), number)
        yield from then


def _rule(name: str, process: int) -> list[_Code]:
    rule = _refused(errno.ENOSYS if name in _UNKNOWN else errno.EACCES if name == "socket" else errno.EPERM)
    if name == "socketpair":  # asyncio's; one of datagrams could be addressed to others
        pair = _only(1, (socket.SOCK_STREAM, socket.SOCK_SEQPACKET), errno.EACCES, mask=0xF)
        rule = [_argument(0), (_EQUAL, 1, 0, socket.AF_UNIX), *_refused(errno.EACCES), *pair]
    elif name == "clone":
        rule = [_argument(0), (_ANY_OF, 0, 1, _NAMESPACES), *rule, (_RETURN, 0, 0, _ALLOW)]
    elif name in ("open", "openat"):  # to cut a file that may be read, which Landlock knows from version 3 on
        flags = _none(1 if name == "open" else 2, (os.O_TRUNC, 3, 3 | os.O_TRUNC), errno.EACCES)
        rule = [flags[0], (_AND, 0, 0, 3 | os.O_TRUNC), *flags[1:]]
    elif name == "prlimit64":
        rule = _only(0, (0,), errno.EPERM)
    elif name in _SIGNALS:
        rule = _only(0, (process, 0) if name == "kill" else (process,), errno.EPERM)
    elif name in _COMMANDS:
        rule = _none(1, _COMMANDS[name], errno.EPERM)
    return rule


def _only(which: int, values: Sequence[int], error: int, mask: int = 0xFFFFFFFF) -> list[_Code]:
    tests = [(_EQUAL, len(values) - number, 0, value) for number, value in enumerate(values)]
    return [_argument(which), (_AND, 0, 0, mask), *tests, *_refused(error), (_RETURN, 0, 0, _ALLOW)]


def _none(which: int, values: Sequence[int], error: int) -> list[_Code]:
    tests = [(_EQUAL, len(values) - number, 0, value) for number, value in enumerate(values)]
    return [_argument(which), *tests, (_RETURN, 0, 0, _ALLOW), *_refused(error)]


def _argument(which: int) -> _Code:
    return (_LOAD, 0, 0, _FIRST + 8 * which)


def _refused(error: int) -> list[_Code]:
    return [(_RETURN, 0, 0, _ERROR | error)]

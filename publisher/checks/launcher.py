"""Starts one program within limits, sees to it that they hold, and tells how it ended. Standard library alone.

    python -I -S launcher.py ANSWER STATUS

The job is JSON on standard input, see `enclosure.py`. ANSWER and STATUS are descriptors: the program gets the first
as its number 3; to the second goes one line of JSON, with `ended` and `code`, or `fault`: why nothing was started.
SIGTERM ends the program. Whatever it has started ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import shutil
import signal
import socket
import stat
import struct
import sys
import time
from typing import Any, NoReturn

# An isolated Python looks for modules in its own folders alone. Behind those: what it imports of itself stays its own.
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from publisher.checks import landlock, seccomp

EVERY = 0.1  # seconds between two looks at what runs
ANSWER = 3
_ALL_NEW = (
    0x10000000 | 0x20000 | 0x20000000 | 0x40000000 | 0x8000000 | 0x4000000
)  # CLONE_NEWUSER, NS, PID, NET, IPC, UTS
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = (
    1,
    2,
    4,
    8,
    32,
    4096,
    1 << 14,
    1 << 18,
)  # MS_…
_RELATIME, _ST_RELATIME = 1 << 21, 4096
_LOCKED = _NOSUID | _NODEV | _NOEXEC | 1024 | 2048  # flags that have the same number as those of statvfs
_PARENT_DEATH, _NO_NEW_RIGHTS, _SUBREAPER, _BOUND_READ, _BOUND_DROP = 1, 38, 36, 23, 24  # PR_…
_DEVICES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    job = json.load(sys.stdin)
    answer, status = (fcntl.fcntl(int(end), fcntl.F_DUPFD_CLOEXEC, 10) for end in sys.argv[1:])
    for end in sys.argv[1:]:
        os.close(int(end))
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    _libc.prctl(_PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
    _libc.prctl(_SUBREAPER, 1, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
    child = os.fork()
    if not child:
        _start(job, answer, status)
    os.close(answer)
    for number in (1, 2):  # the reader sees the end of what the program prints when that ends
        os.dup2(0, number)
    ended, code = _watch(child, job)
    os.write(status, json.dumps({"ended": ended, "code": code}).encode() + b"\n")


def _watch(child: int, job: dict[str, Any]) -> tuple[str, int | None]:
    end = time.monotonic() + job["seconds"]
    while True:
        asked = signal.sigtimedwait({signal.SIGCHLD, signal.SIGTERM}, EVERY)
        code = _reaped(child)
        ended = "exit" if code is not None else ""
        if not ended and asked is not None and asked.si_signo == signal.SIGTERM:
            ended = "output"
        if not ended and time.monotonic() > end:
            ended = "time"
        if not ended:
            running = _descendants()
            if len(running) > job["processes"]:
                ended = "processes"
            elif sum(map(_memory, running)) > job["memory"]:
                ended = "memory"
        if ended:
            _end_all()
            return ended, code


def _reaped(child: int) -> int | None:
    """Take leave of all that have ended; the child's code, if it is among them."""
    code = None
    try:
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            if found[0] == child:
                code = os.waitstatus_to_exitcode(found[1])
    except ChildProcessError:
        pass
    return code


def _descendants() -> list[int]:
    above: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    above.setdefault(int(file.read().rpartition(b")")[2].split()[1]), []).append(int(name))
            except (OSError, IndexError):
                continue
    found, todo = [], [os.getpid()]
    while todo:
        below = above.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _memory(process: int) -> int:
    """Bytes that are its own: what it shares with a file on disk can go again."""
    try:
        with open(f"/proc/{process}/statm", "rb") as file:
            _, resident, shared = map(int, file.read().split()[:3])
    except (OSError, ValueError):
        return 0
    return max(0, resident - shared) * resource.getpagesize()


def _end_all() -> None:
    until = time.monotonic() + 10
    while (running := _descendants()) and time.monotonic() < until:
        for process in running:
            try:
                os.kill(process, signal.SIGKILL)
            except OSError:  # gone, or of another user already
                continue
        _reaped(0)
        time.sleep(0.005)


def _start(job: dict[str, Any], answer: int, status: int) -> NoReturn:
    try:
        os.dup2(answer, ANSWER)
        _libc.prctl(_PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and what it starts would
            signal.signal(number, signal.SIG_DFL)
        os.umask(0o022)
        for kind, most in job["limits"].items():
            _limit(getattr(resource, f"RLIMIT_{kind}"), most)
        if job["way"] == "namespaces":
            _namespaces(job)
        elif job["way"] == "chroot":
            _changed_root(job)
        else:
            os.chdir(job["workdir"])
        if job["way"] != "bubblewrap":
            _call("prctl", _libc.prctl(_NO_NEW_RIGHTS, 1, 0, 0, 0))
        if job["way"] == "landlock":
            _no_rights()
            known = landlock.version()
            landlock.confine([*job["readable"]], [*job["writable"]], known)
            seccomp.install(signals=known >= landlock.SIGNALS, modes=False)
        elif job["way"] == "chroot":
            seccomp.install(signals=False, modes=True)
        os.execve(job["command"][0], job["command"], job["environment"])
    except Exception as error:  # whatever it is, it is told
        os.write(status, json.dumps({"fault": f"{type(error).__name__}: {error}"}).encode() + b"\n")
    os._exit(125)


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))


def _namespaces(job: dict[str, Any]) -> None:
    """Go on as a process that sees nothing but the image; the one that was called ends as that one ends."""
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", _libc.unshare(_ALL_NEW))
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{job['uid']} {uid} 1"),
        ("gid_map", f"{job['gid']} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    if first := os.fork():
        _follow(first)
    _libc.prctl(_PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
    _loopback()
    _mounts(job)
    os.chroot(job["root"])
    os.chdir(job["workdir"])
    if program := os.fork():  # number 1 of its processes takes leave of those whose parents are gone
        _follow(program)
    number = 0
    while _libc.prctl(_BOUND_DROP, number, 0, 0, 0) == 0:  # fails for the first that there is not
        number += 1


def _follow(child: int) -> NoReturn:
    """End as the child ends; a signal as shells tell it."""
    while True:
        process, code = os.wait()
        if process == child:
            code = os.waitstatus_to_exitcode(code)
            os._exit(code if code >= 0 else 128 - code)


def _mounts(job: dict[str, Any]) -> None:
    root = job["root"]
    _mount(None, "/", None, _REC | _PRIVATE)
    _read_only(root, root)
    for source, place in job["joints"]:
        _read_only(source, f"{root}/{place}")
    for place, size in (("dev", 1 << 16), ("dev/shm", job["room"]), ("tmp", job["room"])):
        if place == "dev/shm":
            os.mkdir(f"{root}/dev/shm")
        _mount("tmpfs", f"{root}/{place}", "tmpfs", _NOSUID | _NODEV, f"size={size},mode=1777")
    devices = [(f"/dev/{name}", name) for name in _DEVICES] + (
        [(job["emulator"], "emulator")] if job["emulator"] else []
    )
    for source, name in devices:
        os.close(os.open(f"{root}/dev/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        _mount(source, f"{root}/dev/{name}", None, _BIND)
    os.symlink("/proc/self/fd", f"{root}/dev/fd")
    with contextlib.suppress(OSError):  # a container whose own is masked may not: few programs miss it
        # Read-only: where root runs this, the program has root's number, by which the kernel lets it set /proc/sys.
        _mount("proc", f"{root}/proc", "proc", _RDONLY | _NOSUID | _NODEV | _NOEXEC)


def _read_only(source: str, place: str) -> None:
    _mount(source, place, None, _BIND)
    there = os.statvfs(place).f_flag  # flags of a file system of the machine cannot be taken off it
    kept = there & _LOCKED | (_RELATIME if there & _ST_RELATIME else 0)
    _mount(None, place, None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV | kept)


def _mount(source: str | None, place: str, kind: str | None, flags: int, options: str = "") -> None:
    words = [each.encode() if each is not None else None for each in (source, place, kind)]
    _call(f"mount {place}", _libc.mount(*words, ctypes.c_ulong(flags), options.encode() or None))


def _loopback() -> None:
    """Switch on the one network interface that there is, which leads nowhere else."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        fcntl.ioctl(end, 0x8914, struct.pack("16sh14x", b"lo", 0x1))  # SIOCSIFFLAGS, IFF_UP


def _changed_root(job: dict[str, Any]) -> None:
    root = job["root"]
    for name in ("dev/shm", "tmp"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
        os.chmod(f"{root}/{name}", 0o1777)
    for name, minor in _DEVICES.items():
        with contextlib.suppress(OSError):  # there already, or a container that may make none
            os.mknod(f"{root}/dev/{name}", stat.S_IFCHR | 0o666, os.makedev(1, minor))
            os.chmod(f"{root}/dev/{name}", 0o666)
    if job["emulator"] and not os.path.exists(f"{root}/dev/emulator"):
        shutil.copy(job["emulator"], f"{root}/dev/emulator")
    os.chroot(root)
    os.chdir(job["workdir"])
    os.setgroups([])
    os.setgid(job["gid"])
    os.setuid(job["uid"])


def _no_rights() -> None:
    """Without any capability, also as root, and also what is executed."""
    number = 0
    while (there := _libc.prctl(_BOUND_READ, number, 0, 0, 0)) >= 0:  # fails for the first that there is not
        if there and not os.geteuid():  # only root gets them by executing
            _call("prctl", _libc.prctl(_BOUND_DROP, number, 0, 0, 0))
        number += 1
    _call("capset", _libc.capset(struct.pack("Ii", 0x20080522, 0), bytes(24)))


def _call(what: str, result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main()

"""Runs where a model runs, and tries to get out: what succeeded is the answer, as JSON. Standard library alone.

python -c ATTACKS '{"pid": …, "port": …, "socket": …, "abstract": …, "file": …, "folder": …, "tree": …}'
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import platform
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

aims = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"


def checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result


def call(number: int, *arguments: Any) -> int:
    return checked(libc.syscall(ctypes.c_long(number), *arguments))


def datagram() -> None:
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.sendto(b"x", aims["socket"])


def connected(address: str) -> None:
    one, _ = socket.socketpair()
    one.connect(address)


def owner() -> None:
    """A pipe whose news go to another process, as a signal of choice."""
    read, _ = os.pipe()
    fcntl.fcntl(read, fcntl.F_SETOWN, aims["pid"])


def to_all() -> None:
    """Who may be signalled is for those to tell who hear it."""
    os.kill(-1, signal.SIGWINCH)
    raise PermissionError("nobody is told who heard it")


def new_mode() -> None:
    os.chmod(aims["file"], 0o777)
    if os.stat(aims["file"]).st_mode & 0o777 != 0o777:
        raise PermissionError("pretended")


def new_time() -> None:
    os.utime(aims["file"], (1, 1))
    if os.stat(aims["file"]).st_mtime != 1:
        raise PermissionError("pretended")


def peek() -> None:
    here, there = ctypes.create_string_buffer(8), ctypes.c_ulong(id(call))
    vectors = (ctypes.c_ulong * 2)(ctypes.addressof(here), 8), (ctypes.c_ulong * 2)(there.value, 8)
    call(310 if X86 else 270, ctypes.c_long(aims["pid"]), vectors[0], 1, vectors[1], 1, 0)


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(1)


pid, outside, inside = aims["pid"], aims["folder"], aims["tree"]
ATTACKS: dict[str, Callable[[], Any]] = {
    "connect": lambda: socket.create_connection(("127.0.0.1", aims["port"]), 2),
    "datagrams": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "socket of a path": lambda: socket.socket(socket.AF_UNIX).connect(aims["socket"]),
    "abstract socket": lambda: socket.socket(socket.AF_UNIX).connect("\0" + aims["abstract"]),
    "pair of datagrams": datagram,
    "connected pair": lambda: connected(aims["socket"]),
    "io_uring": lambda: call(425, 4, ctypes.create_string_buffer(120)),
    "read": lambda: read(aims["file"]),
    "list": lambda: os.listdir(outside),
    "list more": lambda: os.listdir("/home"),
    "shadow": lambda: read("/etc/shadow"),
    "environ": lambda: read(f"/proc/{pid}/environ"),
    "command line": lambda: read(f"/proc/{pid}/cmdline"),
    "memory": lambda: open(f"/proc/{pid}/mem", "rb").close(),
    "its files": lambda: os.readlink(f"/proc/{pid}/exe"),
    "parent": lambda: read(f"/proc/{os.getppid()}/environ"),
    "write": lambda: open(aims["file"], "r+b").close(),
    "make": lambda: open(f"{outside}/new", "wb").close(),
    "make in the tree": lambda: open(f"{inside}/etc/new", "wb").close(),
    "cut": lambda: os.truncate(aims["file"], 0),
    "cut by opening": lambda: os.open(aims["file"], os.O_RDONLY | os.O_TRUNC),
    "cut by opening otherwise": lambda: os.open(aims["file"], 3 | os.O_TRUNC),
    "cut the tree's": lambda: os.open(f"{inside}/etc/debian_version", os.O_RDONLY | os.O_TRUNC),
    "mode": new_mode,
    "time": new_time,
    "rename": lambda: os.rename(aims["file"], f"{outside}/other"),
    "folder": lambda: os.mkdir(f"{outside}/folder"),
    "link": lambda: os.symlink("/", f"{outside}/link"),
    "hard link": lambda: os.link(aims["file"], f"{os.environ['TMPDIR']}/link"),
    "delete": lambda: os.unlink(aims["file"]),
    "attribute": lambda: os.setxattr(aims["file"], "user.x", b"x"),
    "signal": lambda: os.kill(pid, signal.SIGWINCH),
    "signal to all": to_all,
    "signal to the parent": lambda: os.kill(os.getppid(), signal.SIGWINCH),
    "signal by a pipe": owner,
    "limits": lambda: resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0)),
    "trace": lambda: checked(libc.ptrace(0x4206, pid, None, None)),
    "peek": peek,
    "namespace": lambda: checked(libc.unshare(0x10000000)),
    "namespace by clone": lambda: call(56 if X86 else 220, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0),
    "keys": lambda: call(250 if X86 else 219, 0, -3, 0),
    "shared memory": lambda: checked(libc.shmget(0, 4096, 0o1600)),
    "mount": lambda: checked(libc.mount(b"none", b"/mnt", b"tmpfs", 0, None)),
    "a program": lambda: subprocess.run(["/bin/ls", "/"], check=True, capture_output=True),
    "rights": lambda: os.setuid(1),
}


def allowed() -> None:
    """What a model may need: processes, threads, an event loop, files of its own. Raises where it has not got it."""
    import asyncio
    import tempfile
    import threading

    asyncio.run(asyncio.sleep(0))
    thread = threading.Thread(target=str)
    thread.start()
    thread.join()
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/own", "w") as file:
            file.write("x")
        os.chmod(f"{folder}/own", 0o600)
        os.mkdir(f"{folder}/below")
        os.rename(f"{folder}/own", f"{folder}/renamed")
    child = os.fork()
    if not child:
        os._exit(5)
    if os.waitpid(child, 0)[1] != 5 << 8:
        raise RuntimeError("a process cannot be waited for")
    os.kill(os.getpid(), 0)
    if os.urandom(1) and os.cpu_count() and read("/dev/zero") != b"\0":
        raise RuntimeError("no zeros")


done = []
for name, attack in ATTACKS.items():
    try:
        attack()
    except (OSError, subprocess.SubprocessError):
        continue
    if name == "namespace by clone" and os.getpid() != os.getpgid(0):
        os._exit(0)
    done.append(name)
allowed()
os.write(3, json.dumps({"done": done, "uid": os.getuid()}).encode())

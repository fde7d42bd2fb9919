"""attacks.py in this machine's Python, kept by Landlock as an older kernel has it, which a newer one can do as well.

python attacks_here.py VERSION FOLDER
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
from pathlib import Path

from publisher.checks import landlock, seccomp
from tests.checks.attacked import CODE, aims


def main(known: str, folder: str) -> None:
    readable = [
        path for path in ("/usr", "/lib", "/lib64", sys.base_prefix, sys.prefix) if Path(path).exists()
    ]
    (read, write), code = os.pipe(), CODE.read_text()
    with tempfile.TemporaryDirectory() as own, aims(Path(folder)) as attacked:
        if not (child := os.fork()):
            os.setsid()
            os.dup2(write, 3)
            ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
            landlock.confine(readable, [own], int(known))
            seccomp.install(signals=False, modes=False)
            command = [sys.executable, "-I", "-S", "-c", code, json.dumps(attacked)]
            os.execve(sys.executable, command, {"TMPDIR": own})  # noqa: S606
        os.close(write)
        os.waitpid(child, 0)
        told = json.loads(os.read(read, 1 << 16))
    print(json.dumps({**told, "heard": attacked["heard"]}))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Lets attacks.py loose in an image's Python: on this process, on one of its account, on files and sockets of it.

    python attacked.py WAY LAYOUT FOLDER [CACHE]

WAY is one of `WAYS`, or ``best``; what comes of it is one line of JSON: the way, and what the attacks came to.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from publisher.checks import enclosure
from publisher.checks.own_python import Roots
from publisher.checks.surveys import Surveys
from publisher.domain import Platform
from publisher.oci import layout as layouts
from publisher.oci import layout_folder

CODE = Path(__file__).with_name("attacks.py")


@contextmanager
def aims(folder: Path) -> Iterator[dict[str, Any]]:
    """What is attacked, as the attacks are told of it; what this process hears of signals is in `heard`."""
    abstract, heard = f"attacked-{os.getpid()}", list[int]()
    (folder / "canary").write_text("mine")
    tcp, path, hidden = socket.socket(), socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    tcp.bind(("127.0.0.1", 0))
    path.bind(f"{folder}/socket")
    hidden.bind(f"\0{abstract}")
    for server in (tcp, path, hidden):
        server.listen()
    signal.signal(signal.SIGWINCH, lambda number, _: heard.append(number))
    places = {"folder": f"{folder}", "file": f"{folder}/canary", "socket": f"{folder}/socket"}
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, env={"CANARY": "x"}, stdin=subprocess.PIPE) as victim:
        port = tcp.getsockname()[1]
        yield {**places, "abstract": abstract, "pid": victim.pid, "port": port, "heard": heard, "tree": "/"}
        victim.kill()
    for server in (tcp, path, hidden):
        server.close()


def main(wanted: Any, image: str, folder: str, cache: str | None = None) -> None:
    layout = layout_folder.read(Path(image))
    here = Platform("linux", {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine])
    manifest = dict(layouts.platforms(layout))[here].digest
    way = enclosure.best() if wanted == "best" else wanted
    kept = Path(cache) if cache else None
    roots = Roots(kept, Surveys(kept), way)
    with aims(Path(folder)) as attacked, roots.open(layout, here, manifest, emulate=False) as root:
        attacked["tree"] = root.path("/")
        ran = root.run(CODE.read_bytes(), [json.dumps(attacked)], environment={}, seconds=60)
    left = sorted(each.name for each in Path(folder).iterdir())
    told = {"way": way, "shut_in": root.shut_in, "isolation": root.isolation, "left": left}
    print(
        json.dumps({**told, "heard": attacked["heard"], "said": ran.said, **json.loads(ran.answer or b"{}")})
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

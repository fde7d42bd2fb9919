"""Processes that make layers out of wheels: Python's own work for each file must not wait for one lock.

A worker is a `python -c` with JSON lines in and out. No multiprocessing: it would import the caller's main
module again, which in a script without a guard runs it again.
"""

from __future__ import annotations

import errno
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import publisher
from publisher.builders.layers import wheel
from publisher.errors import BuildError, HostError
from publisher.machine import processors
from publisher.oci.layer import Layer, LayerWriter, write_layer

_ROOT = Path(publisher.__file__).parents[1]
_START = (
    "import sys; sys.path.append(sys.argv[1]); from publisher.builders.layers import worker; worker.main()"
)
# What an interpreter and its libraries need. Credentials are in none of these: a worker reads wheels of strangers.
_KEPT = re.compile(
    r"PATH|HOME|TMPDIR|LANG|LC_\w+|TZ|(LD|DYLD)_\w+|PYTHON\w*|MALLOC_\w+|SYSTEMROOT|VIRTUAL_ENV"
)


def make(task: Mapping[str, Any]) -> Layer:
    """Do one task: `out` the file to write, and either `wheels`, `python` and perhaps `slim`, or `pieces`.

    `pieces`: [path in the image, file, offset, length], in order.
    """
    if "wheels" in task:

        def fill(writer: LayerWriter) -> None:
            # The entries of all wheels in one order; of two with one path the later wheel's stays.
            archives, found = [], []
            for path in map(Path, task["wheels"]):
                with wheel.readable(path):
                    archives.append((path, zipfile.ZipFile(path)))
                    found.append(
                        wheel.entries(archives[-1][1], task["python"], slimmed=task.get("slim", False))
                    )
            last = {entry.path: number for number, entries in enumerate(found) for entry in entries}
            for number, (path, archive) in enumerate(archives):
                kept = [entry for entry in found[number] if last[entry.path] == number]
                with wheel.readable(path), archive:
                    wheel.write(writer, path, archive, kept)
    else:

        def fill(writer: LayerWriter) -> None:
            with ExitStack() as stack:
                names = sorted({piece[1] for piece in task["pieces"]})
                files = {name: stack.enter_context(Path(name).open("rb")) for name in names}
                for path, name, offset, length in task["pieces"]:
                    files[name].seek(offset)
                    content = files[name].read(length)
                    if len(content) != length:
                        raise OSError(errno.EIO, f"it ends before the {length} bytes of {path}", name)
                    writer.file(path, content)

    return write_layer(Path(task["out"]), fill)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; whoever started us ends us
    for line in sys.stdin:
        try:
            layer = make(json.loads(line))
            answer: dict[str, Any] = {"digest": layer.digest, "size": layer.size, "diff_id": layer.diff_id}
        except BuildError as error:
            answer = {"error": str(error), "hint": error.hint}
        except OSError as error:
            answer = {"host": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    # glibc gives large blocks back to the kernel at once, which then zeroes them anew for each file.
    found = {"MALLOC_MMAP_THRESHOLD_": str(1 << 26), "MALLOC_TRIM_THRESHOLD_": str(1 << 27)}
    return found | {key: value for key, value in environ.items() if _KEPT.fullmatch(key)}


class Workers:
    """A few workers, started when there is something to do. `make` blocks; call it from threads."""

    def __init__(self, number: int | None = None) -> None:
        self.number = number or processors()
        self._idle: queue.SimpleQueue[subprocess.Popen[str] | None] = queue.SimpleQueue()
        self._all: list[subprocess.Popen[str]] = []
        self._lock = threading.Lock()
        for _ in range(self.number):
            self._idle.put(None)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._all:
            if process.stdin:
                process.stdin.close()
            if kind is not None:
                process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()

    def make_wheels(self, wheels: Sequence[Path], python: str, out: Path, *, slim: bool = False) -> Layer:
        paths = [str(path) for path in wheels]
        return self._ask({"wheels": paths, "python": python, "slim": slim, "out": str(out)})

    def make_pieces(self, pieces: Sequence[tuple[str, str, int, int]], out: Path) -> Layer:
        return self._ask({"pieces": pieces, "out": str(out)})

    def _ask(self, task: Mapping[str, Any]) -> Layer:
        process = self._idle.get()
        try:
            if process is None:
                process = self._start()
            if process.stdin is None or process.stdout is None:
                raise HostError("a worker has no pipes")
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            self._idle.put(process)
        if not line:
            raise HostError("a worker process ended early", hint="Was it out of memory?")
        answer = json.loads(line)
        if "host" in answer:
            raise HostError(f"a layer cannot be written: {answer['host']}", hint="Is the disk full?")
        if "error" in answer:
            raise BuildError(answer["error"], hint=answer["hint"])
        return Layer(answer["digest"], answer["size"], answer["diff_id"])

    def _start(self) -> subprocess.Popen[str]:
        # -P: without it the current folder, which may be full of a model's files, would be looked through for
        # every module first. publisher itself comes last, wherever it was imported from.
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, str(_ROOT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(os.environ),
        )
        with self._lock:
            self._all.append(process)
        return process

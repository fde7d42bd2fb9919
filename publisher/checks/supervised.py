"""Runs a job of launcher.py, and reads what it says: within bounds, and nothing of it is believed."""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from publisher.checks import launcher
from publisher.errors import HostError
from publisher.redaction import redacted

Ended = Literal["exit", "signal", "time", "memory", "processes", "output"]

_ANSWER = 16 << 20  # bytes
_PRINTED = 64 << 20  # bytes, of which the end is kept
_KEPT, _SAID = (
    64 << 10,
    4 << 10,
)  # bytes; a credential that begins before what is kept is far from what is told
_GRACE = 15.0  # seconds for the launcher to end all that it has started
_SIGNALS = {int(each) for each in signal.Signals}


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended. `returncode`: None where it was ended by us; negative, the number of a signal.

    `said`: the end of what it printed, a few kB, without credentials and control characters. `answer`: the bytes
    that it wrote to the descriptor 3, 16 MiB at most. `seconds`: by the clock on the wall.
    """

    returncode: int | None
    ended: Ended
    said: str
    answer: bytes
    seconds: float


def run(job: Mapping[str, Any], *, wrapped: bool) -> Ran:
    """`job` is what launcher.py takes. `wrapped`: signals are told as shells tell them, by 128 and the number.

    Raises HostError where the program was not started.
    """
    begun = time.monotonic()
    answer, answer_end = os.pipe()
    status, status_end = os.pipe()
    ends = {"answer": answer, "status": status}
    try:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(launcher.__file__)), str(answer_end), str(status_end)],
                env={},
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(answer_end, status_end),
                start_new_session=True,
            )
        finally:
            os.close(answer_end)
            os.close(status_end)
        if process.stdin is None or process.stdout is None:
            raise TypeError("a pipe was asked for")
        with process.stdin as pipe, suppress(BrokenPipeError):
            pipe.write(json.dumps(job).encode())
        with process.stdout as output:
            try:
                found = _read({**ends, "output": output.fileno()}, process, begun + job["seconds"] + _GRACE)
            finally:
                _end(process)
    finally:
        for end in ends.values():
            os.close(end)
    return _told(found, time.monotonic() - begun, wrapped=wrapped)


def _read(ends: Mapping[str, int], process: subprocess.Popen[bytes], until: float) -> dict[str, bytes]:
    found, bounds = dict.fromkeys(ends, b""), {"answer": _ANSWER, "output": _PRINTED, "status": 1 << 16}
    length = dict.fromkeys(ends, 0)
    with selectors.DefaultSelector() as open_ends:
        for name, end in ends.items():
            open_ends.register(end, selectors.EVENT_READ, name)
        # The status ends with the launcher. Another end may be held open by a program that got away.
        while any(key.data == "status" for key in open_ends.get_map().values()) and time.monotonic() < until:
            for key, _ in open_ends.select(1.0):
                piece = os.read(key.fd, 1 << 16)
                if not piece:
                    open_ends.unregister(key.fd)
                length[key.data] += len(piece)
                if length[key.data] > bounds[key.data]:
                    if process.poll() is None:
                        process.terminate()
                elif key.data == "output":
                    found[key.data] = (found[key.data] + piece)[-_KEPT:]
                else:
                    found[key.data] += piece
        for key in [key for key in open_ends.get_map().values() if key.data != "status"]:
            os.set_blocking(key.fd, False)
            with suppress(BlockingIOError):
                rest = os.read(key.fd, 1 << 16)
                found[key.data] = (found[key.data] + rest)[-bounds[key.data] :]
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _told(found: Mapping[str, bytes], seconds: float, *, wrapped: bool) -> Ran:
    lines = found["status"].splitlines()
    told: dict[str, Any] = json.loads(lines[0]) if lines else {"ended": "time", "code": None}
    text = re.sub(
        r"[^\S\n]+|[^\n -~\u00a0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd]",
        " ",
        found["output"].decode("utf-8", "replace"),
    )
    said = redacted(text)[-_SAID:].strip()
    fault = told.get("fault") or (
        said if wrapped and told["code"] == 1 and said.startswith("bwrap: ") else ""
    )
    if fault:
        raise HostError(f"a program of the image cannot be started here: {redacted(str(fault))[:300]}")
    ended, code = told["ended"], told["code"]
    if ended == "exit" and wrapped and code - 128 in _SIGNALS:
        code = 128 - code
    if ended == "exit" and code < 0:
        ended = "signal"
    return Ran(code if ended in ("exit", "signal") else None, ended, said, found["answer"], seconds)

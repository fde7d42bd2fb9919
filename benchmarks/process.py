"""One way to run a whole process and time it from outside, as its user would with a watch."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import machine


@dataclass(frozen=True, slots=True)
class Run:
    """`seconds` of wall clock; `cpu` seconds of the process and its children; `before`: how quiet it was."""

    seconds: float
    cpu: float
    output: str
    errors: str
    before: Mapping[str, float] = field(default_factory=dict)


def run(
    command: Sequence[str | Path],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    wait: bool = True,
) -> Run:
    """Run to the end and time it. `wait`: first let the machine become quiet. Raises RuntimeError on another exit than 0."""
    before = machine.quiet() if wait else {}
    words = [str(word) for word in command]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=output, stderr=errors)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)  # reaped here: Popen must not wait again
        output.seek(0)
        errors.seek(0)
        said, complained = (stream.read().decode(errors="replace") for stream in (output, errors))
    if process.returncode:
        raise RuntimeError(
            f"{words[0]} ended with {process.returncode}:\n{said[-2000:]}\n{complained[-4000:]}"
        )
    return Run(seconds, usage.ru_utime + usage.ru_stime, said, complained, before)

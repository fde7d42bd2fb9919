"""What a signal does to a process that is at work, as a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# It starts a tool of its own, claims something, and never comes to a stage's end.
PROGRAM = """
import subprocess, sys, time
from pathlib import Path
from publisher import signals
from publisher.running import Running

signals.GRACE = float(sys.argv[2])
running = Running()
running.claims["m v1"] = lambda: Path(sys.argv[1]).write_text("given up")
tool = subprocess.Popen(["sleep", "600"])
with signals.listening(running, lambda line: print(line, flush=True)):
    print(tool.pid, flush=True)
    while True:
        time.sleep(0.05)
"""


def started(place: Path, grace: float) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-c", PROGRAM, str(place), str(grace)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, int(process.stdout.readline())


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


def test_when_the_grace_is_over_claims_are_given_up_and_all_ends(tmp_path: Path) -> None:
    """A stage that does not end is cut off after SIGTERM, before Kubernetes would: no claim and no tool is left."""
    place = tmp_path / "claim"
    process, tool = started(place, 0.5)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 143
    assert place.read_text() == "given up"
    assert "SIGTERM: ending after the stage at hand" in output
    assert gone(tool)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once_with_all_that_was_started(tmp_path: Path, number: int) -> None:
    """Nobody waits for the grace, nor for MLflow."""
    place = tmp_path / "claim"
    process, tool = started(place, 60)
    process.send_signal(signal.SIGTERM)
    assert process.stdout
    assert process.stdout.readline().startswith("SIGTERM")
    process.send_signal(number)
    assert process.wait(20) == 128 + number
    process.stdout.close()
    assert not place.exists()
    assert gone(tool)

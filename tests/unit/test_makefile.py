"""The commands that people and CI run: make's targets, .ci/run, and the script that brings the engines."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

from tests.order import SECONDS

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / "tests/engines/install.sh"


def _phony() -> set[str]:
    line = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert line
    return set(line[1].split())


def test_make_alone_lists_every_target() -> None:
    """`make` with nothing else tells each target that there is, with what it does."""
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make (\w+) +\S", said, re.M)) == _phony()


def test_ci_runs_only_what_a_person_can_run() -> None:
    """Every step of .ci/run is a target of the Makefile, and tests and demo are among them."""
    steps = re.findall(r"^step (.*)$", (ROOT / ".ci/run").read_text(), re.M)
    assert {"make test", "make demo"} <= set(steps)
    assert {step.removeprefix("make ") for step in steps} <= _phony()


def test_without_apt_the_engines_that_are_missing_are_named(tmp_path: Path) -> None:
    """On a machine that is no Debian, install.sh goes on, says what is missing and which package has it."""
    for name in ("bash", "env", "id", "grep", "uname", "sleep", "seq"):
        program = shutil.which(name)
        assert program
        (tmp_path / name).symlink_to(program)
    done = subprocess.run(
        ["bash", str(INSTALL)],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"install by hand: .*\bdocker-registry\b", done.stdout)
    assert "container registry (docker-registry): missing" in done.stdout


def test_the_files_that_begin_first_are_there() -> None:
    """A file that is renamed takes its recorded seconds along, or would begin last."""
    recorded = json.loads(SECONDS.read_text())
    assert [name for name in recorded if not (ROOT / name).is_file()] == []
    assert list(recorded.values()) == sorted(recorded.values(), reverse=True)

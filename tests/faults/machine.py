"""A machine that faults happen to: folders of its own, and `publisher` as a process that can be killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.conftest import FOREIGN

STAGES = ("fetch", "lock", "build", "check", "push", "tag", "record")
SECONDS = 120  # none of these publications takes a tenth of it


@dataclass(frozen=True, slots=True)
class Machine:
    """`folder` holds settings, cache, work folder and TMPDIR; `index` is the only package index it knows."""

    folder: Path
    mlflow: str
    base: str
    index: str
    target: str

    def settings(self, registry: str, *, mlflow: str = "", **folders: Path | None) -> None:
        """Write publisher.toml with one target; `folders` replaces cache_folder and work_folder, None is for neither."""
        wanted = {"cache_folder": self.cache, "work_folder": self.work, **folders}
        places = {key: path for key, path in wanted.items() if path}
        lines = [f'mlflow_tracking_uri = "{mlflow or self.mlflow}"']
        lines += [f'{key} = "{path}"' for key, path in places.items()]
        lines += [f"[targets.{self.target}]", f'registry = "{registry}"', f'base = "{self.base}"']
        (self.folder / "publisher.toml").write_text("\n".join(lines) + "\n")
        for path in (self.temporary, *places.values()):
            path.mkdir(exist_ok=True)

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    def start(
        self, *arguments: str, environment: Mapping[str, str] | None = None, said: str = "said"
    ) -> subprocess.Popen[str]:
        """`publisher` as the leader of a process group of its own; what it says goes to the file `said`."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith((*FOREIGN, "UV_"))}
        clean |= {"TMPDIR": str(self.temporary), "XDG_CACHE_HOME": str(self.folder / "xdg")}
        clean |= {"DOCKER_CONFIG": str(self.folder / "docker"), "UV_DEFAULT_INDEX": self.index}
        with (self.folder / said).open("w") as sink:
            return subprocess.Popen(
                [str(Path(sys.executable).with_name("publisher")), *arguments],
                cwd=self.folder,
                env={**clean, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def run(
        self, *arguments: str, expect: int | None = 0, environment: Mapping[str, str] | None = None
    ) -> str:
        """Run to the end, and return what it said. `expect`: the exit code that it must have, None for any."""
        process = self.start(*arguments, environment=environment)
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            kill(process)
            raise
        said = self.said()
        if expect is not None and code != expect:
            raise AssertionError(f"publisher {' '.join(arguments)} ended with {code}:\n{said[-6000:]}")
        return said

    def said(self, name: str = "said") -> str:
        return (self.folder / name).read_text()

    def reached(self) -> str:
        """Where the run is by its log: the stage after the last one that it has done, "done" at the end."""
        said = self.said()
        if '"event": "published"' in said:
            return "done"
        done = re.findall(r'"stage": "(\w+)".*"outcome": "done"', said)
        return STAGES[STAGES.index(done[-1]) + 1] if done and done[-1] != STAGES[-1] else STAGES[0]

    def leftovers(self) -> list[str]:
        """Everything in the work folder and TMPDIR, and what is unfinished in the cache."""
        unfinished = [path for path in self.cache.rglob("*") if _unfinished(path.name)]
        found = [*self.work.rglob("*"), *self.temporary.rglob("*"), *unfinished]
        return sorted(str(path.relative_to(self.folder)) for path in found)


def _unfinished(name: str) -> bool:
    return name.startswith("publisher-run-") or name.endswith((".part", ".tmp"))


def kill(process: subprocess.Popen[str], *, group: bool = True) -> None:
    """SIGKILL to the whole group, or to its leader alone: then its workers find out by themselves."""
    try:
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except ProcessLookupError:
        pass  # it was faster
    process.wait()

"""kaniko's executor on this very machine or in this container, as root, in a root folder of its own.

It unpacks the base image over /, so that without one it would replace what it is started from.
"""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from publisher.builders import emulation, enclosed
from publisher.builders.dockerfile import Job
from publisher.builders.kaniko import HOME, VARIABLES, proxies
from publisher.builders.kaniko_layout import taken
from publisher.domain import Platform
from publisher.errors import BuildError, EngineError

_OF_THE_MACHINE = ("/etc/resolv.conf", "/etc/hosts", "/etc/hostname")
_NO_PARTS = ("/proc", "/sys", "/dev", *_OF_THE_MACHINE)  # as in any container, no image has them from here
# By number, as in enclosed.py; the others there are kept where they are.
_NEEDED = {
    **{name: enclosed.KEPT[name] for name in ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")},
    **{"SETPCAP": 8, "SYS_CHROOT": 18, "MKNOD": 27},
}
_LAST = 10.0  # seconds for killed processes to be gone


@dataclass(frozen=True, slots=True)
class Here:
    """See Way. `executor`: the program, which is copied for each build."""

    executor: Path
    environment: Mapping[str, str]
    name: str = "here"

    def check(self, platforms: Sequence[Platform]) -> str:
        if not sys.platform.startswith("linux"):
            return "kaniko runs on Linux alone"
        if not os.access(self.executor, os.X_OK) or not self.executor.is_file():
            return f"there is no executor at {self.executor}"
        if os.geteuid():
            return "kaniko runs as root alone"
        rights = _rights()
        if missing := [name for name, number in _NEEDED.items() if not rights >> number & 1]:
            return f"root lacks the capabilities {', '.join(missing)} here, which Docker and containerd give by default"
        return emulation.why_not(platforms)

    def build(self, job: Job, flags: Sequence[str], files: Mapping[str, bytes]) -> Path:
        root = job.folder / "root"
        root.mkdir(mode=0o755)
        root.chmod(0o755)  # / of the image's own users, whatever our umask
        try:
            self._furnish(job, root, files)
            self._run(job, root, flags)
            _end_all(root)
            return taken(root / HOME[1:] / "layout", job.folder / "layout")
        finally:
            _end_all(root)
            shutil.rmtree(root, ignore_errors=True)

    def _furnish(self, job: Job, root: Path, files: Mapping[str, bytes]) -> None:
        home = root / HOME[1:]
        for name in ("dev", "proc", "sys", "etc", "root", "tmp", HOME[1:]):
            (root / name).mkdir()
            (root / name).chmod(0o1777 if name == "tmp" else 0o755)  # whatever our umask
        for name in _OF_THE_MACHINE:
            with suppress(OSError):
                shutil.copyfile(name, root / name[1:])
                (root / name[1:]).chmod(0o644)
        (home / "ssl/certs").mkdir(parents=True)
        for number, file in enumerate(self._authorities()):
            shutil.copyfile(file, home / f"ssl/certs/{number}.crt")
        for name, content in files.items():
            place = root / name[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch(0o400, exist_ok=False)
            place.write_bytes(content)
        shutil.copy(self.executor, home / "executor")  # no link: a RUN could change what it leads to

        def copy(source: str, place: str) -> str:
            job.commands.report.check()
            return shutil.copy2(source, place)

        shutil.copytree(job.context.folder, home / "context", symlinks=True, copy_function=copy)

    def _authorities(self) -> list[Path]:
        """The files of certificates that came with the executor, else what this machine trusts."""
        own = self.executor.with_name("ssl") / "certs"
        if own.is_dir() and (found := sorted(path for path in own.iterdir() if path.is_file())):
            return found
        usual = (self.environment.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile)
        return [
            next(
                (Path(name) for name in usual if name and Path(name).is_file()), Path(DEFAULT_CA_BUNDLE_PATH)
            )
        ]

    def _run(self, job: Job, root: Path, flags: Sequence[str]) -> None:
        variables = {
            **VARIABLES,
            "PATH": f"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{HOME}",
            "HOME": "/root",
            "USER": "root",
            "SSL_CERT_DIR": f"{HOME}/ssl/certs",
        }
        command: list[str | Path] = [sys.executable, "-I", Path(enclosed.__file__), root]
        command += [",".join([*variables, *proxies(self.environment)]), f"{HOME}/executor", *flags, "--force"]
        command += [f"--ignore-path={path}" for path in _NO_PARTS]
        try:
            job.commands.run(command, what=job.what, environment=variables, tool="kaniko")
        except BuildError as error:
            last = next(reversed(job.commands.tail), "")
            if last.startswith(enclosed.FAULT):
                raise EngineError(
                    f"kaniko cannot be run here, {last}",
                    hint="Set kaniko to docker or podman, or work_folder to a disk that is mounted without nodev and noexec",
                ) from error
            raise


def _rights() -> int:
    """The capabilities that this process has, a bit for each."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _end_all(root: Path) -> None:
    """Kill every process whose root is `root`: a RUN may have left some in groups and sessions of their own."""
    deadline = time.monotonic() + _LAST
    while (found := list(_inside(root.stat()))) and time.monotonic() < deadline:
        for process in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.02)


def _inside(place: os.stat_result) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if os.path.samestat((entry / "root").stat(), place):
                    yield int(entry.name)

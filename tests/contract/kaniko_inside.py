"""Run in a container of its own, as root, with kaniko's executor beside it: builds, and looks at what is left.

python -m tests.contract.kaniko_inside HUB EXECUTOR PLATFORM CACHE AUTHORITIES
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from publisher.builders.command import of_tools
from publisher.builders.kaniko import Kaniko
from publisher.builders.kaniko_here import Here
from publisher.builders.reach import Reach
from publisher.errors import DeadlineError
from publisher.progress import Report
from tests.contract import engine_jobs as jobs

# A RUN that is root in its folder, and nowhere else.
DOCKERFILE = f"""
FROM {jobs.PYTHON} AS first
RUN useradd someone && rm -rf /usr/share /etc/pam.d && chmod 600 /dev/null && echo gone > /etc/hostname
RUN wc -c < /run/secrets/tok > /size && chmod 666 /dev/null
FROM {jobs.BASE}
RUN uname -m > /machine; stat -c '%a %u' /run/secrets/tok > /facts; env > /env
RUN ! chroot / true && ! mknod /tmp/disk b 8 0 && ! ls -d {{0}} && (setsid sleep 1000 &)
COPY --from=first /size /size
COPY greeting /app/greeting
USER 5001
"""


def main() -> None:
    hub, executor, platform, cache, authorities = sys.argv[1:]
    work = Path(tempfile.mkdtemp())
    secret = work / "token"
    secret.write_text("canary-kaniko-secret")
    os.environ["REGISTRY_TOKEN"] = "canary-kaniko-secret"
    reach = Reach({"docker.io": hub}, ca_files={cache.partition("/")[0]: Path(authorities)})
    kaniko = Kaniko([Here(Path(executor), of_tools(os.environ))], reach)
    before = set(_files(work))

    job = jobs.job(
        work / "a",
        DOCKERFILE.replace("{0}", str(work)),
        platform=platform,
        bases=[jobs.PYTHON, jobs.BASE],
        files={"greeting": "hello"},
        secrets={"tok": secret},
        cache=cache,
    )
    why = kaniko.check([job.platform])
    assert not why, why
    layout = kaniko.build(job)
    files = jobs.added(layout, 1)
    assert files["machine"].strip() == {"linux/amd64": b"x86_64", "linux/arm64": b"aarch64"}[platform]
    assert (files["facts"].strip(), files["size"].strip()) == (b"400 0", b"20")
    assert files["app/greeting"] == b"hello"
    assert not [name for name in files if name.split("/")[0] in ("kaniko", "dev", "proc", "sys", "run")], (
        files
    )
    assert "etc/hostname" not in files
    told = [name for name, content in files.items() if b"canary-kaniko" in content]
    assert not told, told
    assert "canary-kaniko" not in job.commands.log.read_text() + str(jobs.config(layout))
    _nothing_left(job.folder, before, work)

    sleeping = threading.Event()

    class Seen(jobs.Lines):
        def line(self, subject: str, text: str) -> None:
            if text == "sleeping":
                sleeping.set()

    def check() -> None:
        if sleeping.is_set():
            raise DeadlineError("too long")

    text = f"FROM {jobs.BASE}\nRUN (setsid sleep 1000 &); echo sleeping; sleep 1000\n"
    job = jobs.job(work / "b", text, report=Report(Seen(), "test", check))
    try:
        kaniko.build(job)
        raise AssertionError("a deadline ends a build")
    except DeadlineError:
        _nothing_left(job.folder, before, work)


def _nothing_left(folder: Path, before: set[object], work: Path) -> None:
    assert {path.name for path in folder.iterdir()} <= {"layout"}
    others = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    commands = {
        number: Path(f"/proc/{number}/cmdline").read_bytes()
        for number in others
        if number != str(os.getpid())
    }
    assert not [words for words in commands.values() if b"sleep" in words or b"executor" in words], commands
    changed = set(_files(work)) ^ before
    assert not changed, changed


def _files(work: Path) -> Iterator[object]:
    """Everything on this container's own disk and in /dev, with what tells that it was changed."""
    for top in ("/", "/dev"):
        for folder, folders, names in os.walk(top):
            if top == "/":
                folders[:] = [name for name in folders if not _elsewhere(Path(folder, name), work)]
            for name in [*names, *folders]:
                path = Path(folder, name)
                if path not in (work, work.parent):
                    found = path.lstat()
                    changes = 0 if path.is_dir() else found.st_mtime_ns  # ours, which Python compiles into
                    yield str(path), found.st_mode, found.st_uid, found.st_size, found.st_ino, changes


def _elsewhere(path: Path, work: Path) -> bool:
    return path.is_mount() or path == work or path.name == "__pycache__"


if __name__ == "__main__":
    main()

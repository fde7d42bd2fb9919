"""The peers: BuildKit with buildx, and crane, a bare registry client, as tests/engines/programs.sh builds them."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import Run, run
from tests.engines import machine
from tests.engines.buildkit import BuildKit, running

HERE = Path(__file__).parent
PARTS = ("buildkit", "crane")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


@dataclass(frozen=True, slots=True)
class Peer:
    """The documents' Dockerfile, built by a buildkitd with an empty cache."""

    engine: BuildKit

    def build(self, context: Path, base: str, platforms: Sequence[str], image: str, *, wait: bool) -> Run:
        """The documents' Dockerfile for `platforms`, pushed as `image`."""
        secrets = {"pip": _pip_config(self.engine.folder), "authorities": machine.authorities()}
        command: list[str | Path] = [self.engine.buildx, "build", "--builder", self.engine.builder]
        command += ["--platform", ",".join(platforms), "--tag", image, "--push", "--provenance=false"]
        command += ["--progress", "plain", "--build-arg", f"BASE={base}"]
        for name, path in secrets.items():
            command += ["--secret", f"id={name},src={path}"]
        for name in _PROXIES:
            command += ["--build-arg", name] if name in os.environ else []
        command += ["--file", HERE / "documents" / "Dockerfile", context]
        return run(command, environment=self.engine.environment, wait=wait)


def steps(said: str) -> dict[str, float]:
    """Seconds of the steps that took one or more, out of buildx's plain progress; they may overlap."""
    names = dict(reversed(re.findall(r"^#(\d+) (\[.*\d/\d+\] .*|exporting to image)$", said, re.M)))
    found: dict[str, float] = {}
    for number, seconds in re.findall(r"^#(\d+) DONE ([\d.]+)s$", said, re.M):
        if number in names and float(seconds) >= 1:
            name = re.sub(r"--mount=\S+ |RUN ", "", re.sub(r"FROM .*", "base", names[number]))
            platform = re.match(r"\[(linux/\w+)", name)
            name = re.sub(r"^\[.*?\] ", f"{platform[1]}: " if platform else "", name)
            found[name] = max(found.get(name, 0), float(seconds))
    return found


@contextmanager
def buildkit(folder: Path, hosts: Sequence[str]) -> Iterator[Peer]:
    """Start BuildKit without Docker, its state below `folder`; `hosts` are registries with plain HTTP."""
    with running(folder, plain=hosts) as engine:
        yield Peer(engine)


def _pip_config(folder: Path) -> Path:
    """This machine's package index for the pip in the build, from pip's own settings."""
    parser = configparser.ConfigParser(interpolation=None)
    parser["global"] = {
        **machine.pip_settings(),
        "cert": "/run/secrets/authorities",
        "disable-pip-version-check": "1",
    }
    path = folder / "pip.conf"
    path.touch(0o600)  # an index's address may hold a password
    with path.open("w") as file:
        parser.write(file)
    return path

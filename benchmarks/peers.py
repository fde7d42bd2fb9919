"""The peers: BuildKit with buildx, and crane, a bare registry client. Kept outside the checkout, by version."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import Run, run

HERE = Path(__file__).parent
VERSIONS = {"buildkit": "v0.26.3", "buildx": "v0.30.1", "crane": "v0.20.7"}
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_AUTHORITIES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


def programs() -> Path:
    """The folder with buildkitd, buildx and crane; what is missing is built, which takes minutes."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "publisher-engines"
    folder = root / "+".join(f"{name}-{version}" for name, version in VERSIONS.items())
    if not all((folder / "bin" / name).exists() for name in ("buildkitd", "buildx", "crane")):
        if not shutil.which("go"):
            raise RuntimeError("Go is not installed, and the peers are Go modules: https://go.dev/dl/")
        versions = {name.upper(): version for name, version in VERSIONS.items()}
        subprocess.run([HERE / "engines.sh", folder], env={**os.environ, **versions}, check=True)
    return folder / "bin"


@dataclass(frozen=True, slots=True)
class BuildKit:
    """A running buildkitd with an empty cache, and a buildx that knows it."""

    programs: Path
    folder: Path
    builder: str

    def build(self, context: Path, base: str, platforms: Sequence[str], image: str, *, wait: bool) -> Run:
        """The documents' Dockerfile for `platforms`, pushed as `image`."""
        secrets = {"pip": _pip_config(self.folder), "authorities": _authorities()}
        command: list[str | Path] = [self.programs / "buildx", "build", "--builder", self.builder]
        command += ["--platform", ",".join(platforms), "--tag", image, "--push", "--provenance=false"]
        command += ["--progress", "plain", "--build-arg", f"BASE={base}"]
        for name, path in secrets.items():
            command += ["--secret", f"id={name},src={path}"]
        for name in _PROXIES:
            command += ["--build-arg", name] if name in os.environ else []
        command += ["--file", HERE / "documents" / "Dockerfile", context]
        return run(command, environment=_environment(self.folder), wait=wait)


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
def buildkit(folder: Path, hosts: Sequence[str]) -> Iterator[BuildKit]:
    """Start BuildKit without Docker, its state below `folder`; `hosts` are registries with plain HTTP."""
    folder.mkdir(parents=True)
    socket = folder / "buildkitd.sock"
    config = "".join(f'[registry."{host}"]\n  http = true\n' for host in hosts)
    (folder / "buildkitd.toml").write_text(config)
    command = [programs() / "buildkitd", "--config", folder / "buildkitd.toml", "--root", folder / "state"]
    command += ["--oci-worker=true", "--containerd-worker=false", "--oci-worker-binary", "runc"]
    # pip in the build reaches the index as this machine does.
    command += ["--oci-worker-net", "host", "--addr", f"unix://{socket}"]
    with (folder / "buildkitd.log").open("wb") as log:
        daemon = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(socket, daemon, folder / "buildkitd.log")
        create = [
            str(programs() / "buildx"),
            "create",
            "--name",
            "peer",
            "--driver",
            "remote",
            f"unix://{socket}",
        ]
        subprocess.run(create, env=_environment(folder), check=True, capture_output=True)
        yield BuildKit(programs(), folder, "peer")
    finally:
        daemon.terminate()
        try:
            daemon.wait(30)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(socket: Path, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while not socket.exists():
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"buildkitd does not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.1)


def _environment(folder: Path) -> dict[str, str]:
    own = {"BUILDX_CONFIG": str(folder / "buildx"), "DOCKER_CONFIG": str(folder / "docker")}
    return {**os.environ, **own}


def _pip_config(folder: Path) -> Path:
    """This machine's package index for the pip in the build, from pip's own settings."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    found = dict(re.findall(r"^[\w:]+\.(index-url|extra-index-url|trusted-host|proxy)='(.*)'$", said, re.M))
    parser = configparser.ConfigParser(interpolation=None)
    parser["global"] = {**found, "cert": "/run/secrets/authorities", "disable-pip-version-check": "1"}
    path = folder / "pip.conf"
    path.touch(0o600)  # an index's address may hold a password
    with path.open("w") as file:
        parser.write(file)
    return path


def _authorities() -> Path:
    """The certificate authorities that this machine trusts."""
    named = [Path(os.environ[name]) for name in _AUTHORITIES if os.environ.get(name)]
    usual = Path("/etc/ssl/certs/ca-certificates.crt")
    for path in (*named, usual):
        if path.is_file():
            return path
    raise RuntimeError(f"no file of certificate authorities: set {_AUTHORITIES[0]}, or install {usual}")

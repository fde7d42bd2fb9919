"""kaniko: an executor that runs a Dockerfile as root in a file system of its own, and needs no daemon for it.

https://github.com/GoogleContainerTools/kaniko (archived), https://github.com/osscontainertools/kaniko (maintained).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from publisher.builders.dockerfile import Job
from publisher.builders.reach import Reach
from publisher.domain import Platform
from publisher.errors import EngineError

HOME = "/kaniko"  # the executor's own folder, which it never takes for a part of the image
SECRETS = "/run/secrets"
# An account or a cloud's key in the executor's environment could be read by a RUN: these and proxies are all it gets.
VARIABLES = {
    "DOCKER_CONFIG": f"{HOME}/.docker",
    "FF_KANIKO_SECUREJOIN_EXTRACTION": "true",  # of the maintained fork: no link in a layer leads out of it
}
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def proxies(environment: Mapping[str, str]) -> list[str]:
    """The variables of `environment` that name proxies. Their values, which may hold passwords, go in no command."""
    return [key for key in environment if key.upper() in _PROXIES]


class Way(Protocol):
    """How the executor is run. `name` is what the setting `kaniko` says."""

    @property
    def name(self) -> str: ...

    def check(self, platforms: Sequence[Platform]) -> str:
        """See Engine.check."""
        ...

    def build(self, job: Job, flags: Sequence[str], files: Mapping[str, bytes]) -> Path:
        """See Engine.build; the context is to be at /kaniko/context, the layout will be at /kaniko/layout.

        `files` lie, by their paths, in the executor's file system, and are for root alone.
        """
        ...


@dataclass(frozen=True, slots=True)
class Kaniko:
    """See Engine. `ways`: those that the settings allow, the first that can is taken."""

    ways: Sequence[Way]
    reach: Reach
    name: str = "kaniko"

    def check(self, platforms: Sequence[Platform]) -> str:
        return self._choose(platforms)[1]

    def build(self, job: Job) -> Path:
        way, why = self._choose([job.platform])
        if way is None:
            raise EngineError(f"kaniko cannot do {job.what}: {why}")
        files = {f"{HOME}/.docker/config.json": (job.accounts / "config.json").read_bytes()}
        files |= {f"{SECRETS}/{name}": path.read_bytes() for name, path in job.context.secrets.items()}
        trusted = self._certificates(job)
        files |= {_certificate(host): content for host, content in trusted.items()}
        flags = [f"--registry-certificate={host}={_certificate(host)}" for host in trusted]
        return way.build(job, [*self._flags(job), *flags], files)

    def _choose(self, platforms: Sequence[Platform]) -> tuple[Way | None, str]:
        reasons = []
        for way in self.ways:
            why = way.check(platforms)
            if not why:
                return way, ""
            reasons.append(f"{way.name}: {why}")
        return None, "; ".join(reasons)

    def _certificates(self, job: Job) -> dict[str, bytes]:
        """By registry, the authorities that it is believed by beside the usual ones."""
        found = {}
        for host in self.reach.hosts([*job.context.bases, job.context.cache]):
            if files := self.reach.authorities(host):
                found[host] = b"\n".join(file.read_bytes() for file in files)
        return found

    def _flags(self, job: Job) -> Iterator[str]:
        context = job.context
        yield f"--context=dir://{HOME}/context"
        yield f"--dockerfile={HOME}/context/{context.dockerfile}"
        yield f"--custom-platform={job.platform}"
        yield "--no-push"
        yield "--destination=publisher/build:latest"  # a name that stays inside; without one no layout is written
        yield f"--oci-layout-path={HOME}/layout"
        yield "--skip-unused-stages=true"
        yield "--log-format=text"  # the usual one has colours
        yield "--image-download-retry=2"
        yield "--image-fs-extract-retry=2"
        for host, mirror in self.reach.mirrors.items():
            yield f"--registry-map={'index.docker.io' if host == 'docker.io' else host}={mirror}"
        used = self.reach.hosts([*context.bases, context.cache])
        for host in sorted({*self.reach.plain, *filter(self.reach.is_plain, used)}):
            yield f"--insecure-registry={host}"
        if context.secrets:
            yield f"--ignore-path={SECRETS}"
        if context.cache:
            yield "--cache=true"
            yield f"--cache-repo={context.cache}"
            yield "--compressed-caching=false"  # else a layer is held in memory
            yield "--skip-push-permission-check"  # a cache that may not be written is no reason to fail
            yield "--push-retry=2"


def _certificate(host: str) -> str:
    return f"{HOME}/certificates/{host.replace(':', '_')}.pem"

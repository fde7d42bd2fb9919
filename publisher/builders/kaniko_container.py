"""kaniko's executor in a container that Docker or podman makes for each build, on whatever machine their daemon is.

Nothing is mounted, because a daemon elsewhere has none of our folders: files are copied in, and the image out.
"""

from __future__ import annotations

import io
import os
import sys
import tarfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from publisher import scratch
from publisher.builders import emulation
from publisher.builders.command import ask, program
from publisher.builders.docker_client import folder_of
from publisher.builders.dockerfile import Job
from publisher.builders.kaniko import HOME, VARIABLES, proxies
from publisher.builders.reach import Reach
from publisher.domain import Platform
from publisher.errors import BuildError, EngineError, RegistryError
from publisher.oci.hosts import is_loopback
from publisher.oci.layout_archive import receiving

CLAIM = "io.github.model-publisher.kaniko"  # label of a container: whose it is


@dataclass(frozen=True, slots=True)
class Container:
    """See Way. `name`: docker or podman. `work_folder`: where this process's scratch folder is, which names it."""

    name: str
    image: str
    reach: Reach
    environment: Mapping[str, str]
    work_folder: Path | None = None

    def check(self, platforms: Sequence[Platform]) -> str:
        if program(self.environment, self.name) is None:
            return f"there is no {self.name} here"
        question = (
            "{{.Host.OS}}/{{.Host.Arch}}" if self.name == "podman" else "{{.Server.Os}}/{{.Server.Arch}}"
        )
        said = self._ask("info" if self.name == "podman" else "version", "--format", question)
        try:
            own = Platform.parse((said or "").strip())
        except ValueError:
            return f"{self.name} does not answer (see `{self.name} version`)"
        if self._is_local() and (missing := emulation.lacking(platforms, own)):
            return emulation.why_not(missing)
        return ""

    def build(self, job: Job, flags: Sequence[str], files: Mapping[str, bytes]) -> Path:
        self._remove_abandoned()
        container = f"publisher-kaniko-{uuid.uuid4().hex[:16]}"
        try:
            self._create(job, container, flags)
            self._give(job, container, files)
            self._command(
                self._ending(job, container), "start", "--attach", container, what=job.what, tool="kaniko"
            )
            return self._take(job, container)
        finally:
            self._remove(container)

    def _create(self, job: Job, container: str, flags: Sequence[str]) -> None:
        words = ["create", "--name", container, "--label", f"{CLAIM}={scratch.below(self.work_folder).claim}"]
        for key, value in VARIABLES.items():
            words += ["--env", f"{key}={value}"]
        for key in proxies(self.environment):
            words += ["--env", key]
        if self._needs_loopback(job):
            words += ["--network", "host"]
        try:
            self._command(job, *words, self.image, *flags, what="the start of kaniko")
        except (BuildError, RegistryError, EngineError) as error:
            raise EngineError(
                f"{self.name} makes no container of {self.image}: {error}",
                hint="Name an image of kaniko that can be pulled here in the setting kaniko_image",
                detail=error.detail,
            ) from error

    def _give(self, job: Job, container: str, files: Mapping[str, bytes]) -> None:
        """Files and context; all of them belong to root inside."""
        given = job.folder / "given.tar"
        with os.fdopen(os.open(given, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
            given.unlink()
            with tarfile.open(fileobj=file, mode="w") as archive:
                for path, content in files.items():
                    _add(archive, path, content)
            file.seek(0)
            self._command(job, "cp", "-", f"{container}:/", what="sending accounts to kaniko", source=file)
        where = f"{container}:{HOME}/context"
        self._command(job, "cp", f"{job.context.folder}/.", where, what="sending the context to kaniko")

    def _ending(self, job: Job, container: str) -> Job:
        """The same job, which removes its container first when it is to end.

        The client hands the signals that it gets to the executor, which does not hear them as process 1.
        """
        report = job.commands.report

        def check() -> None:
            try:
                report.check()
            except BaseException:
                self._remove(container)
                raise

        return replace(job, commands=replace(job.commands, report=replace(report, check=check)))

    def _take(self, job: Job, container: str) -> Path:
        layout = job.folder / "layout"
        with receiving(layout) as sink:
            self._command(job, "cp", f"{container}:{HOME}/layout/.", "-", what="taking the image", sink=sink)
        return layout

    def _command(self, job: Job, *words: str, what: str, **streams: object) -> None:
        job.commands.run([self.name, *words], what=what, environment=self._config(), **streams)  # type: ignore[arg-type]

    def _ask(self, *words: str) -> str | None:
        return ask([self.name, *words], {**self.environment, **self._config()})

    def _config(self) -> dict[str, str]:
        """The user's own settings of Docker, which know where the daemon is and who may pull kaniko's image."""
        return {
            "DOCKER_CONFIG": str(folder_of(self.environment)),
            "DOCKER_DEFAULT_PLATFORM": "",  # the executor is of the daemon's own platform, whatever it builds for
        }

    def _is_local(self) -> bool:
        """Whether containers run under this very kernel, so that its emulators are theirs."""
        if sys.platform != "linux":
            return False
        if self.name == "podman":
            return (self._ask("info", "--format", "{{.Host.ServiceIsRemote}}") or "").strip() != "true"
        host = self._ask("context", "inspect", "--format", "{{.Endpoints.docker.Host}}") or ""
        return host.strip() in ("", "unix:///var/run/docker.sock", "unix:///run/docker.sock")

    def _needs_loopback(self, job: Job) -> bool:
        """A registry or proxy on this machine's loopback is only there for who shares its network."""
        through = [
            urlsplit(self.environment[key]).netloc.rpartition("@")[2] for key in proxies(self.environment)
        ]
        registries = self.reach.hosts([*job.context.bases, job.context.cache])
        return any(map(is_loopback, filter(None, [*registries, *through])))

    def _remove(self, container: str) -> None:
        self._ask("rm", "--force", "--volumes", container)

    def _remove_abandoned(self) -> None:
        """Containers of publishers that were killed."""
        for container in (self._ask("ps", "--all", "--quiet", "--filter", f"label={CLAIM}") or "").split():
            claim = self._ask("inspect", "--format", f'{{{{index .Config.Labels "{CLAIM}"}}}}', container)
            if claim and scratch.abandoned(claim.strip(), self.work_folder):
                self._remove(container)


def _add(archive: tarfile.TarFile, path: str, content: bytes) -> None:
    info = tarfile.TarInfo(path.lstrip("/"))
    info.size, info.mode = len(content), 0o400
    archive.addfile(info, io.BytesIO(content))

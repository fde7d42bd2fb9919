"""The engine buildx: BuildKit builds, wherever it runs, and sends the image here as an OCI layout."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from publisher import scratch
from publisher.builders import buildx_builders as builders
from publisher.builders.docker_client import with_accounts
from publisher.builders.dockerfile import Job
from publisher.builders.reach import Reach
from publisher.domain import Platform
from publisher.errors import EngineError, RegistryError
from publisher.oci.layout_archive import receiving
from publisher.progress import Subject

_MISSING = "neither buildx nor docker with its buildx plugin is there: install docker-buildx-plugin"
_SYNTAX = re.compile(r"#\s*syntax\s*=\s*(\S+)\s*", re.IGNORECASE)
_PLAIN = "server gave HTTP response to HTTPS client"


@dataclass(frozen=True, slots=True)
class Buildx:
    """See dockerfile.py. `environment`: of the user, whose builders and Docker contexts count.

    `builder`: its name; else the BuildKit at the address `buildkit`, with `certificates` (a folder) for TLS; else
    the builder that the user has chosen. `work`: where a folder for a moment is made.
    """

    environment: Mapping[str, str]
    reach: Reach
    builder: str | None = None
    buildkit: str | None = None
    certificates: Path | None = None
    work: Path | None = None
    name: str = "buildx"

    def check(self, platforms: Sequence[Platform]) -> str:
        words = builders.command(self.environment)
        if words is None:
            return _MISSING
        with self._asking(words) as (environment, fault):
            told = fault or builders.inspect(words, self._chosen(), environment)
        name = self._remote or self.builder or "the current builder of buildx"
        if isinstance(told, str):
            return f"{name} cannot be used: {told.removeprefix('ERROR: ')}"
        return _lacking(name, told, platforms)

    def build(self, job: Job) -> Path:
        words = builders.command(self.environment)
        if words is None:
            raise EngineError(_MISSING)
        own = with_accounts(self.environment, job.accounts, job.folder / "docker")
        environment = {**self.environment, **own}
        if self._remote:
            environment["BUILDX_CONFIG"] = str(job.folder / "buildx")
            if fault := builders.remote(words, self._remote, self.certificates, environment):
                raise EngineError(f"buildx cannot use the BuildKit at {self._remote}: {fault}")
        mirrored = self._mirrored(job)
        try:
            return self._run(job, [*words, "build"], environment, mirrored)
        except RegistryError as error:
            if not mirrored:
                raise self._explained(error) from error
            first = error
        job.commands.report.note("not every image is there at its mirror: its own registry is asked")
        try:
            return self._run(job, [*words, "build"], environment, [])
        except RegistryError:
            raise self._explained(first) from first  # of the mirror, which the site has named

    def _run(self, job: Job, build: list[str], environment: Mapping[str, str], more: Sequence[str]) -> Path:
        context, folder = job.context, job.folder / "layout"
        shutil.rmtree(folder, ignore_errors=True)
        command = [*build, *self._named(), "--platform", str(job.platform), "--progress=plain"]
        command += ["--provenance=false", "--sbom=false", "--output", "type=oci,dest=-", *more]
        command += [f"--file={context.folder / context.dockerfile}", *_cache(job)]
        for key, file in context.secrets.items():
            command += ["--secret", builders.fields((("id", key), ("src", file)))]
        with receiving(folder) as sink:
            job.commands.run(
                [*command, "--", context.folder], what=job.what, environment=environment, sink=sink
            )
        return folder

    @property
    def _remote(self) -> str:
        return "" if self.builder else self.buildkit or ""

    def _chosen(self) -> list[str]:
        name = builders.OWN if self._remote else self.builder
        return [name] if name else []

    def _named(self) -> list[str]:
        return [f"--builder={name}" for name in self._chosen()]

    @contextmanager
    def _asking(self, words: Sequence[str]) -> Iterator[tuple[Mapping[str, str], str]]:
        """The environment in which the builder is known, for a moment, and why it is not."""
        if not self._remote:
            yield self.environment, ""
            return
        folder = scratch.below(self.work).part("buildx")
        environment = {**self.environment, "BUILDX_CONFIG": str(folder)}
        try:
            yield environment, builders.remote(words, self._remote, self.certificates, environment)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _mirrored(self, job: Job) -> list[str]:
        """Options by which the images of the Dockerfile come from their mirrors, however a FROM spells them."""
        found = []
        for base in job.context.bases:
            if mirror := self.reach.mirrored(base):
                found += ["--build-context", f"{base}=docker-image://{mirror}"]
        if mirror := self.reach.mirrored(_syntax(job.context.folder / job.context.dockerfile)):
            found += ["--build-arg", f"BUILDKIT_SYNTAX={mirror}"]
        return found

    def _explained(self, error: RegistryError) -> RegistryError:
        if _PLAIN not in error.detail:
            return error
        host = re.search(r'"https://([^/"]+)/v2/', error.detail)
        name = host[1] if host else "HOST"
        hint = f'Its buildkitd.toml must say: [registry."{name}"] http = true. {error.hint}'
        return RegistryError(
            f"the registry {name} speaks plain HTTP, and the builder does not know that",
            hint=hint,
            detail=error.detail,
        )


def _lacking(name: str, told: builders.Told, platforms: Sequence[Platform]) -> str:
    if told.error or not told.running:
        return f"{name} does not answer: {told.error or 'it does not run'}"
    if not told.exports:
        return (
            f"{name} has the driver docker, which exports no OCI images: "
            "docker buildx create --driver docker-container --use"
        )
    missing = [str(each) for each in platforms if told.platforms and each not in told.platforms]
    if missing:
        return (
            f"{name} does not build for {', '.join(missing)}: install emulation where it runs "
            "(docker run --privileged --rm tonistiigi/binfmt --install all), or append a node to it "
            "that has that processor (docker buildx create --append)"
        )
    return ""


def _cache(job: Job) -> list[str]:
    """Options by which layers are kept in the cache repository: a tag for each model and platform, for one that is
    written replaces what was there."""
    if not job.context.cache:
        return []
    subject = job.commands.report.subject
    model = subject.model if isinstance(subject, Subject) else subject
    readable = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:40]
    name = f"{readable}-{hashlib.sha256(model.encode()).hexdigest()[:12]}".lstrip("-")
    ref = ("ref", f"{job.context.cache}:buildx-{name}-{job.platform.architecture}")
    kept = [("type", "registry"), ref, ("mode", "max"), ("image-manifest", "true")]
    kept += [("oci-mediatypes", "true"), ("ignore-error", "true")]
    return [
        f"--cache-from={builders.fields([('type', 'registry'), ref])}",
        f"--cache-to={builders.fields(kept)}",
    ]


def _syntax(dockerfile: Path) -> str:
    """The image that reads the Dockerfile, where its first line names one."""
    with suppress(OSError), dockerfile.open("rb") as file:
        if found := _SYNTAX.fullmatch(file.readline(1000).decode("utf-8", "replace").strip()):
            return found[1]
    return ""

"""The builder of all engines that run a Dockerfile: each platform apart, then one image of all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from publisher.builders.base import Build, Memory, Ready
from publisher.builders.command import Commands
from publisher.builders.reach import Reach
from publisher.domain import Context, ImageSpec, Platform
from publisher.errors import BuildError
from publisher.oci import layout_folder
from publisher.oci.normalise import one_image
from publisher.progress import Report

# Who we are at the registries of some image references, as `docker login` keeps it: entries of "auths" by host.
Accounts = Callable[[Sequence[str]], Mapping[str, Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Job:
    """One platform of one image, as an engine is given it.

    `folder` is empty, of this job alone, and removed when the image is pushed. `accounts` is a folder with a
    Docker ``config.json`` that knows the registries of the context's FROM lines, their mirrors and the cache, and
    no other.
    """

    context: Context
    platform: Platform
    folder: Path
    accounts: Path
    commands: Commands

    @property
    def what(self) -> str:
        """For errors."""
        return f"the build for {self.platform}"


class Engine(Protocol):
    """A tool that builds an image by a Dockerfile."""

    @property
    def name(self) -> str: ...

    def check(self, platforms: Sequence[Platform]) -> str:
        """Why it cannot build for `platforms` here, emulation included; empty when it can. Quick."""
        ...

    def build(self, job: Job) -> Path:
        """Build, push nothing, and return the folder of an OCI layout with one image, in `job.folder`.

        Raises EngineError (it is missing, or was killed), BuildError (the Dockerfile), RegistryError (a FROM).
        """
        ...


@dataclass(frozen=True, slots=True)
class DockerfileBuilder:
    """See builders/base.py. `logs`: a folder; `environment`: of the tools."""

    engine: Engine
    environment: Mapping[str, str]
    accounts: Accounts
    logs: Path
    reach: Reach = field(default_factory=Reach)
    by_dockerfile: bool = True

    @property
    def name(self) -> str:
        return self.engine.name

    def check(self, spec: ImageSpec) -> str:
        return self.engine.check(spec.platforms)

    def build(
        self, spec: ImageSpec, folder: Path, memory: Sequence[Memory], report: Report, ready: Ready
    ) -> Build:
        """See builders/base.py; the memories are for the embedded builder: engines have caches of their own."""
        if spec.context is None:
            raise BuildError(f"{self.name} builds by a Dockerfile, and this image has none")
        accounts = self._accounts(spec.context, folder / "accounts")
        found, seconds = {}, {}
        for platform in spec.platforms:
            own = folder / platform.architecture
            own.mkdir()
            log = self._log(report.subject, platform)
            report.note(f"{self.name} builds for {platform}, log in {log}", usual=True)
            job = Job(
                spec.context,
                platform,
                own,
                accounts,
                Commands(report, log, {**self.environment, "DOCKER_CONFIG": str(accounts)}),
            )
            begin = time.monotonic()
            found[platform] = layout_folder.read(self.engine.build(job))
            seconds[str(platform)] = time.monotonic() - begin
        layout = one_image(found, dict(spec.labels), spec.created, {CONTEXT: made_from(spec)}, spec.form)
        return Build(layout, seconds=seconds)

    def _accounts(self, context: Context, folder: Path) -> Path:
        folder.mkdir(mode=0o700)
        mirrored = [str(found) for base in context.bases if (found := self.reach.mirrored(base))]
        entries = self.accounts([*context.bases, *mirrored, *([context.cache] if context.cache else [])])
        with os.fdopen(os.open(folder / "config.json", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            json.dump({"auths": entries}, file)
        return folder

    def _log(self, subject: str, platform: Platform) -> Path:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{subject}-{self.name}-{platform.architecture}").strip("-.")
        path = self.logs / f"{name[-200:]}.log"
        path.unlink(missing_ok=True)
        return path


CONTEXT = "io.github.model-publisher.context"  # annotation: what `made_from` tells


def made_from(spec: ImageSpec) -> str:
    """Hex SHA-256 over the build context, the platforms and the form; empty without a context."""
    if spec.context is None:
        return ""
    named = [spec.context.digest, *map(str, spec.platforms)]
    if spec.form != "index":  # the only one that there was, once
        named.append(spec.form)
    return hashlib.sha256("\n".join(named).encode()).hexdigest()

"""A version's files become the spec of its image, with the builder that makes it and what that needs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from publisher.builders.base import Builder, Memory
from publisher.choices import base_name, check_python, choose, environment_of, told
from publisher.contexts import Wanted
from publisher.describe import by_dockerfile, describe
from publisher.domain import BaseImage, Context, Environment, ImageSpec, Lock, ModelVersion, Target
from publisher.sources.base import Fetched
from publisher.stages import Clock, Stages


@dataclass(frozen=True, slots=True)
class Preparation:
    """The first half of a publication. `image`: its whole name; `folder`: its own, for files and contexts."""

    version: ModelVersion
    target: Target
    image: str
    folder: Path
    stages: Stages
    clock: Clock

    def described(self, memory: list[Memory], claimed: Callable[[], None]) -> tuple[ImageSpec, Builder]:
        """The image, with the build context that its builder needs."""
        fetched = self._fetch()
        if context := self._own(fetched):
            claimed()
            spec = by_dockerfile(self.version, self.target, context)
            return spec, choose(spec, self.target, self.stages.builders)
        spec, environment = self._locked(fetched, memory)
        claimed()
        builder = choose(spec, self.target, self.stages.builders)
        if builder.by_dockerfile:
            spec = replace(spec, context=self._ours(fetched, spec, environment))
        return spec, builder

    def context(self, memory: list[Memory]) -> Context:
        """The build context that a Dockerfile engine would be given, whatever the target's builder is."""
        fetched = self._fetch()
        return self._own(fetched) or self._ours(fetched, *self._locked(fetched, memory))

    def _fetch(self) -> Fetched:
        with self.clock.stage("fetch"):
            return self.stages.source.fetch(
                self.version, self.folder / "files", self.stages.progress, self.clock.report.subject
            )

    def _own(self, fetched: Fetched) -> Context | None:
        """The version's own build context, where it has one and the target wants it."""
        if fetched.templates is None or self.target.templates != "version":
            return None
        with self.clock.stage("render"):
            base, python = told(self.version, self.target, fetched)
            return self.stages.contexts.of_version(self._wanted(fetched), base, python)

    def _ours(self, fetched: Fetched, spec: ImageSpec, environment: Environment) -> Context:
        folder = self.folder / "context"
        folder.mkdir()
        with self.clock.stage("render"):
            return self.stages.contexts.ours(self._wanted(fetched), spec, environment, folder)

    def _wanted(self, fetched: Fetched) -> Wanted:
        return Wanted(self.version, self.target, self.image, fetched)

    def _locked(self, fetched: Fetched, memory: list[Memory]) -> tuple[ImageSpec, Environment]:
        with self.clock.stage("lock"):
            environment = environment_of(self.version, self.target, fetched)
            if environment.conda:
                return self._by_conda(fetched, environment), environment
            return self._spec(fetched, environment, self._base(environment, memory)), environment

    def _by_conda(self, fetched: Fetched, environment: Environment) -> ImageSpec:
        """Without locks, on the target's base image, of which only the digest matters: conda brings the Python."""
        name, _ = base_name(self.target, environment)
        base = self.stages.bases.pinned(name, self.target.platforms)
        for note in environment.notes:
            self.clock.report.note(note)
        none = {platform: Lock(platform, "", ()) for platform in self.target.platforms}
        return describe(self.version, self.target, fetched, base, none, conda=True)

    def _base(self, environment: Environment, memory: list[Memory]) -> BaseImage:
        """The base image of the version's own Python, or of the target's where it names one."""
        name, minor = base_name(self.target, environment)
        base = self.stages.bases.resolve(name, self.target.platforms, memory)
        check_python(self.target, minor, base.name, base.python)
        return base

    def _spec(self, fetched: Fetched, environment: Environment, base: BaseImage) -> ImageSpec:
        version, target = self.version, self.target
        registered = version.created if target.resolve == "registered" else None
        resolver = self.stages.resolver.at(target)
        with ThreadPoolExecutor(max_workers=len(target.platforms)) as pool:
            locks = pool.map(
                lambda platform: resolver.lock(environment, platform, base, registered=registered),
                target.platforms,
            )
            found = dict(zip(target.platforms, locks, strict=True))
        built = (note for lock in found.values() for note in lock.notes)
        for note in dict.fromkeys((*environment.notes, *built)):
            self.clock.report.note(note)
        return describe(version, target, fetched, base, found)

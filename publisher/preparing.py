"""A version's files become the spec of its image, with the builder that makes it and what that needs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from publisher.builders.base import Builder, Memory
from publisher.checks.example import EXAMPLES
from publisher.choices import base_name, check_python, choose, environment_of, told
from publisher.contexts import Wanted
from publisher.describe import by_dockerfile, describe
from publisher.domain import (
    BaseImage,
    Context,
    Environment,
    ImageSpec,
    Lock,
    ModelVersion,
    Platform,
    Target,
)
from publisher.environments import skinny
from publisher.errors import RequirementsError, ResolutionError
from publisher.proving import foresee
from publisher.slimming import FILES, PACKAGES, Form
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

    def forms(self, memory: list[Memory], claimed: Callable[[], None]) -> Iterator[Form]:
        """The image in all forms that it may have, each with the build context that its builder needs.

        The slimmest comes first, and the last is whole; each is made when it is asked for.
        """
        fetched = self._fetch()
        if context := self._own(fetched):
            claimed()
            spec = by_dockerfile(self.version, self.target, context)
            foresee(spec, self.image, self.target)
            slim = "it has no effect on the version's own Dockerfile" if self.target.slim else ""
            yield Form("whole", spec, choose(spec, self.target, self.stages.builders), slim)
            return
        spec, environment = self._locked(fetched, memory)
        foresee(spec, self.image, self.target)
        claimed()
        builder = choose(spec, self.target, self.stages.builders)
        said: tuple[str, ...] = ()
        if self.target.slim:
            with self.clock.stage("lock"):
                locks, why = self._skinny(fetched.model, spec, environment)
            files = () if builder.by_dockerfile else (FILES,)
            if locks:
                less = self._for(builder, fetched, replace(spec, locks=locks, slim=True), environment)
                yield Form("packages", less, builder, "; ".join((PACKAGES, *files)))
            said = (why,) if why else ()
            if files:
                yield Form("files", replace(spec, slim=True), builder, "; ".join((*files, *said)))
            said = ("nothing is left out", *said)
        yield Form("whole", self._for(builder, fetched, spec, environment), builder, "; ".join(said))

    def _skinny(
        self, model: Path, spec: ImageSpec, environment: Environment
    ) -> tuple[Mapping[Platform, Lock], str]:
        """The locks with mlflow-skinny; or none, and why mlflow stays whole, where it is there."""
        why = skinny.why_whole(environment)
        if not any((model / name).is_file() for name in EXAMPLES):
            why = "the model has no input example to prove less with"
        if self.target.proof == "off":
            why = "nothing is proven, because the target's proof is off"
        locks: Mapping[Platform, Lock] = {}
        if not why and any(map(skinny.mlflow_of, spec.locks.values())):
            wanted = {platform: skinny.skinny(environment, lock) for platform, lock in spec.locks.items()}
            try:
                locks = self._locks(wanted, spec.base)
            except (ResolutionError, RequirementsError) as error:
                why = error.line
            if any(map(skinny.mlflow_of, locks.values())):
                locks, why = {}, "another package requires it"
        there = spec.conda or any(map(skinny.mlflow_of, spec.locks.values()))
        return locks, f"mlflow is whole: {why}" if why and there else ""

    def _for(
        self, builder: Builder, fetched: Fetched, spec: ImageSpec, environment: Environment
    ) -> ImageSpec:
        """The spec with what `builder` needs beside it."""
        if not builder.by_dockerfile:
            return spec
        return replace(spec, context=self._ours(fetched, spec, environment))

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
        folder = Path(tempfile.mkdtemp(prefix="context-", dir=self.folder))
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
        locks = self._locks(dict.fromkeys(self.target.platforms, environment), base)
        built = (note for lock in locks.values() for note in lock.notes)
        for note in dict.fromkeys((*environment.notes, *built)):
            self.clock.report.note(note)
        return describe(self.version, self.target, fetched, base, locks)

    def _locks(
        self, environments: Mapping[Platform, Environment], base: BaseImage
    ) -> Mapping[Platform, Lock]:
        """The lock of each platform's environment."""
        registered = self.version.created if self.target.resolve == "registered" else None
        resolver = self.stages.resolver.at(self.target)
        with ThreadPoolExecutor(max_workers=len(environments)) as pool:
            locks = pool.map(
                lambda platform: resolver.lock(environments[platform], platform, base, registered=registered),
                environments,
            )
            return dict(zip(environments, locks, strict=True))

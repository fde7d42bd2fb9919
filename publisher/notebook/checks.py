"""What the publisher would refuse later is told here, found out by the functions that it uses itself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from publisher import scratch
from publisher.app import App
from publisher.choices import base_name, check_python, choose, environment_of, told
from publisher.contexts import Wanted
from publisher.describe import by_dockerfile, describe
from publisher.domain import BaseImage, Environment, ImageSpec, Lock, ModelVersion, Platform, Target
from publisher.errors import PublisherError
from publisher.naming import image_name
from publisher.notebook.request import Request
from publisher.progress import Progress
from publisher.sources.base import Fetched

# A base image that was not unpacked does not say which C library it has: as new as uv knows, so that nothing is
# refused here which the publisher would take.
_NEWEST = (2, 40)


def examine(version: ModelVersion, request: Request, app: App, progress: Progress) -> list[str]:
    """Find the version's files, and for each target that is known here render its templates or resolve its environment.

    Returns what could not be looked at, and why. Raises ArtifactError, TemplateError, RequirementsError,
    ResolutionError, BuildError.
    """
    stages, subject = app.stages, str(version)
    with tempfile.TemporaryDirectory(dir=scratch.below(stages.work_folder).folder) as folder:
        progress.stage(subject, "files")
        found = stages.source.examine(version, Path(folder) / "files", progress, subject).fetched
        targets = [asked.target for asked in request.targets if asked.target]
        unknown = [asked.name for asked in request.targets if not asked.target]
        notes = []
        if unknown:
            notes.append(
                f"no settings here: whether there is a target {', '.join(unknown)}, and whether the model's packages "
                "are there for its platforms, only the publisher knows"
            )
        for target in targets:
            progress.stage(subject, f"environment for {target.name}")
            notes += _for_target(version, target, found, app)
    return notes


def _for_target(version: ModelVersion, target: Target, found: Fetched, app: App) -> Iterator[str]:
    try:
        choose(_spec(version, target, found, app), target, app.stages.builders)
    except PublisherError as error:
        if not error.retryable:
            raise
        yield f"for {target.name} not looked at to the end: {error.line}"


def _spec(version: ModelVersion, target: Target, found: Fetched, app: App) -> ImageSpec:
    stages, name = app.stages, image_name(target, version)
    context = stages.contexts.of_version(Wanted(version, target, name, found), *told(version, target, found))
    if context:
        return by_dockerfile(version, target, context)
    environment = environment_of(version, target, found)
    base = _base(target, environment, app)
    if environment.conda:
        none = {platform: Lock(platform, "", ()) for platform in target.platforms}
        return describe(version, target, found, base, none, conda=True)
    return describe(version, target, found, base, _locks(version, target, environment, base, app))


def _base(target: Target, environment: Environment, app: App) -> BaseImage:
    name, minor = base_name(target, environment)
    digest, python = app.stages.bases.peek(name, target.platforms, [app.stages.memory])
    if python and not environment.conda:
        check_python(target, minor, name, python)
    same = environment.python if environment.python_minor == minor else None
    return BaseImage(name, digest, python or same or f"{minor or '3.11'}.0", "", _NEWEST)


def _locks(
    version: ModelVersion, target: Target, environment: Environment, base: BaseImage, app: App
) -> dict[Platform, Lock]:
    resolver = app.stages.resolver.at(target)
    registered = version.created if target.resolve == "registered" else None
    with ThreadPoolExecutor(max_workers=len(target.platforms)) as pool:
        locks = pool.map(
            lambda platform: resolver.lock(environment, platform, base, registered=registered),
            target.platforms,
        )
        return dict(zip(target.platforms, locks, strict=True))

"""The publisher's own image on its way to a target: like that of a model version, without a version."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from publisher import __version__, scratch
from publisher.domain import BaseImage, ImageSpec, Platform, Target
from publisher.errors import EngineError, SettingsError, TagConflictError
from publisher.naming import OWN, parse
from publisher.ownimage.describe import describe, environment
from publisher.ownimage.wheel import packed
from publisher.progress import Report
from publisher.proving import refuse
from publisher.stages import Stages, memories

PYTHON = "3.11"  # where the target names none: the Dockerfile's
_BUILDER = "layers"


@dataclass(frozen=True, slots=True)
class OwnImage:
    """What was published. `sent` and `downloaded` are bytes, of the image and of wheels."""

    image: str
    digest: str
    platforms: tuple[Platform, ...]
    sent: int = 0
    downloaded: int = 0


def publish(target: Target, stages: Stages, *, force: bool) -> OwnImage:
    """Bring the image of this very publisher to `target`, under its version as tag.

    A tag that holds another digest is replaced with `force` alone. Raises PublisherError.
    """
    # A site's rules for models are not meant for the publisher: it comes as it was tested, and predicts nothing.
    target = replace(target, constraints=(), sdist="refuse", profile="default", proof="possible")
    image = f"{target.registry}/{OWN}:{__version__}"
    if target.layout_folder is None:
        parse(image)
    report = Report(stages.progress, f"{OWN} {__version__} → {target.name}")
    destination = stages.destination(target)
    own = scratch.below(stages.work_folder)
    with stages.holding(), tempfile.TemporaryDirectory(dir=own.folder) as name:
        folder = Path(name)
        report.stage("lock")
        spec = _spec(folder, target, stages)
        builder, memory = stages.builders[_BUILDER], memories(stages, destination)
        if why_not := builder.check(spec):
            raise EngineError(
                f"the publisher's own image cannot be built: {why_not}",
                hint="Name other ones: --platform linux/amd64 --platform linux/arm64.",
            )
        report.stage("build")
        (folder / "build").mkdir()
        with destination.ahead(image) as early:
            build = builder.build(spec, folder / "build", memory, report, early.offer)
            report.stage("check")
            refuse(stages.proving.prove(build.layout, target, report), target)
        report.stage("push")
        digest, standing = build.layout.top.digest, destination.existing(image)
        if standing and standing != digest and not force:
            raise TagConflictError(
                f"{image} is there already with another digest ({standing[:19]}…, ours is {digest[:19]}…)",
                hint="`publisher own-image --force` replaces it.",
            )
        pushed = destination.push(build.layout, image, report, early.there)
        if standing != digest:
            destination.tag(build.layout, image)
        destination.remember(image, build.layout, [*build.remember, *stages.bases.found])
    return OwnImage(image, digest, spec.platforms, pushed.sent + early.sent, build.downloaded)


def _spec(folder: Path, target: Target, stages: Stages) -> ImageSpec:
    base = _base(target, stages)
    wanted = environment(packed(folder))
    resolver = stages.resolver.at(target)
    with ThreadPoolExecutor(len(target.platforms)) as pool:
        locks = pool.map(
            lambda platform: resolver.lock(wanted, platform, base, registered=None), target.platforms
        )
        return describe(base, dict(zip(target.platforms, locks, strict=True)))


def _base(target: Target, stages: Stages) -> BaseImage:
    minor = ".".join((target.python or PYTHON).split(".")[:2])
    name = target.base_for(minor)
    if name is None:
        raise SettingsError(
            [
                f"the target {target.name} has no base image with Python {minor}, in which the publisher would run"
            ],
            hint=f'Add "{minor}" to its `base`, or set its `python` to one that is there.',
        )
    return stages.bases.resolve(name, target.platforms, memories(stages, stages.destination(target)))

"""`publisher check`: the image that a version would get, built and looked at, and neither pushed nor recorded."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from publisher import scratch
from publisher.domain import ModelVersion, Target
from publisher.errors import CheckError
from publisher.naming import image_name
from publisher.preparing import Preparation
from publisher.progress import Report, subject_of
from publisher.proving import Proven, refuse
from publisher.running import Watch
from publisher.slimming import Choice
from publisher.stages import Clock, Stages, memories


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checks say of one version's image. `digest`: of its index; `refused`: why it would not be pushed, empty
    where it would be."""

    version: ModelVersion
    target: str
    image: str
    digest: str
    proven: tuple[Proven, ...]
    refused: str = ""


def check(version: ModelVersion, target: Target, stages: Stages) -> Checked:
    """Build the image of `version` for `target` and ask every check, whatever the target's `proof`.

    Raises what a publication fails with before it checks, and never CheckError for a verdict.
    """
    image, subject = image_name(target, version), subject_of(version, target.name)
    watch = Watch(stages.running, target.deadline or stages.deadline)
    clock = Clock(Report(stages.progress, subject, watch.check), watch)
    memory = memories(stages, stages.destination(target))
    own = scratch.below(stages.work_folder)
    with stages.holding(), tempfile.TemporaryDirectory(dir=own.folder) as made:
        folder = Path(made)
        prepared = Preparation(version, target, image, folder, stages, clock)
        choice = Choice(clock.report.note)
        for number, form in enumerate(prepared.forms(memory, lambda: None)):
            place = folder / f"build-{number}"
            place.mkdir()
            with clock.stage("build"):
                build = form.builder.build(form.spec, place, memory, clock.report, lambda *_: None)
            with clock.stage("check"):
                proven = tuple(stages.proving.look(build.layout, target, clock.report))
            if choice.falls_on(form, proven):
                break
    return Checked(version, target.name, image, build.layout.top.digest, proven, _refused(proven, target))


def _refused(proven: Sequence[Proven], target: Target) -> str:
    try:
        refuse(proven, target)
    except CheckError as error:
        return error.line
    return ""

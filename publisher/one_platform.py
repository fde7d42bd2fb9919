"""One platform of a version's image by itself: what the pod of a Job does (docs/fan-out.md).

It is pushed by digest, without a tag, and nothing is written on the version: both are the part of the publisher that
made the Job. What it comes to is left in the target's cache repository, where it outlives the pod.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from publisher import scratch
from publisher.builders.base import Remembered
from publisher.builders.bases import host_platform
from publisher.builders.dockerfile import CONTEXT, made_from
from publisher.cluster.jobs import Work
from publisher.cluster.results import Result
from publisher.destinations.base import Destination
from publisher.domain import ImageSpec
from publisher.naming import image_name
from publisher.oci.images import select
from publisher.oci.layout import Layout
from publisher.oci.merge import alone, annotated
from publisher.preparing import Preparation
from publisher.progress import Report, subject_of
from publisher.proving import refuse
from publisher.running import Watch
from publisher.slimming import Choice
from publisher.stages import Clock, Stages, memories

_BELIEVED = timedelta(days=1)  # as long as an ended Job is kept: later the base image may be another one


def build(work: Work, stages: Stages) -> Result:
    """Build, check and push. Raises what a publication fails with before its tag."""
    destination, image = stages.destination(work.target), image_name(work.target, work.version)
    if not work.force and (found := left(work, destination, image, stages.now())):
        return found
    target = replace(work.target, platforms=(work.platform,))
    watch = Watch(stages.running, work.deadline)
    report = Report(stages.progress, subject_of(work.version, target.name), watch.check)
    own = scratch.below(stages.work_folder)
    with stages.holding(), tempfile.TemporaryDirectory(dir=own.folder) as folder:
        clock = Clock(report, watch)
        prepared = Preparation(work.version, target, image, Path(folder), stages, clock)
        return _Build(work, destination, image, Path(folder), stages, clock).run(prepared)


def left(work: Work, destination: Destination, image: str, now: datetime) -> Result | None:
    """What an earlier pod came to, if that was lately and its manifest is still there."""
    memory = destination.memory()
    found = memory.find(work.memory) if memory else None
    if found is None:
        return None
    try:
        made = datetime.fromisoformat(str(found.document["at"]))
        result = Result.read(found.document["result"], work.platform)
        lately = abs(now - made) < _BELIEVED
    except (KeyError, TypeError, ValueError):
        return None
    return result if result and lately and destination.read(image, result.digest) else None


@dataclass(frozen=True, slots=True)
class _Build:
    """One platform, in its own folder."""

    work: Work
    destination: Destination
    image: str
    folder: Path
    stages: Stages
    clock: Clock

    def run(self, prepared: Preparation) -> Result:
        report, target = self.clock.report, prepared.target
        memory = memories(self.stages, self.destination)
        choice = Choice(report.note)
        with self.destination.ahead(self.image) as early:
            for number, form in enumerate(prepared.forms(memory, lambda: None)):
                if form.spec.context and not self.work.force and (digest := self._same(form.spec)):
                    return Result(digest, host_platform().architecture)
                place = self.folder / f"build-{number}"
                place.mkdir()
                with self.clock.stage("build"):
                    build = form.builder.build(form.spec, place, memory, report, early.offer)
                with self.clock.stage("check"):
                    proven = self.stages.proving.prove(build.layout, target, report)
                if choice.falls_on(form, proven):
                    break
                shutil.rmtree(place)
            refuse(proven, target)
        layout = alone(build.layout, self.work.platform)
        with self.clock.stage("push"):
            pushed = self.destination.push(layout, self.image, report, early.there)
        proofs = tuple(each.proof for each in proven)
        sent, machine = pushed.sent + early.sent, host_platform().architecture
        result = Result(layout.top.digest, machine, proofs, choice.said, sent, build.downloaded)
        self._remember(layout, result, [*build.remember, *self.stages.bases.found])
        return result

    def _remember(self, layout: Layout, result: Result, kept: list[Remembered]) -> None:
        document = {"result": result.document(), "at": self.stages.now().isoformat()}
        with self.clock.always("record"):
            mine = Remembered(self.work.memory, document, newest=True)
            self.destination.remember(self.image, layout, [mine, *kept])

    def _same(self, spec: ImageSpec) -> str:
        """The platform's manifest in the image that the tag holds, where that was built from the same context: an
        engine's next run would not give the same bytes."""
        standing = self.destination.existing(self.image)
        found = self.destination.read(self.image, standing) if standing else None
        if found is None or select(found, self.work.platform) is None:
            return ""
        mine = alone(found, self.work.platform)
        return mine.top.digest if annotated(mine).get(CONTEXT) == made_from(spec) else ""

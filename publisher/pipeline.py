"""The way of one model version to one target, top to bottom."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from publisher import scratch
from publisher.builders.base import Build, Memory
from publisher.builders.dockerfile import CONTEXT, made_from
from publisher.cluster.jobs import Work
from publisher.destinations.base import Destination, Early
from publisher.domain import ImageSpec, ModelVersion, Outcome, Target
from publisher.errors import StoppedError, TagConflictError
from publisher.faults import as_ours
from publisher.naming import image_name
from publisher.preparing import Preparation
from publisher.progress import Report, subject_of
from publisher.proofs import told
from publisher.proving import refuse
from publisher.recording import Record
from publisher.redaction import redacted
from publisher.running import Watch
from publisher.slimming import Choice, Form
from publisher.spreading import Made, spread
from publisher.stages import Clock, Stages, memories
from publisher.tagging import Tagged, Tagger

_log = logging.getLogger(__name__)
_TAKEN_OVER = "taken over: it was there already, built from the same context"


def publish(version: ModelVersion, target: Target, stages: Stages, *, force: bool, dry_run: bool) -> Outcome:
    """Publish `version` to `target`, and write on the version what became of it.

    Raises nothing: whatever goes wrong is in the outcome, and on the version where it can be written.
    """
    watch = Watch(stages.running, target.deadline or stages.deadline)
    clock = Clock(Report(stages.progress, subject_of(version, target.name), watch.check), watch)
    outcome = _publish(version, target, stages, clock, force=force, dry_run=dry_run)
    stages.progress.done(outcome)
    return outcome


def _publish(
    version: ModelVersion, target: Target, stages: Stages, clock: Clock, *, force: bool, dry_run: bool
) -> Outcome:
    record = Record(version, target, stages.source, stages.running, stages.now, clock.report.note)
    image = ""
    try:
        image = image_name(target, version)
        own = scratch.below(stages.work_folder)
        with (
            stages.holding(),
            tempfile.TemporaryDirectory(dir=own.folder) as folder,
            ThreadPoolExecutor(1, thread_name_prefix="record") as aside,
        ):
            work = _Work(version, target, image, Path(folder), stages, clock)
            if dry_run:
                outcome = work.plan()
            else:
                # A write takes MLflow a tenth of a second, which other work need not wait for.
                claim = aside.submit(record.claim, image, own.claim)
                outcome = work.run(
                    claim.result,
                    lambda digest, proof, extra: aside.submit(
                        record.published, digest, proof, lambda known: extra.on(known, stages.now())
                    ),
                    force,
                )
    except KeyboardInterrupt:  # in a notebook: the command line asks to stop by its own way
        if not dry_run:
            record.release()
        raise
    except Exception as error:
        fault = as_ours(error)
        if stages.running.stop.is_set() and not isinstance(fault, StoppedError):
            # Ctrl-C and some process managers reach the tools that we started, too.
            fault = StoppedError(f"the publisher was asked to end, and then: {fault.line}")
        _log.debug("%s", clock.report.subject, exc_info=error)  # --debug shows it
        if not dry_run:
            record.failed(fault)
        state = "stopped" if isinstance(fault, StoppedError) else "failed"
        ended = Outcome(version, target.name, state, redacted(fault.line), image, exit_code=fault.exit_code)  # type: ignore[arg-type]
        return replace(ended, seconds=clock.seconds, detail=redacted(fault.detail))
    return replace(outcome, seconds=clock.seconds)


def retag(version: ModelVersion, target: Target, stages: Stages) -> Outcome:
    """Bring the extra tags of a version that is published already up to date. Raises nothing."""
    report = Report(stages.progress, subject_of(version, target.name))
    report.stage("extra tags")
    outcome = _tagger(target, stages).again(version)
    stages.progress.done(outcome)
    return outcome


def _tagger(target: Target, stages: Stages) -> Tagger:
    return Tagger(target, stages.source, stages.destination(target), stages.now)


@dataclass(frozen=True, slots=True)
class _Work:
    """One publication, in its own folder."""

    version: ModelVersion
    target: Target
    image: str
    folder: Path
    stages: Stages
    clock: Clock

    def run(
        self, claimed: Callable[[], None], published: Callable[[str, str, Tagged], Future[None]], force: bool
    ) -> Outcome:
        """The whole way. `claimed` returns when the status says that we are at it; `published` begins to write
        that this digest is there, what was proven of it, and its extra tags."""
        if self.stages.fan and self.target.layout_folder is None:  # no pod reaches a folder of this machine
            claimed()
            work = Work(self.version, self.target, self.target.platforms[0], self.clock.watch.limit, force)
            made = spread(work, self.image, self.stages, self.clock, self.stages.fan())
            return self._release(made, published, force=force)
        report, destination = self.clock.report, self.stages.destination(self.target)
        memory = memories(self.stages, destination)
        choice = Choice(report.note)
        with destination.ahead(self.image) as early:
            for number, form in enumerate(self._preparation().forms(memory, claimed)):
                spec = form.spec
                if spec.context and not force and (digest := self._same(spec, destination)):
                    # A publisher that ended between tag and status has built it: another run would not give the same bytes.
                    return self._finish(digest, _TAKEN_OVER, published, force=force)
                build = self._build(form, memory, self.folder / f"build-{number}", early)
                with self.clock.stage("check"):
                    proven = self.stages.proving.prove(build.layout, self.target, report)
                if choice.falls_on(form, proven):
                    break
                shutil.rmtree(self.folder / f"build-{number}")
            refuse(proven, self.target)
        made = Made(
            build.layout,
            tuple(each.proof for each in proven),
            choice.said,
            frozenset(early.there),
            [*build.remember, *self.stages.bases.found],
            early.sent,
            build.downloaded,
        )
        return self._release(made, published, force=force)

    def _release(
        self, made: Made, published: Callable[[str, str, Tagged], Future[None]], *, force: bool
    ) -> Outcome:
        """Push, tag and record."""
        layout, destination = made.layout, self.stages.destination(self.target)
        digest = layout.top.digest
        with self.clock.stage("push"):
            standing = destination.existing(self.image)
            if standing and standing != digest and not force:
                raise self._conflict(standing, digest)
            pushed = destination.push(layout, self.image, self.clock.report, made.there)
        with self.clock.stage("tag"):
            if standing != digest:
                destination.tag(layout, self.image)
        done = self._finish(
            digest,
            "; ".join(filter(None, (told(made.proofs), made.said))),
            published,
            lambda: destination.remember(self.image, layout, made.kept),
            force=force,
        )
        sent = pushed.sent + made.sent
        reason = "; ".join(filter(None, (done.reason, made.said)))
        return replace(done, sent=sent, downloaded=made.downloaded, proof=made.proofs, reason=reason)

    def _build(self, form: Form, memory: list[Memory], folder: Path, early: Early) -> Build:
        folder.mkdir()
        with self.clock.stage("build"):
            build = form.builder.build(form.spec, folder, memory, self.clock.report, early.offer)
        self.clock.seconds.update({f"build: {name}": seconds for name, seconds in build.seconds.items()})
        return build

    def _finish(
        self,
        digest: str,
        proof: str,
        published: Callable[[str, str, Tagged], Future[None]],
        meanwhile: Callable[[], None] = lambda: None,
        *,
        force: bool,
    ) -> Outcome:
        """Behind the commit point: the extra tags, and the status, which is written while `meanwhile` runs."""
        extra = Tagged()
        if self.target.tags:
            with self.clock.always("extra tags"):
                extra = _tagger(self.target, self.stages).bring(self.version, self.image, digest, force=force)
        with self.clock.always("record"):
            written = published(digest, proof, extra)
            meanwhile()
            written.result()
        platforms = ", ".join(map(str, sorted(self.target.platforms)))
        reason = "; ".join(filter(None, (f"published for {platforms}", extra.reason)))
        return Outcome(
            self.version, self.target.name, "published", reason, self.image, digest, tags=extra.held
        )

    def _same(self, spec: ImageSpec, destination: Destination) -> str:
        """The digest of the image's tag where that was built from the same context, for the same platforms; else empty."""
        standing = destination.existing(self.image)
        told = destination.annotations(self.image, standing) if standing else {}
        return standing if told.get(CONTEXT) == made_from(spec) else ""

    def plan(self) -> Outcome:
        """What `run` would do, as far as it can be known without building; writes nothing anywhere."""
        memory = memories(self.stages, self.stages.destination(self.target))
        form = next(self._preparation().forms(memory, lambda: None))
        spec, builder = form.spec, form.builder
        if spec.context and not spec.context.own:
            reason = f"would be built by {builder.name} with the version's own Dockerfile"
            return Outcome(self.version, self.target.name, "planned", reason, self.image)
        if spec.conda:
            reason = f"would be built with packages of conda on {spec.base.name} by {builder.name}"
            return Outcome(self.version, self.target.name, "planned", reason, self.image)
        wheels = {wheel.sha256: wheel for lock in spec.locks.values() for wheel in lock.wheels}
        size = sum(wheel.size for wheel in wheels.values()) / 1e6
        reason = (
            f"would be built of {len(wheels)} wheels ({size:.0f} MB) on {spec.base.name} by {builder.name}"
        )
        return Outcome(self.version, self.target.name, "planned", reason, self.image)

    def _preparation(self) -> Preparation:
        return Preparation(self.version, self.target, self.image, self.folder, self.stages, self.clock)

    def _conflict(self, standing: str, digest: str) -> TagConflictError:
        return TagConflictError(
            f"{self.image} is there already with another digest ({standing[:19]}…, ours is {digest[:19]}…)",
            hint=f"`publisher publish {self.version.name} {self.version.version} --force` replaces it.",
        )

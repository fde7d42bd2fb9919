"""The way of one model version to one target, top to bottom."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from publisher import scratch
from publisher.builders.base import Builder, Memory
from publisher.builders.bases import Bases
from publisher.choices import base_name, check_python, choose, environment_of
from publisher.describe import describe
from publisher.destinations.base import Destination
from publisher.domain import BaseImage, Environment, ImageSpec, ModelVersion, Outcome, Target
from publisher.environments.lock import Resolver
from publisher.errors import StoppedError, TagConflictError
from publisher.faults import as_ours
from publisher.naming import image_name
from publisher.progress import Progress, Report, subject_of
from publisher.recording import Record
from publisher.redaction import redacted
from publisher.running import Running, Watch
from publisher.sources.base import Fetched, Source
from publisher.tagging import Tagged, Tagger

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stages:
    """What the way is made of; wiring.py puts it together."""

    source: Source
    bases: Bases
    resolver: Resolver
    builders: Mapping[str, Builder]
    memory: Memory  # on this machine
    destination: Callable[[Target], Destination]
    progress: Progress
    work_folder: Path | None
    now: Callable[[], datetime]
    running: Running = field(default_factory=Running)
    deadline: timedelta | None = None  # of targets that have none
    # While this lasts, the cache of this machine loses nothing that is used.
    holding: Callable[[], AbstractContextManager[None]] = nullcontext


@dataclass(slots=True)
class Clock:
    """How long each stage took, in seconds, and whether the next one may begin."""

    report: Report
    watch: Watch
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.watch.enter(name)
        with self.always(name):
            yield

    @contextmanager
    def always(self, name: str) -> Iterator[None]:
        """A stage behind the commit point: whoever has come so far goes to the end."""
        self.report.stage(name)
        begin, outcome = time.monotonic(), "failed"
        try:
            yield
            outcome = "done"
        finally:
            self.seconds[name] = time.monotonic() - begin
            self.report.end(name, self.seconds[name], outcome)


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
                    lambda digest, extra: aside.submit(
                        record.published, digest, lambda known: extra.on(known, stages.now())
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
        reason, state = redacted(fault.line), "stopped" if isinstance(fault, StoppedError) else "failed"
        ended = Outcome(version, target.name, state, reason, image, exit_code=fault.exit_code)  # type: ignore[arg-type]
        return replace(ended, seconds=clock.seconds)
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
        self, claimed: Callable[[], None], published: Callable[[str, Tagged], Future[None]], force: bool
    ) -> Outcome:
        """The whole way. `claimed` returns when the status says that we are at it; `published` begins to write
        that this digest is there, with its extra tags."""
        report, destination = self.clock.report, self.stages.destination(self.target)
        memory = [place for place in (self.stages.memory, destination.memory()) if place]
        spec, builder = self._described(memory, claimed)
        (self.folder / "build").mkdir()
        with self.clock.stage("build"), destination.ahead(self.image) as early:
            build = builder.build(spec, self.folder / "build", memory, report, early.offer)
        self.clock.seconds.update({f"build: {name}": seconds for name, seconds in build.seconds.items()})
        digest = build.layout.top.digest
        with self.clock.stage("push"):
            standing = destination.existing(self.image)
            if standing and standing != digest and not force:
                raise self._conflict(standing, digest)
            pushed = destination.push(build.layout, self.image, report, early.there)
        with self.clock.stage("tag"):
            if standing != digest:
                destination.tag(build.layout, self.image)
        extra = Tagged()
        if self.target.tags:
            with self.clock.always("extra tags"):
                extra = _tagger(self.target, self.stages).bring(self.version, self.image, digest, force=force)
        with self.clock.always("record"):
            written = published(digest, extra)
            destination.remember(self.image, build.layout, [*build.remember, *self.stages.bases.found])
            written.result()
        platforms = ", ".join(map(str, spec.platforms))
        reason = "; ".join(filter(None, (f"published for {platforms}", extra.reason)))
        done = Outcome(
            self.version, self.target.name, "published", reason, self.image, digest, tags=extra.held
        )
        return replace(done, sent=pushed.sent + early.sent, downloaded=build.downloaded)

    def plan(self) -> Outcome:
        """What `run` would do, as far as it can be known without building; writes nothing anywhere."""
        memory = [
            place for place in (self.stages.memory, self.stages.destination(self.target).memory()) if place
        ]
        spec, builder = self._described(memory, lambda: None)
        wheels = {wheel.sha256: wheel for lock in spec.locks.values() for wheel in lock.wheels}
        size = sum(wheel.size for wheel in wheels.values()) / 1e6
        reason = (
            f"would be built of {len(wheels)} wheels ({size:.0f} MB) on {spec.base.name} by {builder.name}"
        )
        return Outcome(self.version, self.target.name, "planned", reason, self.image)

    def _described(self, memory: list[Memory], claimed: Callable[[], None]) -> tuple[ImageSpec, Builder]:
        with self.clock.stage("fetch"):
            fetched = self.stages.source.fetch(
                self.version, self.folder / "files", self.stages.progress, self.clock.report.subject
            )
        with self.clock.stage("lock"):
            environment = environment_of(self.version, self.target, fetched)
            spec = self._spec(fetched, environment, self._base(environment, memory))
            claimed()
        return spec, choose(spec, self.target, self.stages.builders)

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

    def _conflict(self, standing: str, digest: str) -> TagConflictError:
        return TagConflictError(
            f"{self.image} is there already with another digest ({standing[:19]}…, ours is {digest[:19]}…)",
            hint=f"`publisher publish {self.version.name} {self.version.version} --force` replaces it.",
        )

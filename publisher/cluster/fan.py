"""The Jobs of one version on its way to one target: made, waited for, read. What is there already is never made twice.

Nothing of this is remembered by the process that waits. Whoever comes later, because that one was killed or because two
wait at once, meets the same Jobs by their names, and the results that they left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from publisher.cluster import jobs, states
from publisher.cluster.api import GROUP, Api, AwayError
from publisher.cluster.jobs import Work
from publisher.cluster.results import Result
from publisher.cluster.states import Trouble
from publisher.domain import Platform, Target
from publisher.errors import EngineError
from publisher.progress import Report

_PAUSE = 2.0  # seconds before somebody who did not answer is asked again

# What an earlier pod left in the registry for this work.
Find = Callable[[Work], Result | None]


@dataclass(frozen=True, slots=True)
class Fan:
    """`patience`: how long a Job may be kept from its work, by a node or a Secret that is missing, before that is a
    failure of the version; then the Job stays, and the next try finds it."""

    api: Api
    patience: timedelta

    def build(self, works: Sequence[Work], find: Find, report: Report) -> dict[Platform, Result]:
        """What was built for each platform. Raises what a build raises, DeadlineError, and EngineError."""
        turn = _Turn(self.api, self.patience.total_seconds(), find, report)
        return turn.run(works)

    def check(self, target: Target, work: Work) -> str:
        """Raises EngineError where a Job for `target` could not be made; makes none."""
        manifest = _labelled(jobs.manifest(self.api.template(target.job_template), work), "doctor")
        self.api.create(manifest, dry_run=True)
        self.api.jobs("doctor")
        self.api.pods(work.name)
        self.api.events(work.name)
        return f"Jobs can be made of cronjob/{target.job_template} in the namespace {self.api.namespace}"


@dataclass(slots=True)
class _Turn:
    """One wait for some Jobs of one version and target."""

    api: Api
    patience: float
    find: Find
    report: Report
    done: dict[Platform, Result] = field(default_factory=dict)
    _since: dict[tuple[str, str], float] = field(default_factory=dict)  # what is wrong, and from when on

    def run(self, works: Sequence[Work]) -> dict[Platform, Result]:
        group = group_of(works[0])
        begun: set[str] = set()  # Jobs that are known to be for this try
        while True:
            self.report.check()
            try:
                known, moment = self.api.jobs(group)
                for work in works:
                    if work.platform not in self.done:
                        self._look(work, known.get(work.name), begun)
                if len(self.done) == len(works):
                    return self.done
                self._well("")
                self.api.changed(group, moment)
            except AwayError as error:
                self._unwell("", Trouble("", str(error)), error)
                time.sleep(_PAUSE)

    def _look(self, work: Work, job: dict[str, Any] | None, begun: set[str]) -> None:
        """One step for one Job, as it is now."""
        if job is None:
            self._begin(work, begun)
            return
        if job["metadata"].get("deletionTimestamp"):
            return  # it has to be gone before there can be another one
        ended, first = states.ended(job), work.name not in begun
        if not ended:
            if first:
                self.report.note(f"the Job {work.name} was there already, and is waited for", usual=True)
            begun.add(work.name)
            self._wait(work, job)
        elif ended == "Complete" and not (first and work.force):
            self._take(work, job)
        elif first:  # of an earlier try
            self.api.delete(job)
        else:
            raise states.failure(job, self.api.pods(work.name), work.platform)

    def _begin(self, work: Work, begun: set[str]) -> None:
        if not work.force and (found := self.find(work)):
            self._finish(work, found)
            return
        manifest = jobs.manifest(self.api.template(work.target.job_template), work)
        if self.api.create(_labelled(manifest, group_of(work))):
            self.report.note(f"{work.platform} is built by the Job {work.name}", usual=True)
        begun.add(work.name)

    def _take(self, work: Work, job: Mapping[str, Any]) -> None:
        """The result of a Job that is complete. Its pod may be gone: then the registry has it, or it is lost."""
        found = states.handed_over(self.api.pods(work.name), work.platform)
        result = found if isinstance(found, Result) else None
        if result is None and not work.force:  # else what is found may be what was to be replaced
            result = self.find(work)
        if result is None:
            self.report.note(f"the Job {work.name} left no result that is still there: it is built again")
            self.api.delete(job)
            return
        self._finish(work, result)

    def _finish(self, work: Work, result: Result) -> None:
        self._well(work.name)
        self.done[work.platform] = result

    def _wait(self, work: Work, job: Mapping[str, Any]) -> None:
        """Tell what keeps a Job from its work, and give up where that lasts."""
        found = None
        if not states.begun(job):
            pods = self.api.pods(work.name)
            names = [work.name, *(pod["metadata"]["name"] for pod in pods)]
            events = [event for name in names for event in self.api.events(name)]
            found = states.trouble(pods, events)
        if found is None:
            self._well(work.name)
            return
        told = EngineError(
            f"the Job {work.name} for {work.platform} does not begin: {found.text}", hint=found.hint
        )
        self._unwell(work.name, found, told)

    def _unwell(self, what: str, found: Trouble, error: EngineError) -> None:
        """Raise `error` where the same has been wrong for longer than our patience."""
        key = (what, found.reason)
        now = time.monotonic()
        if key not in self._since:
            self._well(what)
            self._since[key] = now
            self.report.note(str(error))
        elif now - self._since[key] >= self.patience:
            raise error

    def _well(self, what: str) -> None:
        for key in [key for key in self._since if key[0] == what]:
            del self._since[key]


def group_of(work: Work) -> str:
    """The same for all platforms of a version and a target."""
    return replace(work, platform=Platform("", "")).key[:32]


def _labelled(manifest: dict[str, Any], group: str) -> dict[str, Any]:
    manifest["metadata"]["labels"][GROUP] = group
    return manifest

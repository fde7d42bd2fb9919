"""What the edges call: each command is one method here, for all configured targets or for some."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from publisher import manual, one_platform, ownimage, scratch, side_by_side, status
from publisher.checking import Checked, check
from publisher.cluster.jobs import Work
from publisher.cluster.results import Result
from publisher.context_folder import RenderedContext, bring
from publisher.decide import decide, is_yes, told_twice, why_not_asked
from publisher.doctor import Check, doctor
from publisher.domain import Decision, ModelVersion, Outcome, Platform, Status, Target
from publisher.errors import ArtifactError, EngineError, PublisherError, SettingsError
from publisher.explain import Explanation, explain
from publisher.manual import Change
from publisher.naming import image_name
from publisher.ownimage import OwnImage
from publisher.paths import is_relative
from publisher.pipeline import publish, retag
from publisher.progress import subject_of
from publisher.settings import TARGET_TAG, Settings
from publisher.side_by_side import Job
from publisher.stages import Stages


@dataclass(frozen=True, slots=True)
class StatusRow:
    """What is known of one version for one target, and what a poll would do. `image`: its name by the settings of
    today, whether it is there or not; empty where they make none."""

    version: ModelVersion
    target: str
    status: Status | None
    decision: Decision
    image: str = ""


@dataclass(frozen=True, slots=True)
class App:
    """What the edges call. Every method looks at all configured targets unless it is told which."""

    settings: Settings
    stages: Stages
    parallel: int = 1  # publications at once

    def poll(self) -> list[Outcome]:
        """Publish what is tagged and due, and say of everything else why not. One version never stops another."""
        running = self.stages.running
        running.away = False
        outcomes: list[Outcome] = []
        due: dict[int, Job[Outcome]] = {}
        for target in self.settings.targets:
            found = list(self.stages.source.discover(target))
            twice = told_twice(found, target)
            for version in found:
                self._note_unconfigured(version)
                decision = self._decide(version, target, twice=(version.name, version.version) in twice)
                if decision.action == "publish":
                    work = partial(publish, version, target, self.stages, force=False, dry_run=False)
                    due[len(outcomes)] = Job(version.name, work)
                elif decision.action == "tag":
                    due[len(outcomes)] = Job(version.name, partial(retag, version, target, self.stages))
                known = status.read(version.tags, target.name)
                image, digest = (known.image, known.digest) if known else ("", "")
                reason = decision.reason if decision.action == "skip" else "not begun: this poll ended before"
                outcomes.append(Outcome(version, target.name, "skipped", reason, image, digest))
        done = side_by_side.run(
            list(due.values()),
            self.parallel,
            go_on=lambda: not (running.stop.is_set() or running.away),
            stop=running.stop.set,
        )
        for place, outcome in zip(due, done, strict=True):
            outcomes[place] = outcome or outcomes[place]
        return outcomes

    def publish(
        self, name: str, version: str, targets: Sequence[str] | None, *, dry_run: bool, force: bool
    ) -> list[Outcome]:
        """Publish one version now, to the named targets, else to those that its tags select, else to the only one."""
        found = self.stages.source.get(name, version)
        chosen = self._chosen(found, targets)
        return [publish(found, target, self.stages, force=force, dry_run=dry_run) for target in chosen]

    def check(self, name: str, version: str, targets: Sequence[str] | None) -> list[Checked]:
        """Build one version's images, for targets as in `publish`, and say whether they work; push and record nothing."""
        found = self.stages.source.get(name, version)
        return [check(found, target, self.stages) for target in self._chosen(found, targets)]

    def status(self, name: str | None = None, version: str | None = None) -> list[StatusRow]:
        """The tagged versions of all targets, of one model, or one version."""
        rows = []
        for target in self.settings.targets:
            if name and version:
                versions = [self.stages.source.get(name, version)]
            else:
                versions = [v for v in self.stages.source.discover(target) if name in (None, v.name)]
            for each in versions:
                known = status.read(each.tags, target.name)
                rows.append(
                    StatusRow(each, target.name, known, self._decide(each, target), _image(target, each))
                )
        return rows

    def explain(self, name: str, version: str, targets: Sequence[str] | None) -> Explanation:
        """Every decision about one version, for the named targets or for all. Changes nothing."""
        found = self.stages.source.get(name, version)
        chosen = self._named(targets) if targets else list(self.settings.targets)
        return explain(found, chosen, self.stages, self._as_polled, self._unconfigured(found))

    def doctor(self) -> Iterator[Check]:
        """Whether everything that a publication needs is there, each check as it ends."""
        settings = self.settings
        return doctor(self.stages, settings.targets, settings.mlflow_tracking_uri, settings.cache_folder)

    def count(self) -> dict[str, int]:
        """How many versions select each target: one search of MLflow for each."""
        return {
            target.name: sum(not why_not_asked(v, target) for v in self.stages.source.discover(target))
            for target in self.settings.targets
        }

    def retry(self, name: str, version: str, targets: Sequence[str] | None) -> list[Change]:
        """Let the next poll try one version again: for the named targets, or for those that it has a status of."""
        found = self.stages.source.get(name, version)
        return [manual.retry(found, target, self.stages) for target in self._known(found, targets)]

    def withdraw(self, name: str, version: str, targets: Sequence[str] | None) -> list[Change]:
        """Take one version's images away and keep polls from it; for which targets, as in `retry`."""
        found = self.stages.source.get(name, version)
        return [manual.withdraw(found, target, self.stages) for target in self._known(found, targets)]

    def download(
        self, folder: Path, name: str | None = None, version: str | None = None
    ) -> list[tuple[ModelVersion, Path]]:
        """Bring tagged versions, or one, into ``folder/<model>/v<version>``, replacing what was there."""
        if name and version:
            wanted = [self.stages.source.get(name, version)]
        else:
            targets = self.settings.targets or (_for_tag(self.settings.tags[0]),)
            distinct = {
                (v.name, v.version): v
                for target in targets
                for v in self.stages.source.discover(target)
                if not why_not_asked(v, target) and v.registration == "ready"
            }
            wanted = [v for v in distinct.values() if name in (None, v.name)]
        done = []
        for each in wanted:
            names = each.name, f"v{each.version}"
            if not all(is_relative(part) and "/" not in part for part in names):
                raise ArtifactError(f"the model {str(each)!r} has no name for a folder")
            place = folder.joinpath(*names)
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=scratch.below(folder).folder) as part:
                fetched = self.stages.source.fetch(
                    each, Path(part) / "files", self.stages.progress, str(each)
                )
                shutil.rmtree(place, ignore_errors=True)
                fetched.root.rename(place)
            done.append((each, place))
        return done

    def render(
        self, name: str, version: str, folder: Path, target: str | None, *, force: bool
    ) -> RenderedContext:
        """Bring the build context of one version into `folder`: for the named target, else for that of its tags."""
        found = self.stages.source.get(name, version)
        chosen = self._chosen(found, [target] if target else None)
        if len(chosen) > 1:
            names = " | ".join(each.name for each in chosen)
            raise SettingsError(
                [f"{found} goes to {len(chosen)} targets, and each has a build context of its own"],
                hint=f"Name one: --target {names}.",
            )
        return bring(found, chosen[0], self.stages, folder, force=force)

    def build_platform(
        self, name: str, version: str, target: str, platform: Platform, key: str, *, force: bool
    ) -> Result:
        """One platform by itself, for the publisher that has made `key` of what it wants. Records nothing."""
        found = self.stages.source.get(name, version)
        (chosen,) = self._named([target])
        work = Work(found, chosen, platform, chosen.deadline or self.stages.deadline, force)
        if work.key != key:
            raise EngineError(
                f"{found} for {target} is not here what it is for the publisher that made this Job",
                hint="Its tags have changed meanwhile, or the Job's settings or release differ: it has to have the "
                "same ConfigMap and image.",
            )
        return one_platform.build(work, self.stages)

    def own_image(self, target: str | None, platforms: Sequence[Platform], *, force: bool) -> OwnImage:
        """Publish the image of this publisher itself to a target, by default the only one, for its platforms."""
        chosen = self._named([target]) if target else list(self.settings.targets)
        if len(chosen) != 1:
            names = " | ".join(each.name for each in chosen)
            raise SettingsError(["there are several targets"], hint=f"Name one: --target {names}.")
        wanted = replace(chosen[0], platforms=tuple(platforms) or chosen[0].platforms)
        return ownimage.publish(wanted, self.stages, force=force)

    def _as_polled(self, version: ModelVersion, target: Target) -> Decision:
        """What a poll decides, which has seen the other versions too."""
        known = status.read(version.tags, target.name)
        # Only what other versions say of the same extra tags matters, so most explanations need no search.
        others = self.stages.source.discover(target) if target.tags and known and known.tags else ()
        twice = (version.name, version.version) in told_twice(others, target)
        return self._decide(version, target, twice=twice)

    def _decide(self, version: ModelVersion, target: Target, *, twice: bool = False) -> Decision:
        known = status.read(version.tags, target.name)
        gone = bool(known and self._is_gone(known.claim, subject_of(version, target.name)))
        return decide(version, target, known, self.stages.now(), abandoned=gone, twice=twice)

    def _is_gone(self, claim: str, subject: str) -> bool:
        """Whether the process of a claim is gone, or is this one, which has ended that work without MLflow hearing it."""
        place = self.settings.work_folder
        ours = bool(claim) and claim == scratch.below(place).claim
        return scratch.abandoned(claim, place) or (ours and subject not in self.stages.running.claims)

    def _unconfigured(self, version: ModelVersion) -> list[str]:
        """Tags of the version that look like targets, of which there is none here."""
        known = {target.tag for target in self.settings.targets}
        tags = version.effective_tags.items()
        return sorted(
            tag for tag, value in tags if tag.startswith(TARGET_TAG) and tag not in known and is_yes(value)
        )

    def _note_unconfigured(self, version: ModelVersion) -> None:
        for tag in self._unconfigured(version):
            # No status: another publisher, with other settings, may have that target.
            self.stages.progress.note(str(version), f"no target here has the tag {tag}")

    def _named(self, names: Sequence[str]) -> list[Target]:
        known = {target.name: target for target in self.settings.targets}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise SettingsError(
                [f"there is no target {', '.join(unknown)}"],
                hint=f"Configured: {', '.join(known) or 'none'}.",
            )
        return [known[name] for name in names]

    def _known(self, version: ModelVersion, names: Sequence[str] | None) -> list[Target]:
        """The targets to change the status of: the named ones, else those that have one, else the tagged ones."""
        if names:
            return self._named(names)
        told = [target for target in self.settings.targets if status.read(version.tags, target.name)]
        return told or self._chosen(version, None)

    def _chosen(self, version: ModelVersion, names: Sequence[str] | None) -> list[Target]:
        if names:
            return self._named(names)
        known = {target.name: target for target in self.settings.targets}
        tagged = [target for target in known.values() if not why_not_asked(version, target)]
        foreign = self._unconfigured(version)
        if not tagged and foreign:
            raise SettingsError(
                [f"{version} has the tag {', '.join(foreign)}, and no such target is configured"],
                hint=f"Configured: {', '.join(known) or 'none'}; name one with --target to publish there anyway.",
            )
        declined = [target for target in known.values() if target.tag in version.effective_tags]
        if not tagged and declined:
            raise SettingsError(
                [f"{version}: {why_not_asked(version, declined[0])}"],
                hint=f"Or name the target: --target {declined[0].name}.",
            )
        if not tagged and len(known) != 1:
            raise SettingsError(
                [f"{version} has no tag of a configured target"],
                hint=f"Name one: --target {' | '.join(known)}.",
            )
        self._note_unconfigured(version)
        return tagged or list(known.values())


def _image(target: Target, version: ModelVersion) -> str:
    try:
        return image_name(target, version)
    except PublisherError:
        return ""


def _for_tag(tag: str) -> Target:
    return Target("download", tag, "oci:.", (), "")

"""What holds for a version and one target, in the order in which the publisher decides."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from publisher import scratch, status
from publisher.checks import profiles
from publisher.choices import base_name, check_python, choose, environment_of, told
from publisher.contexts import Wanted
from publisher.decide import is_yes, why_not_asked
from publisher.describe import by_dockerfile, describe
from publisher.domain import (
    BaseImage,
    Context,
    Decision,
    Environment,
    ImageSpec,
    Lock,
    ModelVersion,
    Status,
    Target,
)
from publisher.explain import standing
from publisher.explain.findings import Explanation, Finding, Forecast, ForTarget, Level, step
from publisher.explain.version import Subject
from publisher.extra_tags import wanted
from publisher.naming import image_name
from publisher.progress import subject_of
from publisher.proving import foresee
from publisher.stages import Stages


def explain(
    version: ModelVersion,
    targets: Sequence[Target],
    stages: Stages,
    decided: Callable[[ModelVersion, Target], Decision],
    elsewhere: Sequence[str],
) -> Explanation:
    """Every decision about `version` for `targets`, with its reason. Writes, builds and pushes nothing.

    `decided`: what a poll decides. `elsewhere`: its tags that ask for targets which are not configured here. Raises nothing but OSError where there is no room for a few small files: what goes wrong is a finding.
    """
    with tempfile.TemporaryDirectory(dir=scratch.below(stages.work_folder).folder) as folder:
        subject = Subject(version, stages, Path(folder))
        subject.look()
        if elsewhere:
            text = f"no target here has the tag {', '.join(elsewhere)}: another publisher may have it"
            subject.findings.append(Finding("other targets", "note", text, {"tags": list(elsewhere)}))
        found = [_ForTarget(subject, target, decided(version, target)).look() for target in targets]
    return Explanation(version, tuple(subject.findings), tuple(found))


@dataclass(slots=True)
class _ForTarget:
    subject: Subject
    target: Target
    decision: Decision
    image: str = ""
    environment: Environment | None = None
    base: BaseImage | None = None
    context: Context | None = None  # of the version's own Dockerfile
    spec: ImageSpec | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def version(self) -> ModelVersion:
        return self.subject.version

    @property
    def stages(self) -> Stages:
        return self.subject.stages

    @property
    def status(self) -> Status | None:
        return status.read(self.version.tags, self.target.name)

    def look(self) -> ForTarget:
        looks: dict[str, Callable[[], Finding]] = {
            "selection": self._selection,
            "status": lambda: standing.of_status(self.version, self.target),
            "name": self._name,
            "extra tags": self._extra_tags,
            "templates": self._templates,
            "environment": self._environment,
            "base image": self._base,
            "builder": self._builder,
            "profile": self._profile,
            "registry": self._registry,
        }
        for topic, look in looks.items():
            self.stages.progress.stage(subject_of(self.version, self.target.name), topic)
            self.findings.append(step(topic, look))
        selected = not why_not_asked(self.version, self.target)
        forecast = self._forecast(self.decision)
        self.findings.append(self._next_try(forecast))
        return ForTarget(self.target.name, selected, tuple(self.findings), forecast)

    def _selection(self) -> Finding:
        tag = self.target.tag
        value = self.version.effective_tags.get(tag)
        facts = {"tag": tag, "value": value, "carrier": self.version.carrier(tag) if value else None}
        if why_not := why_not_asked(self.version, self.target):
            # False was meant; what is neither true nor false was meant to be something.
            level: Level = "note" if value is None or is_yes(value) is False else "problem"
            return Finding("selection", level, f"not selected: {why_not}", facts)
        whose = "its tag" if tag in self.version.tags else f"the tag of {self.version.carrier(tag)}"
        return Finding("selection", "ok", f"selected: {whose} {tag} is {value!r}", facts)

    def _name(self) -> Finding:
        self.image = image_name(self.target, self.version)
        text, facts = self.image, {"image": self.image}
        if self.status and self.status.image not in ("", self.image):
            text += f"; its status names {self.status.image}, for the settings were others then"
            return Finding("name", "note", text, facts)
        return Finding("name", "ok", text, facts)

    def _extra_tags(self) -> Finding:
        asked = wanted(self.version, self.target)
        held = list(self.status.tags) if self.status else []
        facts = {"wanted": [tag.name for tag in asked.tags], "held": held, "refused": list(asked.refused)}
        if not asked.tags and not asked.refused:
            return Finding("extra tags", "ok", "none are asked for", facts)
        text = "; ".join([f"{asked or 'none'} asked for, {', '.join(held) or 'none'} there", *asked.refused])
        return Finding("extra tags", "problem" if asked.refused else "ok", text, facts)

    def _templates(self) -> Finding:
        examined, target = self.subject.examined, self.target
        if examined is None:
            return Finding("templates", "note", "not known, because its files cannot be found")
        if examined.templates is None:
            return Finding("templates", "ok", "it brings none")
        folder = examined.templates.folder
        if target.templates != "version":
            text = f"{folder!r} is not used: `templates` of the target is {target.templates}"
            return Finding("templates", "ok", text)
        base, python = told(self.version, target, examined.fetched)
        wanted = Wanted(self.version, target, self.image, examined.fetched)
        self.context = self.stages.contexts.of_version(wanted, base, python)
        if self.context is None:
            return Finding("templates", "ok", f"{folder!r} has no Dockerfile: ours makes the image")
        text = f"a Dockerfile of its own makes the image, from {', '.join(self.context.bases) or 'scratch'}"
        return Finding("templates", "ok", text, {"bases": list(self.context.bases)})

    def _environment(self) -> Finding:
        if self.subject.examined is None:
            return Finding("environment", "note", "not known, because its files cannot be found")
        if self.context:
            return Finding("environment", "ok", "its own Dockerfile makes it")
        found = environment_of(self.version, self.target, self.subject.examined.fetched)
        self.environment = found
        facts = {
            "origin": found.origin,
            "python": found.python,
            "requirements": list(found.requirements),
            "constraints": list(found.constraints),
            "notes": list(found.notes),
        }
        python = f"Python {found.python}" if found.python else "no Python version is named"
        text = f"{found.origin} decides: {len(found.requirements)} requirements; {python}"
        return Finding("environment", "note" if found.notes else "ok", "; ".join([text, *found.notes]), facts)

    def _base(self) -> Finding:
        if self.context:
            return Finding("base image", "ok", "its own Dockerfile names it")
        environment = self.environment
        if environment is None:
            return Finding("base image", "note", "not known, because its environment cannot be read")
        target = self.target
        name, minor = base_name(target, environment)
        digest, python = self.stages.bases.peek(name, target.platforms, [self.stages.memory])
        facts = {"base": name, "digest": digest, "python": python or None, "needed": minor or None}
        if environment.conda:
            self.base = BaseImage(name, digest, "", "", (0, 0))
            text = f"{name} ({digest[:19]}…): conda brings the Python"
            return Finding("base image", "ok", text, facts)
        if python:
            check_python(target, minor, name, python)
        self.base = BaseImage(name, digest, python or f"{minor or '3.11'}.0", "", (2, 17))
        whose = f"`python` of the target is {minor}" if target.python else f"the model needs Python {minor}"
        why = whose if minor else "any Python will do"
        there = f"it is there for {', '.join(map(str, target.platforms))}"
        has = f"it has Python {python}" if python else "its Python is known when it is unpacked"
        return Finding("base image", "ok", f"{name} ({digest[:19]}…): {why}, {has}, {there}", facts)

    def _builder(self) -> Finding:
        examined, base = self.subject.examined, self.base
        if self.context:
            spec = by_dockerfile(self.version, self.target, self.context)
        elif examined is None or base is None:
            return Finding("builder", "note", "not known, because what stands above is not")
        else:
            # The wheels are not resolved here, and no builder's check needs them.
            locks = {platform: Lock(platform, base.python_minor, ()) for platform in self.target.platforms}
            conda = bool(self.environment and self.environment.conda)
            spec = describe(self.version, self.target, examined.fetched, base, locks, conda=conda)
        self.spec = spec
        builder = choose(spec, self.target, self.stages.builders)
        why = "the first that can" if self.target.builder == "auto" else "the target's setting"
        return Finding("builder", "ok", f"{builder.name} ({why})", {"builder": builder.name})

    def _profile(self) -> Finding:
        profile = profiles.named(self.target.profile)
        facts = {"profile": profile.name, "form": profile.form}
        if self.spec and self.image:
            foresee(self.spec, self.image, self.target)
        form = {
            "index": "an index",
            "plain": "one manifest",
            "docker": "one manifest of Docker's media types",
        }
        return Finding("profile", "ok", f"{profile.name}: {profile.title}, as {form[profile.form]}", facts)

    def _registry(self) -> Finding:
        if not self.image:
            return Finding("registry", "note", "not looked at, because the image has no name")
        there = self.stages.destination(self.target).existing(self.image)
        made_from = standing.Origin.read(self.stages.bases.images, self.image) if there else None
        return standing.of_registry(self.version, self.status, self.image, there, made_from)

    def _forecast(self, decision: Decision) -> Forecast:
        if self.version.effective_tags.get(self.target.tag) is None:
            return Forecast("ignore", decision.reason)
        if decision.action != "publish":
            return Forecast(decision.action, decision.reason)
        for finding in (*self.subject.findings, *self.findings):
            if finding.stops:
                return Forecast("fail", f"{decision.reason}; {finding.topic}: {finding.text}")
        return Forecast("publish", decision.reason)

    def _next_try(self, forecast: Forecast) -> Finding:
        known = self.status
        due = known.next_try if known and known.state == "failed" else None
        facts = {"next_try": due.isoformat(timespec="seconds") if due else None}
        if forecast.action in ("publish", "fail", "tag"):
            return Finding("next try", "ok", "with the next poll", facts)
        if forecast.action == "skip" and due:
            return Finding("next try", "note", f"at {due:%Y-%m-%d %H:%M:%S %Z}", facts)
        name = f"{self.version.name} {self.version.version}"
        by_hand = f"`publisher retry {name}` or `publisher publish {name}` tries it now"
        failed = bool(known and known.state == "failed")
        text = f"none of itself: {by_hand}" if failed else "none: there is nothing to try again"
        return Finding("next try", "note" if failed else "ok", text, facts)

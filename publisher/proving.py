"""Proof before push: what the checks say of a finished image, and whether it may go out.

A check that fails refuses the image. One that could not look refuses it where the target's `proof` is required, and is
told in any case: the status says what was proven, what was not, and why.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from publisher.checks import profile, profiles
from publisher.checks.binaries import binaries
from publisher.checks.own_python import Roots
from publisher.checks.prediction import prediction
from publisher.checks.surveys import Surveys
from publisher.checks.verdict import Verdict, grouped, sentence
from publisher.domain import ImageSpec, Platform, Proof, Target
from publisher.errors import CheckError
from publisher.oci import layout as layouts
from publisher.oci.layout import Layout
from publisher.progress import Report

_LINES = 40  # of findings that are shown; the whole is what `publisher check` prints
_PATHS = 5  # of one finding


@dataclass(frozen=True, slots=True)
class Proven:
    """One verdict on the image of one platform."""

    platform: Platform
    verdict: Verdict

    @property
    def proof(self) -> Proof:
        return Proof(self.verdict.check, self.platform, self.verdict.state, self.verdict.reason)


@dataclass(frozen=True, slots=True)
class Proving:
    """All checks, one after the other."""

    cache_folder: Path | None
    # A model may take much memory for its prediction, and all processors: so one after the other.
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def look(self, layout: Layout, target: Target, report: Report) -> Iterator[Proven]:
        """What each check says of each platform, as it is found; refuses nothing. Raises what reading layers raises."""
        surveys = Surveys(self.cache_folder)  # anew for each image: what is known of its layers is large
        whole = []
        for platform, child in layouts.platforms(layout):
            report.check()
            verdict = binaries(layout, platform, child.digest, surveys)
            yield Proven(platform, verdict)
            if verdict.state != "failed":
                whole.append((platform, child.digest))
            if target.profile != "default":  # which asks for nothing
                wanted = profiles.named(target.profile)
                yield Proven(platform, profile.after(layout, platform, child.digest, surveys, wanted))
        roots = Roots(self.cache_folder, surveys)
        for platform, manifest in whole:  # of an image whose programs cannot be loaded, that is what to tell
            with self._turn:
                report.check()
                found = prediction(layout, platform, manifest, roots, surveys, emulate=target.emulate)
                yield Proven(platform, found)

    def prove(self, layout: Layout, target: Target, report: Report) -> tuple[Proven, ...]:
        """All that `look` finds, where the target wants proof."""
        return () if target.proof == "off" else tuple(self.look(layout, target, report))


def foresee(spec: ImageSpec, image: str, target: Target) -> None:
    """Raise CheckError where `spec` says already that the target's profile would not take the image."""
    verdict = profile.before(spec, image, profiles.named(target.profile))
    if verdict.state == "failed" and target.proof != "off":
        raise CheckError(
            f"the image was not built, because it would not be taken: {verdict.reason}",
            hint=verdict.findings[0].remedy,
            detail="\n".join(f"{each.text}. {each.remedy}" for each in verdict.findings),
        )


def refuse(found: Sequence[Proven], target: Target) -> None:
    """Raise CheckError where one of the verdicts stands against publishing the image to `target`."""
    failed = [each for each in found if each.verdict.state == "failed"]
    if failed:
        first = failed[0]
        others = sorted({str(each.platform) for each in failed} - {str(first.platform)})
        also = f" (and for {', '.join(others)})" if others else ""
        remedies = [finding.remedy for finding in first.verdict.findings if finding.remedy]
        said = sentence(first.verdict.findings) if first.verdict.findings else first.verdict.reason
        what = "would not be taken" if first.verdict.check == profile.NAME else "does not work"
        raise CheckError(
            f"the image for {first.platform}{also} {what}, and was not pushed: {said}",
            hint=remedies[0] if remedies else "",
            detail="\n".join(_lines(failed)),
        )
    unseen = [each for each in found if each.verdict.state != "ok"]
    if target.proof == "required" and unseen:
        first = unseen[0]
        raise CheckError(
            f"the image was not pushed, because its {first.verdict.check} could not be proven for {first.platform}: "
            f"{first.verdict.reason}",
            hint=f'Set proof = "possible" on the target {target.name} to publish what cannot be proven.',
        )


def _lines(failed: Iterable[Proven]) -> list[str]:
    """Every finding with its files and what to do, as far as they fit."""
    lines = []
    for each in failed:
        for finding, paths in grouped(each.verdict.findings):
            more = f" and {len(paths) - _PATHS} more" if len(paths) > _PATHS else ""
            where = f"{', '.join(paths[:_PATHS])}{more}: " if paths else ""
            lines.append(
                f"{each.platform} {each.verdict.check}: {where}{finding.text}. {finding.remedy}".strip()
            )
    left = len(lines) - _LINES
    return [*lines[:_LINES], f"… and {left} more"] if left > 0 else lines

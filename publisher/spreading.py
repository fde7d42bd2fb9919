"""The images of a version's platforms, each built by a Job of its own, as one image (docs/fan-out.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from publisher.builders.base import Remembered
from publisher.checks import profiles
from publisher.cluster.jobs import Work
from publisher.cluster.results import Result
from publisher.destinations.base import Destination
from publisher.domain import Platform, Proof
from publisher.errors import EngineError
from publisher.oci.layout import Layout
from publisher.oci.merge import merged, of_one_base
from publisher.one_platform import left
from publisher.stages import Clock, Stages

if TYPE_CHECKING:  # it needs the extra `kubernetes`
    from publisher.cluster.fan import Fan


@dataclass(frozen=True, slots=True)
class Made:
    """An image that may go out. `said`: of its making, for people; `there`: blobs that the registry has already;
    `sent` and `downloaded` in bytes."""

    layout: Layout
    proofs: tuple[Proof, ...]
    said: str
    there: frozenset[str]
    kept: Sequence[Remembered] = ()
    sent: int = 0
    downloaded: int = 0


def spread(one: Work, image: str, stages: Stages, clock: Clock, fan: Fan) -> Made:
    """Have the version of `one` built for every platform of its target, and merge them. Raises what a build raises."""
    target, destination = one.target, stages.destination(one.target)
    works = [replace(one, platform=platform) for platform in sorted(target.platforms)]
    find = partial(_left, destination, image, stages)
    with clock.stage("build"):
        results = fan.build(works, find, clock.report)
        found = _read(destination, image, results)
        if not of_one_base(found):
            clock.report.note("the base image moved between the builds of two platforms: all are built again")
            results = fan.build([replace(work, force=True) for work in works], find, clock.report)
            found = _read(destination, image, results)
    if not of_one_base(found):
        raise EngineError(
            "the base image moves faster than the platforms are built", hint="Name it by its digest."
        )
    indexed = profiles.named(target.profile).form == "index"
    layout = merged(found) if indexed else next(iter(found.values()))
    return Made(
        layout,
        tuple(proof for _, result in sorted(results.items()) for proof in result.proofs),
        _said(results),
        frozenset(layout.blobs),  # a registry has a manifest only with all that it names
        sent=sum(result.sent for result in results.values()),
        downloaded=sum(result.downloaded for result in results.values()),
    )


def _left(destination: Destination, image: str, stages: Stages, work: Work) -> Result | None:
    return left(work, destination, image, stages.now())


def _read(destination: Destination, image: str, results: Mapping[Platform, Result]) -> dict[Platform, Layout]:
    found = {platform: destination.read(image, result.digest) for platform, result in results.items()}
    lost = [platform for platform, layout in found.items() if layout is None]
    if lost:
        raise EngineError(
            f"the registry has lost what was built for {', '.join(map(str, lost))}",
            hint="Does it remove manifests without a tag at once? It has to keep them for an hour.",
        )
    return {platform: layout for platform, layout in found.items() if layout is not None}


def _said(results: Mapping[Platform, Result]) -> str:
    """What is left out of the image, and which platforms were built on another one's node."""
    foreign = [
        f"{platform} was built on {result.machine}"
        for platform, result in sorted(results.items())
        if result.machine != platform.architecture
    ]
    slim = dict.fromkeys(result.said for _, result in sorted(results.items()) if result.said)
    return "; ".join((*slim, *foreign))

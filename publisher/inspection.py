"""What an image from anywhere is: its platforms, what it starts, its layers, whether its programs can be loaded.

It needs a registry or a folder, and neither MLflow nor a target.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, repeat
from typing import Any

from publisher import folders, scratch
from publisher.checks.binaries import binaries
from publisher.checks.program import Start
from publisher.checks.sizes import Weight, weights
from publisher.checks.survey import Survey
from publisher.checks.surveys import Surveys
from publisher.checks.tree import Tree
from publisher.checks.verdict import Verdict
from publisher.domain import Platform
from publisher.errors import BuildError
from publisher.oci import access
from publisher.oci import layout as layouts
from publisher.oci.credentials import Credentials
from publisher.oci.images import Images
from publisher.oci.layout import Descriptor, Layout
from publisher.oci.reference import Reference
from publisher.oci.registry import Registries
from publisher.redaction import redacted
from publisher.settings import Settings


@dataclass(frozen=True, slots=True)
class HeldLayer:
    """`size`: bytes as it is sent; `unpacked`: of its files, None where it was not read; `holds`: for people."""

    digest: str
    size: int
    holds: str
    files: int | None = None
    unpacked: int | None = None


@dataclass(frozen=True, slots=True)
class Inspected:
    """The image of one platform. `digest` is of its manifest; `weights` are empty where they were not asked for."""

    platform: Platform
    digest: str
    start: Start
    entrypoint: tuple[str, ...]
    created: str
    layers: tuple[HeldLayer, ...]
    verdict: Verdict
    weights: tuple[Weight, ...] = ()


def reader(settings: Settings, environ: Mapping[str, str], name: str, *, insecure: bool) -> Images:
    """Reads the image `name` as the targets' registries are read: their access, their credentials or none."""
    redacted.learn_environment(environ)
    reached = access.of_targets(settings.targets)
    if not name.startswith("oci:"):
        try:
            host = Reference.parse(name).repository.host
        except ValueError as error:
            raise BuildError(str(error)) from error
        if insecure:
            reached[host] = replace(reached.get(host, access.PLAIN), insecure=True)
        hosts = {*reached, host}
    else:
        hosts = set(reached)
    registries = Registries(Credentials.load(environ, sorted(hosts), redacted.learn), reached)
    return Images(registries, settings.mirrors)


def kept(settings: Settings) -> Surveys:
    """What is known of layers in the cache folder."""
    folders.trusted(settings.cache_folder, "cache_folder")
    scratch.reap(settings.cache_folder)
    return Surveys(settings.cache_folder)


def inspect(
    layout: Layout, surveys: Surveys, wanted: Platform | None = None, *, sizes: bool = False
) -> Iterator[Inspected]:
    """Each platform of an image, or the one that is `wanted`. Raises BuildError where there is no such one."""
    found = [(place, child) for place, child in layouts.platforms(layout) if wanted in (None, place)]
    if not found:
        there = (
            ", ".join(str(place) for place, _ in layouts.platforms(layout))
            or "no platform that runs programs"
        )
        raise BuildError(f"the image is not there for {wanted or 'any platform'}", hint=f"It is for {there}.")
    for place, child in found:
        yield _one(layout, place, child.digest, surveys, sizes=sizes)


def _one(layout: Layout, platform: Platform, manifest: str, surveys: Surveys, *, sizes: bool) -> Inspected:
    verdict = binaries(layout, platform, manifest, surveys)
    descriptors = layout.layers(manifest)
    with layouts.readable(f"the config of {manifest}"):
        config = layout.config(manifest)
        start, told = Start.of(config), list(_history(config))
        inner = config.get("config") or {}
        entrypoint = tuple(map(str, inner.get("Entrypoint") or []))
    known: Sequence[Survey | None] = [surveys.known(each.digest) for each in descriptors]
    held = [
        _held(layer, survey, said)
        for layer, survey, said in zip(
            descriptors, known, islice(chain(told, repeat("")), len(known)), strict=True
        )
    ]
    whole = [survey for survey in known if survey]
    heavy = weights(Tree(whole)) if sizes and len(whole) == len(known) else []
    created = str(config.get("created") or "")
    return Inspected(platform, manifest, start, entrypoint, created, tuple(held), verdict, tuple(heavy))


def _history(config: Mapping[str, Any]) -> Iterator[str]:
    """What made each layer, as the image says it (image-spec, "config.md")."""
    for entry in config.get("history") or []:
        if not entry.get("empty_layer"):
            yield str(entry.get("created_by") or "")


def _held(layer: Descriptor, survey: Survey | None, told: str) -> HeldLayer:
    said = " ".join(told.removeprefix("publisher: ").split())[:200]
    if survey is None:
        return HeldLayer(layer.digest, layer.size, said)
    files = [entry for entry in survey.entries if entry.kind == "file"]
    if len(survey.packages) == 1:
        said = str(survey.packages[0])
    elif survey.packages:
        said = f"{len(survey.packages)} Python packages"
    elif not said:
        said = ", ".join(sorted({f"/{entry.path.partition('/')[0]}" for entry in files})[:5])
    return HeldLayer(layer.digest, layer.size, said, len(files), sum(entry.size for entry in files))

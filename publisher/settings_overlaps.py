"""Targets that would write over each other: found by their templates, before anything is published."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator, Sequence
from itertools import combinations, product

from publisher.domain import Target
from publisher.extra_tags import fill, own_tag, parts, shape
from publisher.oci.reference import Reference

# The same model on both sides; what people write into aliases and tags may be anything.
_KNOWN = {"model": "model", "version": "1", "date": "2026-01-01"}


def overlaps(targets: Sequence[Target]) -> Iterator[tuple[Target, str, str]]:
    """Of each two targets that would give one image or tag two owners: one of them, its key, and what is wrong."""
    for first, second in combinations(targets, 2):
        if _repository(first) != _repository(second):
            continue
        if _filled(own_tag(first), first) == _filled(own_tag(second), second):
            yield (
                second,
                "image",
                f"would write the same images as targets.{first.name}: put {{target}} into the image of one of "
                "them, such as {registry}/{model}:v{version}-{target}",
            )
        elif met := next(_meetings(first, second), None) or next(_meetings(second, first), None):
            yield met


def _meetings(one: Target, other: Target) -> Iterator[tuple[Target, str, str]]:
    for ours, theirs in product(one.tags, (own_tag(other), *other.tags)):
        if _shape(ours, one).fullmatch(_filled(theirs, other)) or _shape(theirs, other).fullmatch(
            _filled(ours, one)
        ):
            yield (
                one,
                "tags",
                f"{ours!r} may be a tag of targets.{other.name} too, which writes into the same repositories: "
                f"put {{target}} into both, such as {{target}}-{ours}",
            )


def _repository(target: Target) -> str:
    folder = target.layout_folder
    registry = target.registry if folder is None else os.path.normpath(folder)
    text = target.image.format(registry=registry, target=target.name.lower(), model="model", version="1")
    return str(Reference.parse(text).repository) if folder is None else text.rpartition(":")[0]


def _filled(template: str, target: Target) -> str:
    values = {"target": target.name.lower(), **_KNOWN}
    return fill(template, {name: values.get(name, "any") for name in parts(template)[1::2]})


def _shape(template: str, target: Target) -> re.Pattern[str]:
    return shape(template, {"model": "model", "target": re.escape(target.name.lower())})

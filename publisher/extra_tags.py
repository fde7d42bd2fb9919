"""Further tags of a version's image, by the target's templates (docs/names.md). Pure: which are wanted, and why not.

An extra tag moves: from version to version as an alias does, or on to the highest version.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from publisher.domain import ModelVersion, Target
from publisher.naming import repository_name
from publisher.oci.reference import is_tag

PLACEHOLDERS = ("model", "version", "alias", "target", "date", "tags[KEY]")
MOST = 64  # for one version: whoever sets aliases decides how many requests a registry gets
_FIELD = re.compile(r"\{(model|version|alias|target|date|tags\[[^\[\]{}]+\])\}")
_VALUE = re.compile(r"[A-Za-z0-9._-]+")
# Where registries without the referrers API keep signatures and statements about an image (distribution-spec,
# "Referrers Tag Schema"): whoever wrote there could replace them.
_DIGEST = re.compile(r"sha(256|512)-.*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, order=True)
class ExtraTag:
    """`follows`: an alias of MLflow decides which version has it; else the highest version does."""

    name: str
    follows: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """The extra tags that a version's image should have. `refused`: what cannot be one, each with its reason."""

    tags: tuple[ExtraTag, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change when something else is wanted; empty where nothing is."""
        if not self.tags and not self.refused:
            return ""
        content = [[(tag.name, tag.follows) for tag in self.tags], self.refused]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return ", ".join(tag.name for tag in self.tags)


def wanted(version: ModelVersion, target: Target) -> Wanted:
    """What the target's `tags` ask of a version, sorted. A template without a value for this version asks nothing."""
    if not target.tags:
        return Wanted()
    values = _values(version, target)
    own = fill(own_tag(target), {name: each[0] for name, each in values.items() if each})
    found: dict[str, bool] = {}
    refused: list[str] = []
    for template in target.tags:
        for name, bad in _filled(template, values, version):
            if fault := bad or _fault(name, own, target):
                refused.append(f"{template} is no tag for it: {fault}")
            elif name != own:
                found[name] = found.get(name, False) or "{alias}" in template
    tags = [ExtraTag(*each) for each in sorted(found.items())]
    if len(tags) > MOST:
        refused.append(f"{len(tags) - MOST} more than {MOST} tags are asked for: the last ones are left out")
    return Wanted(tuple(tags[:MOST]), tuple(sorted(set(refused))))


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with each placeholder's value by its name; raises KeyError."""
    return "".join(values[part] if place % 2 else part for place, part in enumerate(parts(template)))


@lru_cache(256)  # a poll asks for each version
def parts(template: str) -> tuple[str, ...]:
    """Literals and names of placeholders in turns, a literal first and last."""
    return tuple(_FIELD.split(template))


def placeholders(template: str) -> tuple[str, ...]:
    """The names of the placeholders: ``alias``, ``tags[stage]`` …; raises ValueError where a brace is none."""
    split = parts(template)
    if any(brace in literal for literal in split[::2] for brace in "{}"):
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise ValueError(f"{template!r} has a brace that is no placeholder; known: {known}")
    return split[1::2]


def own_tag(target: Target) -> str:
    """The template of the version's own tag, which `image` has behind its colon."""
    return target.image.rpartition("/")[2].partition(":")[2] or "latest"


def _values(version: ModelVersion, target: Target) -> dict[str, list[str]]:
    return {
        "model": [repository_name(version.name)],
        "version": [version.version],
        "alias": sorted(set(version.aliases)),
        "target": [target.name.lower()],
        "date": [f"{version.created:%Y-%m-%d}"],
    }


def _filled(
    template: str, values: Mapping[str, list[str]], version: ModelVersion
) -> Iterator[tuple[str, str]]:
    """Each name that the template makes, with what is wrong with a value."""
    names = dict.fromkeys(placeholders(template))
    choices = [values[name] if name in values else _tag(version, name[5:-1]) for name in names]
    for chosen in product(*choices):
        bad = [value for value in chosen if not _VALUE.fullmatch(value)]
        fault = f"{_short(bad[0])} has other characters than letters, digits, . _ and -" if bad else ""
        yield fill(template, dict(zip(names, chosen, strict=True))), fault


def _tag(version: ModelVersion, key: str) -> list[str]:
    value = version.effective_tags.get(key, "").strip()
    return [value] if value else []


def _fault(name: str, own: str, target: Target) -> str:
    if not is_tag(name):
        return f"{_short(name)} is longer than 128 characters, or begins with . or -"
    if _DIGEST.fullmatch(name):
        return f"{_short(name)} is where signatures are looked for"
    if name != own and _versions(own_tag(target), target.name.lower()).fullmatch(name):
        return f"{_short(name)} is the name of another version"
    return ""


@lru_cache(64)
def _versions(own: str, target: str) -> re.Pattern[str]:
    """What the own tags of all versions look like."""
    return shape(own, {"model": "[a-z0-9._-]+", "target": re.escape(target)})


def shape(template: str, known: Mapping[str, str]) -> re.Pattern[str]:
    """What the template may make. `known`: patterns for placeholders, besides those of numbers and dates."""
    patterns = {"version": "[0-9]+", "date": "[0-9]{4}-[0-9]{2}-[0-9]{2}", **known}
    split = list(parts(template))
    split[::2] = map(re.escape, split[::2])
    split[1::2] = [patterns.get(name, _VALUE.pattern) for name in split[1::2]]
    return re.compile("".join(split))


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:59]}…")

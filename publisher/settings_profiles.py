"""What profiles say of targets: values for keys that nobody has set, and settings that do not go together with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from publisher import settings_sources as sources
from publisher.checks import accepted, profiles
from publisher.checks.verdict import Finding
from publisher.domain import Target
from publisher.errors import SettingsError
from publisher.extra_tags import own_tag, parts


def of_profiles(layers: Sequence[sources.Layer]) -> sources.Layer:
    """The defaults of each target's profile, for after `layers`. A profile that is none has no defaults: the key's own
    check tells what is wrong."""
    chosen: dict[str, object] = {}
    for layer in reversed(layers):
        chosen |= {path[1]: given.value for path, given in layer.items() if path[2:] == ("profile",)}
    found: sources.Layer = {}
    for name, value in chosen.items():
        place = f"the profile {value}"
        for key, default in _defaults(value).items():
            found["targets", name, key] = sources.Given(default, "file", f"defaults.{key}", place)
    return found


def _defaults(value: object) -> Mapping[str, object]:
    try:
        return profiles.named(str(value).strip()).defaults.model_dump(exclude_none=True)
    except SettingsError:
        return {}


def faults(targets: Sequence[Target]) -> Iterator[tuple[Target, str, str]]:
    """Of each setting that a target's profile does not take: the target, the key, what is wrong."""
    for target in targets:
        profile = profiles.named(target.profile)
        yield from _told(target, "platforms", accepted.platforms(profile, target.platforms))
        yield from _told(target, "user", accepted.user(profile, target.user))
        for key, templates in (("image", (own_tag(target),)), ("tags", target.tags)):
            fixed = [each for each in templates if len(parts(each)) == 1]
            yield from _told(target, key, (found for each in fixed for found in accepted.tag(profile, each)))


def _told(target: Target, key: str, found: Iterator[Finding]) -> Iterator[tuple[Target, str, str]]:
    for each in found:
        yield target, key, f"{each.text}. {each.remedy}"

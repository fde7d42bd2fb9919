"""Whether an image is one that its target's platform accepts: before it is built by its spec, afterwards by what it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from publisher.checks import accepted
from publisher.checks.inside import Inside
from publisher.checks.profiles import Profile
from publisher.checks.program import Start
from publisher.checks.surveys import Surveys
from publisher.checks.tree import Tree
from publisher.checks.verdict import Finding, Verdict, sentence
from publisher.domain import ImageSpec, Platform
from publisher.errors import BuildError
from publisher.oci import layout as layouts
from publisher.oci.layout import DOCKER_MANIFEST, INDEX_TYPES, Layout
from publisher.oci.reference import Reference

NAME = "profile"
_MOST = 500  # findings that are kept
_READABLE = ("gzip", "tar")
_AGAIN = "Publish it again."


def before(spec: ImageSpec, image: str, profile: Profile) -> Verdict:
    """On what will be built as `image`. What a Dockerfile of the version's own says is known afterwards alone."""
    own = spec.context is not None and not spec.context.own
    found = chain(
        accepted.platforms(profile, spec.platforms),
        () if own else accepted.user(profile, spec.user),
        accepted.ports(profile, spec.ports),
        accepted.tag(profile, _tag(image)),
    )
    return _verdict(profile, tuple(found), ())


def after(layout: Layout, platform: Platform, manifest: str, surveys: Surveys, profile: Profile) -> Verdict:
    """On the image of one platform, whose manifest has the digest `manifest`.

    Raises what fetching a layer raises; a layer that cannot be read is a finding.
    """
    try:
        with layouts.readable(f"the config of {manifest}"):
            look = _Look(profile, layout, manifest, layout.config(manifest))
            findings = [*accepted.platforms(profile, [platform]), *look.config(), *look.sizes()]
            notes, start, entrypoint = list(look.notes()), look.start, look.entrypoint
        layers = layout.layers(manifest)
        unread = [layer.media_type for layer in layers if not layer.media_type.endswith(_READABLE)]
        if look.needs_files and unread:
            text = f"a layer is of the type {unread[0]}, so what its files would tell was not looked at"
            notes.append(Finding("", "", text))
        elif look.needs_files:
            inside = Inside(profile, platform, start, entrypoint, Tree(surveys.of(layout, layers)))
            findings += islice(inside.findings(), _MOST)
            notes += inside.notes()
    except BuildError as error:
        return Verdict(NAME, "failed", str(error), (Finding("", "", str(error), error.hint or _AGAIN),))
    return _verdict(profile, tuple(findings), tuple(notes))


def _verdict(profile: Profile, findings: tuple[Finding, ...], notes: tuple[Finding, ...]) -> Verdict:
    if findings:
        return Verdict(NAME, "failed", sentence(findings), findings, notes)
    return Verdict(NAME, "ok", f"it is what the profile {profile.name} takes", (), notes)


def _tag(image: str) -> str:
    if image.startswith("oci:"):
        return image.rpartition("/")[2].partition(":")[2] or "latest"
    return Reference.parse(image).tag or "latest"


@dataclass(slots=True)
class _Look:
    """What manifest and config tell."""

    profile: Profile
    layout: Layout
    manifest: str
    document: Mapping[str, Any]

    @property
    def inner(self) -> Mapping[str, Any]:
        return self.document.get("config") or {}

    @property
    def start(self) -> Start:
        return Start.of(self.document)

    @property
    def entrypoint(self) -> tuple[str, ...]:
        return tuple(map(str, self.inner.get("Entrypoint") or ()))

    @property
    def needs_files(self) -> bool:
        wanted = self.profile
        return bool(wanted.files or wanted.programs or wanted.arguments or wanted.any_user)

    def config(self) -> Iterator[Finding]:
        profile, top = self.profile, self.layout.top.media_type
        if profile.form != "index" and top in INDEX_TYPES:
            text = f"it is an index, and the profile {profile.name} takes a manifest of one platform"
            yield Finding("", "", text, _AGAIN)
        if profile.form == "docker" and self.layout.json(self.manifest).get("mediaType") != DOCKER_MANIFEST:
            text = f"it is not of Docker's media types, which are all that the profile {profile.name} takes"
            yield Finding("", "", text, _AGAIN)
        yield from accepted.user(profile, str(self.inner.get("User") or ""))
        exposed = [str(port).partition("/")[0] for port in self.inner.get("ExposedPorts") or {}]
        yield from accepted.ports(profile, [int(port) for port in exposed])
        if profile.starts and not self.start.arguments and not profile.arguments:
            text = "it starts nothing: it has neither an entrypoint nor a command"
            yield Finding("", "", text, "Write a CMD into its Dockerfile.")

    def notes(self) -> Iterator[Finding]:
        if not self.profile.starts and not self.start.arguments:
            text = "it starts nothing by itself: whoever runs it has to say what"
            yield Finding("", "", text)

    def sizes(self) -> Iterator[Finding]:
        layers, profile = self.layout.layers(self.manifest), self.profile
        for layer in layers:
            if profile.largest_layer is not None and layer.size > profile.largest_layer:
                text = (
                    f"a layer has {_gigabytes(layer.size)}, and the profile {profile.name} takes "
                    f"{_gigabytes(profile.largest_layer)}"
                )
                yield Finding(
                    "", layer.digest, text, "Spread its files over several layers, or leave some out."
                )
        total = sum(layer.size for layer in layers)
        if profile.largest_image is not None and total > profile.largest_image:
            text = (
                f"its layers have {_gigabytes(total)}, and the profile {profile.name} takes "
                f"{_gigabytes(profile.largest_image)}"
            )
            yield Finding("", "", text, "`publisher inspect --sizes` shows what weighs most.")


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"

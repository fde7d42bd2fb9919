"""Configs, manifests and the index of an image, out of its base and its own layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from publisher.builders.layers.plan import RECIPE
from publisher.builders.layers.wheel import PREFIX
from publisher.domain import ImageSpec, Platform
from publisher.errors import BuildError
from publisher.oci.images import select
from publisher.oci.layer import Layer
from publisher.oci.layout import Blob, Layout
from publisher.oci.normalise import ANNOTATED, Part, assemble, layer

_MOST_LAYERS = 127  # the overlay file system's limit, which engines share


@dataclass(frozen=True, slots=True)
class Content:
    """The layers above the base, bottom first, each with what it holds."""

    layers: Sequence[tuple[str, Layer]]


def compose(
    spec: ImageSpec, base: Layout, content: Mapping[Platform, Content], blobs: Mapping[str, Blob]
) -> Layout:
    """The whole image as a layout. `blobs`: where the bytes of our own layers are."""
    annotations = {key: value for key, value in spec.labels if key.startswith(ANNOTATED)}
    parts = []
    for platform in spec.platforms:
        child = select(base, platform)
        if child is None:
            raise BuildError(f"the base image {spec.base.name} is not there for {platform}")
        below = [layer(each) for each in base.layers(child.digest)]
        own = [made.descriptor() for _, made in content[platform].layers]
        if len(below) + len(own) > _MOST_LAYERS:
            raise BuildError(f"the image would have {len(below) + len(own)} layers, more than engines take")
        config = _config(spec, platform, base.config(child.digest), content[platform])
        layers = [(each, base.blobs[each.digest]) for each in below]
        layers += [(each, blobs[each.digest]) for each in own]
        parts.append(Part(platform, config, layers))
    return assemble(parts, annotations, spec.form)


def _config(spec: ImageSpec, platform: Platform, base: Mapping[str, Any], content: Content) -> dict[str, Any]:
    """The image config (image-spec, "config.md"): the base's, with ours on top."""
    inherited = base.get("config") or {}
    variables = dict(entry.partition("=")[::2] for entry in inherited.get("Env") or [])
    path = variables.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    variables |= {"PATH": f"/{PREFIX}/bin:{path}", "VIRTUAL_ENV": f"/{PREFIX}", **dict(spec.environment)}
    created = spec.created.strftime("%Y-%m-%dT%H:%M:%SZ")
    history = [
        {"created": created, "created_by": f"publisher: {t}", "comment": f"r{RECIPE}"}
        for t, _ in content.layers
    ]
    config: dict[str, Any] = {
        "User": spec.user,
        "Env": [f"{key}={value}" for key, value in variables.items()],
        "Entrypoint": list(spec.entrypoint),
        "Cmd": list(spec.command),
        "WorkingDir": spec.workdir,
        "Labels": {**(inherited.get("Labels") or {}), **dict(spec.labels)},
    }
    if spec.ports:
        config["ExposedPorts"] = {f"{port}/tcp": {} for port in spec.ports}
    if spec.volumes:
        config["Volumes"] = {volume: {} for volume in spec.volumes}
    if spec.health:  # Docker's own; to others it is nothing
        second = 1_000_000_000
        times = {"Interval": 300 * second, "Timeout": 30 * second, "StartPeriod": 900 * second}
        config["Healthcheck"] = {"Test": ["CMD", *spec.health], **times}
    if inherited.get("StopSignal"):
        config["StopSignal"] = inherited["StopSignal"]
    document = {
        "created": created,
        "os": platform.os,
        "architecture": platform.architecture,
        "config": config,
        "rootfs": {
            "type": "layers",
            "diff_ids": [*base["rootfs"]["diff_ids"], *(layer.diff_id for _, layer in content.layers)],
        },
        "history": [*(base.get("history") or []), *history],
    }
    if platform.variant:
        document["variant"] = platform.variant
    return document

"""What engines hand over, an image for each platform in whatever form, becomes one image in the form asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from publisher.domain import ManifestForm, Platform
from publisher.errors import BuildError
from publisher.oci.images import select
from publisher.oci.layout import (
    CONFIG,
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_LAYER_TAR,
    DOCKER_MANIFEST,
    INDEX,
    LAYER_GZIP,
    LAYER_TAR,
    MANIFEST,
    Blob,
    BytesBlob,
    Descriptor,
    Layout,
    encode,
)

_FROM_DOCKER = {DOCKER_LAYER_GZIP: LAYER_GZIP, DOCKER_LAYER_TAR: LAYER_TAR}
_TO_DOCKER = {theirs: ours for ours, theirs in _FROM_DOCKER.items()}
ANNOTATED = "org.opencontainers.image."


def layer(descriptor: Descriptor) -> Descriptor:
    """The same layer under its OCI media type."""
    return Descriptor(
        _FROM_DOCKER.get(descriptor.media_type, descriptor.media_type), descriptor.digest, descriptor.size
    )


@dataclass(frozen=True, slots=True)
class Part:
    """The image of one platform: its config as a document, and its layers, bottom first, each with its bytes."""

    platform: Platform
    config: Mapping[str, Any]
    layers: Sequence[tuple[Descriptor, Blob]]


def assemble(parts: Sequence[Part], annotations: Mapping[str, str], form: ManifestForm = "index") -> Layout:
    """`parts`, in their order, as one image, with `annotations` on each of its manifests.

    An image by Docker's media types has none, because its format knows none: they become labels of its config.
    Raises BuildError where an image of one manifest is asked for and there are several parts, or a layer has no
    media type of Docker's.
    """
    if form == "index":
        return _indexed(parts, annotations)
    if len(parts) != 1:
        named = ", ".join(str(part.platform) for part in parts)
        raise BuildError(f"one manifest is for one platform, and the image is for {named}")
    if form == "docker":
        return _docker(parts[0], annotations)
    layout = _indexed(parts, annotations)
    (child,) = layout.children()
    return replace(
        layout,
        top=replace(child, platform=None),
        manifests={child.digest: layout.manifests[child.digest]},
    )


def _indexed(parts: Sequence[Part], annotations: Mapping[str, str]) -> Layout:
    manifests: dict[str, bytes] = {}
    blobs: dict[str, Blob] = {}
    sizes: dict[str, int] = {}
    children = []
    for part in parts:
        config = encode(part.config)
        named = Descriptor.of(CONFIG, config)
        manifest = encode(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": named.json(),
                "layers": [each.json() for each, _ in part.layers],
                "annotations": annotations,
            }
        )
        children.append(Descriptor.of(MANIFEST, manifest, platform=part.platform))
        manifests[children[-1].digest] = manifest
        blobs[named.digest] = BytesBlob(config)
        blobs |= {each.digest: blob for each, blob in part.layers}
        sizes |= {each.digest: each.size for each in (named, *(each for each, _ in part.layers))}
    top, index = index_of(children, annotations)
    return Layout(top, {**manifests, top.digest: index}, blobs, sizes)


def index_of(children: Sequence[Descriptor], annotations: Mapping[str, str]) -> tuple[Descriptor, bytes]:
    """The index that names `children`, in their order."""
    index = encode(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [child.json() for child in children],
            "annotations": annotations,
        }
    )
    return Descriptor.of(INDEX, index), index


def _docker(part: Part, annotations: Mapping[str, str]) -> Layout:
    config = encode(_labelled(part.config, annotations))
    named = Descriptor.of(DOCKER_CONFIG, config)
    layers = [_to_docker(each) for each, _ in part.layers]
    manifest = encode(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": named.json(),
            "layers": [each.json() for each in layers],
        }
    )
    top = Descriptor.of(DOCKER_MANIFEST, manifest)
    blobs: dict[str, Blob] = {named.digest: BytesBlob(config)}
    blobs |= {each.digest: blob for each, blob in part.layers}
    return Layout(top, {top.digest: manifest}, blobs, {each.digest: each.size for each in (named, *layers)})


def _to_docker(descriptor: Descriptor) -> Descriptor:
    if descriptor.media_type not in _TO_DOCKER:
        raise BuildError(
            f"a layer of the type {descriptor.media_type} has no media type of Docker's, which the target wants",
            hint="Take a base image whose layers are gzip.",
        )
    return replace(descriptor, media_type=_TO_DOCKER[descriptor.media_type])


def one_image(
    found: Mapping[Platform, Layout],
    labels: Mapping[str, str],
    created: datetime,
    annotations: Mapping[str, str],
    form: ManifestForm = "index",
) -> Layout:
    """The image of each platform as one. `labels` and `created` are written over what each image says.

    `annotations` go onto all its manifests, with those of the labels that are annotations too.
    Raises BuildError where an image is not of its platform, and what `assemble` raises.
    """
    told = {key: value for key, value in labels.items() if key.startswith(ANNOTATED)} | dict(annotations)
    parts = []
    for platform in sorted(found):
        layout = found[platform]
        child = select(layout, platform)
        if child is None:
            raise BuildError(f"what was built for {platform} is an image of another platform")
        layers = [layer(each) for each in layout.layers(child.digest)]
        config = _config(layout.config(child.digest), labels, created)
        parts.append(Part(platform, config, [(each, layout.blobs[each.digest]) for each in layers]))
    return assemble(parts, told, form)


def _config(document: dict[str, Any], labels: Mapping[str, str], created: datetime) -> dict[str, Any]:
    """An image config with our labels and time; what only Docker's builders write about their run is left out."""
    kept = {key: value for key, value in document.items() if key not in _OF_THE_RUN}
    return {**_labelled(kept, labels), "created": created.strftime("%Y-%m-%dT%H:%M:%SZ")}


def _labelled(config: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    settings = dict(config.get("config") or {})
    settings["Labels"] = {**(settings.get("Labels") or {}), **labels}
    return {**config, "config": settings}


# Of Docker's older image format: the build container's own settings, which no runtime reads.
_OF_THE_RUN = (
    "container",
    "container_config",
    "docker_version",
    "id",
    "parent",
    "Size",
    "moby.buildkit.cache.v0",
)

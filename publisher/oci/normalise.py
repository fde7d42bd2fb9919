"""What engines hand over, an image for each platform in whatever form, becomes one image of OCI media types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from publisher.domain import Platform
from publisher.errors import BuildError
from publisher.oci.images import select
from publisher.oci.layout import (
    CONFIG,
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

_FROM_DOCKER = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": LAYER_GZIP,
    "application/vnd.docker.image.rootfs.diff.tar": LAYER_TAR,
}
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


def assemble(parts: Sequence[Part], annotations: Mapping[str, str]) -> Layout:
    """One index over `parts`, in their order, with `annotations` on it and on each manifest."""
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
    index = encode(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [child.json() for child in children],
            "annotations": annotations,
        }
    )
    top = Descriptor.of(INDEX, index)
    return Layout(top, {**manifests, top.digest: index}, blobs, sizes)


def one_index(
    found: Mapping[Platform, Layout],
    labels: Mapping[str, str],
    created: datetime,
    annotations: Mapping[str, str],
) -> Layout:
    """One index over the image of each platform. `labels` and `created` are written over what each image says.

    `annotations` go onto the index and its manifests, with those of the labels that are annotations too.
    Raises BuildError where an image is not of its platform.
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
    return assemble(parts, told)


def _config(document: dict[str, Any], labels: Mapping[str, str], created: datetime) -> dict[str, Any]:
    """An image config with our labels and time; what only Docker's builders write about their run is left out."""
    settings = dict(document.get("config") or {})
    settings["Labels"] = {**(settings.get("Labels") or {}), **labels}
    kept = {key: value for key, value in document.items() if key not in _OF_THE_RUN}
    return {**kept, "config": settings, "created": created.strftime("%Y-%m-%dT%H:%M:%SZ")}


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

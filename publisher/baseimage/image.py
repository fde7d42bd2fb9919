"""The base image's manifests: a root file system for each platform, and one layer of bytecode for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from publisher.baseimage.rootfs import HOME, USER, Facts
from publisher.domain import Platform
from publisher.oci.layer import Layer
from publisher.oci.layout import (
    CONFIG,
    INDEX,
    MANIFEST,
    Blob,
    BytesBlob,
    Descriptor,
    FileBlob,
    Layout,
    encode,
)

_EPOCH = "1970-01-01T00:00:00Z"  # the same packages make the same bytes, whenever they are fetched


@dataclass(frozen=True, slots=True)
class Part:
    """A finished layer, the file that it lies in, and what it is, for the image's history."""

    layer: Layer
    path: Path
    what: str


def layout(parts: Mapping[Platform, list[Part]], known: Facts, suite: str) -> Layout:
    """An index over one manifest for each platform, whose layers are its `parts`, bottom first."""
    manifests: dict[str, bytes] = {}
    blobs: dict[str, Blob] = {}
    sizes: dict[str, int] = {}
    children = []
    annotations = {
        "org.opencontainers.image.created": _EPOCH,
        "org.opencontainers.image.description": f"Python {known.python} from Debian {suite}'s packages",
        "org.opencontainers.image.title": f"python-{known.minor}-{suite}",
        "org.opencontainers.image.version": known.python,
    }
    for platform, layers in sorted(parts.items()):
        config = encode(_config(platform, layers, known, suite, annotations))
        described = Descriptor.of(CONFIG, config)
        blobs[described.digest], sizes[described.digest] = BytesBlob(config), len(config)
        for part in layers:
            blobs[part.layer.digest], sizes[part.layer.digest] = FileBlob(part.path), part.layer.size
        manifest = encode(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": described.json(),
                "layers": [part.layer.descriptor().json() for part in layers],
                "annotations": annotations,
            }
        )
        child = Descriptor.of(MANIFEST, manifest, platform=platform)
        manifests[child.digest] = manifest
        children.append(child.json())
    index = encode(
        {"schemaVersion": 2, "mediaType": INDEX, "manifests": children, "annotations": annotations}
    )
    top = Descriptor.of(INDEX, index)
    return Layout(top, {top.digest: index, **manifests}, blobs, sizes)


def _config(
    platform: Platform, parts: list[Part], known: Facts, suite: str, annotations: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "architecture": platform.architecture,
        "os": platform.os,
        "created": _EPOCH,
        "config": {
            "Cmd": ["python3"],
            "Env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG=C.UTF-8",
                f"PYTHON_VERSION={known.python}",
            ],
            "Labels": {
                **annotations,
                "io.github.model-publisher.base.suite": suite,
                "io.github.model-publisher.python.executable": f"/usr/bin/python{known.minor}",
                "io.github.model-publisher.python.glibc": known.glibc,
            },
            "User": f"{USER}:{USER}",
            "WorkingDir": f"/{HOME}",
        },
        "rootfs": {"type": "layers", "diff_ids": [part.layer.diff_id for part in parts]},
        "history": [
            {"created": _EPOCH, "created_by": "publisher base-image", "comment": part.what} for part in parts
        ],
    }

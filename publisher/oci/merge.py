"""One image of several platforms, and its platforms each by itself, without any byte below their manifests changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from publisher.domain import Platform
from publisher.errors import BuildError
from publisher.oci import layout as layouts
from publisher.oci.images import select
from publisher.oci.layout import MANIFEST, Blob, Layout
from publisher.oci.normalise import index_of

BASE = "org.opencontainers.image.base.digest"


def alone(layout: Layout, platform: Platform) -> Layout:
    """The manifest of one platform, and what is below it. Raises BuildError where there is none."""
    child = select(layout, platform)
    if child is None:
        raise BuildError(f"the image is not there for {platform}")
    if child.digest == layout.top.digest:
        return layout
    content = layout.manifests[child.digest]
    return layouts.collect(replace(child, platform=None), lambda _: content, layout.blobs.__getitem__)


def merged(found: Mapping[Platform, Layout]) -> Layout:
    """The index of the plain manifests in `found`, with the annotations that all of them have.

    It is the one that a build for all these platforms at once comes to. Raises BuildError where one is no OCI
    manifest of its platform.
    """
    children = []
    manifests: dict[str, bytes] = {}
    blobs: dict[str, Blob] = {}
    sizes: dict[str, int] = {}
    for platform, layout in sorted(found.items()):
        if layout.top.media_type != MANIFEST or select(layout, platform) is None:
            raise BuildError(f"what was built for {platform} is no image of that platform")
        children.append(replace(layout.top, platform=platform))
        manifests |= layout.manifests
        blobs |= layout.blobs
        sizes |= layout.sizes
    told = [annotated(layout) for layout in found.values()]
    common = {key: value for key, value in told[0].items() if all(each.get(key) == value for each in told)}
    top, index = index_of(children, common)
    return Layout(top, {**manifests, top.digest: index}, blobs, sizes)


def annotated(layout: Layout) -> dict[str, str]:
    """Those of the top manifest."""
    with layouts.readable(f"the manifest {layout.top.digest}"):
        found = layouts.decode(layout.manifests[layout.top.digest]).get("annotations") or {}
        return {str(key): str(value) for key, value in found.items()}


def of_one_base(found: Mapping[Platform, Layout]) -> bool:
    """Whether all in `found` were built on the same base image, as far as they tell."""
    return len({annotated(layout).get(BASE) for layout in found.values()}) <= 1

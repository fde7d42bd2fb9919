"""Where the bytes of a published image are, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

from publisher.app import App
from publisher.oci import layout as layouts

_OURS = "publisher: "  # with what the history of our layers begins


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of one platform, as it is pulled. `size` in bytes; `base`: it is the base image's."""

    platform: str
    title: str
    size: int
    digest: str
    base: bool


def layers(app: App, image: str, digest: str) -> list[Layer]:
    """All layers of an image by its digest, bottom first, platform after platform.

    Raises RegistryError, BuildError, as reading an image does.
    """
    pinned = image if image.startswith("oci:") else f"{bare(image)}@{digest}"
    found = app.stages.bases.images.load(pinned)
    rows = []
    for platform, manifest in layouts.platforms(found):
        config = found.config(manifest.digest)
        history = [each for each in config.get("history") or [] if not each.get("empty_layer")]
        told = [str(each.get("created_by") or each.get("comment") or "") for each in history]
        layers = found.layers(manifest.digest)
        told = [""] * (len(layers) - len(told)) + told[-len(layers) :]
        for descriptor, text in zip(layers, told, strict=True):
            ours = text.startswith(_OURS)
            title = text.removeprefix(_OURS) if ours else "base image"
            rows.append(Layer(str(platform), title, descriptor.size, descriptor.digest, not ours))
    return rows


def bare(image: str) -> str:
    """An image's repository: its name without its tag."""
    head, slash, last = image.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"

"""The port: what the pipeline asks of a place that images go to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from typing import Any, Protocol

from publisher.builders.base import Memory, Remembered
from publisher.oci.layout import DOCKER_MANIFEST, Blob, Layout
from publisher.oci.push import Pushed
from publisher.progress import Report


class Early(Protocol):
    """`sent`: bytes that went, `there`: digests that arrived; final when the context has ended."""

    sent: int
    there: set[str]

    def offer(self, digest: str, size: int, blob: Blob) -> None: ...


class Destination(Protocol):
    """`image` is the whole name as naming.image_name makes it."""

    def existing(self, image: str) -> str:
        """The digest that the image's tag holds now; empty where there is none."""
        ...

    def check(self, image: str) -> None:
        """Raise what stands against pushing `image`: nothing answers, it does not know us, we may not write."""
        ...

    def ahead(self, image: str) -> AbstractContextManager[Early]:
        """Takes blobs while the image is still being built, where that saves time."""
        ...

    def push(self, layout: Layout, image: str, report: Report, there: Set[str]) -> Pushed:
        """Bring everything there by digest; `there` went ahead. Nobody who asks by tag sees it yet."""
        ...

    def tag(self, layout: Layout, image: str) -> None:
        """The commit point."""
        ...

    def remove(self, image: str, digest: str, extra: Sequence[str]) -> None:
        """Take the image away under all its tags, `extra` among them, as far as they are of this digest.

        Raises RegistryError where the registry does not allow it.
        """
        ...

    def annotations(self, image: str, digest: str) -> Mapping[str, str]:
        """What the manifest `digest` in the image's repository says of itself, or its labels where its format has
        no annotations."""
        ...

    def read(self, image: str, digest: str) -> Layout | None:
        """The manifest `digest` in the image's repository with all that is below it; None where it is not there."""
        ...

    def also(self, image: str, digest: str, name: str) -> None:
        """Put the manifest `digest`, which the image's repository has, under `name` of that repository too."""
        ...

    def memory(self) -> Memory | None:
        """What earlier builds left here."""
        ...

    def remember(self, image: str, layout: Layout, kept: Sequence[Remembered]) -> None:
        """Leave `kept` for later builds. Best effort: raises nothing that a publication should fail for."""
        ...


def annotations_of(manifest: bytes, config: Callable[[str], Any]) -> Mapping[str, str]:
    """What `Destination.annotations` tells. `config` reads the config of a digest, as a document."""
    try:
        document = json.loads(manifest)
        found = document.get("annotations")
        if found is None and document["mediaType"] == DOCKER_MANIFEST:
            found = config(document["config"]["digest"])["config"]["Labels"]
        return {str(key): str(value) for key, value in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}

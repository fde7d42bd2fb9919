"""The port of all builders: an ImageSpec in, an OCI layout out. A builder never pushes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from publisher.domain import ImageSpec
from publisher.oci.layout import Blob, Descriptor, Layout
from publisher.progress import Report


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a key became: a small document, and the layers that it speaks of.

    Kept on disk and, as a small manifest, in the container registry, so that a pod with an empty disk finds
    what another machine made.
    """

    key: str
    document: Mapping[str, Any]
    layers: tuple[Descriptor, ...] = ()
    newest: bool = False  # whether it takes the place of what the key became before


class Memory(Protocol):
    """Where a builder finds what was made before. Finding nothing is no error."""

    def find(self, key: str) -> Remembered | None: ...

    def blob(self, digest: str) -> Blob:
        """The Blob of a layer of something that was found."""
        ...


@dataclass(frozen=True, slots=True)
class Build:
    """A finished layout, what is worth remembering of it, and what it cost."""

    layout: Layout
    remember: tuple[Remembered, ...] = ()
    downloaded: int = 0  # bytes of wheels
    seconds: Mapping[str, float] = field(default_factory=dict)


# Hears of each finished layer, before the image is whole: digest, size in bytes, where it is.
Ready = Callable[[str, int, Blob], None]


class Builder(Protocol):
    """One engine. `by_dockerfile`: it builds nothing but a spec with a context."""

    @property
    def name(self) -> str: ...

    @property
    def by_dockerfile(self) -> bool: ...

    def check(self, spec: ImageSpec) -> str:
        """Why this engine cannot build `spec`; empty when it can. Quick, and without effect.

        Asked before our own templates are rendered, so a spec without a context is one that will get ours.
        """
        ...

    def build(
        self, spec: ImageSpec, folder: Path, memory: Sequence[Memory], report: Report, ready: Ready
    ) -> Build:
        """Build every platform of `spec`; blobs that belong to this image alone may go into `folder`.

        A layer may be told to `ready` as soon as it is finished; it is told to nobody else.

        Raises BuildError, TransferError, IndexUnavailableError, HostError.
        """
        ...

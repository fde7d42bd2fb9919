"""An OCI layout on disk as a destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from publisher import scratch
from publisher.builders.base import Memory, Remembered
from publisher.destinations.base import Early, annotations_of
from publisher.errors import BuildError
from publisher.oci import layout_folder
from publisher.oci.layout import Blob, Layout
from publisher.oci.push import Pushed
from publisher.progress import Report


@dataclass(slots=True)
class Late:
    """Takes nothing early."""

    sent: int = 0
    there: set[str] = field(default_factory=set)

    def offer(self, digest: str, size: int, blob: Blob) -> None: ...


@dataclass(frozen=True, slots=True)
class LayoutDestination:
    """An OCI layout below `folder`; an image's name there is its name without the folder."""

    folder: Path

    def existing(self, image: str) -> str:
        if not (self.folder / "index.json").exists():
            return ""
        try:
            return layout_folder.read(self.folder, self._name(image)).top.digest
        except BuildError:
            return ""

    def check(self, image: str) -> None:
        scratch.below(self.folder)

    def ahead(self, image: str) -> AbstractContextManager[Early]:
        return nullcontext(Late())

    def push(self, layout: Layout, image: str, report: Report, there: Set[str]) -> Pushed:
        layout_folder.write_blobs(layout, self.folder)
        return Pushed(sent=sum(layout.sizes.values()))

    def tag(self, layout: Layout, image: str) -> None:
        layout_folder.write(layout, self.folder, [self._name(image)])

    def remove(self, image: str, digest: str, extra: Sequence[str]) -> None:
        layout_folder.forget(self.folder, digest)

    def annotations(self, image: str, digest: str) -> Mapping[str, str]:
        found = layout_folder.read(self.folder, digest=digest)
        return annotations_of(found.manifests[digest], lambda _: found.config(digest))

    def read(self, image: str, digest: str) -> Layout | None:
        try:
            return layout_folder.read(self.folder, digest=digest)
        except BuildError:
            return None

    def also(self, image: str, digest: str, name: str) -> None:
        layout_folder.write(layout_folder.read(self.folder, digest=digest), self.folder, [self._name(name)])

    def memory(self) -> Memory | None:
        return None

    def remember(self, image: str, layout: Layout, kept: Sequence[Remembered]) -> None:
        """The cache on disk has it already."""

    def _name(self, image: str) -> str:
        return image.removeprefix(f"oci:{self.folder}").lstrip("/")
